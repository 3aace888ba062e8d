"""The page's example runs: a Fivetran copy of Salesforce, untidy as they are, gives a true first report."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk
from tests.writes.copies import code, found, mapped, run

TABLES = code("A Fivetran copy of Salesforce", "yaml")

_TABLE = """
create schema salesforce;
create table salesforce."Opportunity" ("Id" text primary key, "RecordTypeName" text, "IsDeleted" boolean,
  _fivetran_deleted boolean, _fivetran_synced timestamptz, "Enerflo_Install_Id__c" text, "Name" text,
  "StageName" text, "System_Size__c" numeric, "Amount" numeric, "LastModifiedDate" timestamp,
  "Permit_Approved_Date__c" date)
"""
# Every install, with its number spelled in four ways, and its day of the permit as Denver's calendar has it.
_ROWS = """
insert into salesforce."Opportunity"
select '006' || i.install_id, 'Solar', false, false, now() - interval '1 day',
  case i.install_id % 4 when 0 then i.install_id::text when 1 then lpad(i.install_id::text, 12, '0')
    when 2 then ' ' || i.install_id || ' ' else i.install_id || '.0' end,
  upper(i.customer_name) || '  ',
  case i.status_name when 'Completed' then 'Closed Won' when 'Voided' then 'Closed Lost' else i.status_name end,
  round(i.system_size_kw, 2), round(i.contract_amount), timestamp '2020-01-01',
  (m.completed_at at time zone 'America/Denver')::date
from enerflo.installs i
left join enerflo.milestones m on m.account = i.account and m.install_id = i.install_id
  and m.title = 'Permitting' and m.deleted_at is null
where i.deleted_at is null
"""
# What does not count: another record type, an old version that the copy keeps, and rows that name no install.
_ASIDE = """
insert into salesforce."Opportunity"
select 'roof' || "Id", 'Roofing', false, false, _fivetran_synced, "Enerflo_Install_Id__c", 'A roof', 'Prospecting'
from salesforce."Opportunity";
insert into salesforce."Opportunity"
select 'old' || "Id", 'Solar', false, true, _fivetran_synced, "Enerflo_Install_Id__c", "Name", 'Qualification'
from salesforce."Opportunity" where "RecordTypeName" = 'Solar';
insert into salesforce."Opportunity" values ('lead1', 'Solar', false, false, now(), null, 'No install yet'),
  ('lead2', 'Solar', false, false, now(), 'n/a', 'No install yet'), ('lead3', 'Solar', false, false, now(), '', 'No install yet')
"""


@pytest.fixture
def copied(agreed: Desk) -> Desk:
    """An account whose installs stand in a Fivetran copy of Salesforce, mapped as the page says."""
    run(agreed, _TABLE, _ROWS, *_ASIDE.split(";\n"))
    return agreed


def planted(desk: Desk) -> list[int]:
    """Let people change a stage and a permit's day, and delete a row; return the installs."""
    stage, permit, gone = (
        row["install_id"]
        for row in desk.sql(
            "select i.install_id from enerflo.installs i join enerflo.milestones m using (account, install_id)"
            " where m.title = 'Permitting' and m.completed_at is not null and m.deleted_at is null"
            " and i.deleted_at is null and i.status_name <> 'Voided' order by i.install_id limit 3"
        )
    )
    desk.sql(
        'update salesforce."Opportunity" set "StageName" = \'Old stage\' where "Id" = :id', id=f"006{stage}"
    )
    desk.sql(
        'update salesforce."Opportunity" set "Permit_Approved_Date__c" = "Permit_Approved_Date__c" - 9'
        ' where "Id" = :id',
        id=f"006{permit}",
    )
    desk.sql('update salesforce."Opportunity" set "IsDeleted" = true where "Id" = :id', id=f"006{gone}")
    return [stage, permit, gone]


def test_the_first_report_of_an_untidy_copy_finds_what_was_planted_and_nothing_else(copied: Desk) -> None:
    mapped(copied, "report", TABLES)
    installs = copied.one("select count(*) from enerflo.installs where deleted_at is null")
    report = run_reconcile(copied.context)
    assert found(copied, report) == set()
    assert {(table.table_name, table.matched) for table in report.tables} == {
        ("installs", installs),
        ("permits", installs),
    }
    assert [table.unlinked for table in report.tables] == [3, 3]
    stage, permit, gone = planted(copied)
    report = run_reconcile(copied.context, full=True)
    differing = found(copied, report)
    assert {one for one in differing if one[2] is not None} == {
        ("installs", f"006{stage}", "StageName"),
        ("permits", f"006{permit}", "Permit_Approved_Date__c"),
    }
    assert {str(key) for table, key, field in differing if field is None and table == "installs"} == {
        str(gone)
    }


def test_its_changes_are_handed_over_and_arrive_with_the_next_copy(copied: Desk) -> None:
    mapped(copied, "crm", TABLES)
    stage, _, _ = planted(copied)
    before = copied.sql('select * from salesforce."Opportunity" order by "Id"')
    for _ in range(2):
        plan = copied.plan()
        run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert copied.sql('select * from salesforce."Opportunity" order by "Id"') == before
    open_ = copied.sql("select * from sync.crm_changes_open where \"column\" = 'StageName'")
    assert [(row["record_key"], row["op"], row["before"]) for row in open_] == [
        (f"006{stage}", "update", "Old stage")
    ]
    copied.sql(
        'update salesforce."Opportunity" set "StageName" = :now, _fivetran_synced = now() where "Id" = :id',
        now=open_[0]["after"],
        id=f"006{stage}",
    )
    copied.plan()
    states = copied.sql("select state from sync.crm_changes where \"column\" = 'StageName'")
    assert [row["state"] for row in states] == ["arrived"]
    assert ("installs", f"006{stage}", "StageName") not in found(copied, run_reconcile(copied.context))


def test_a_day_that_a_person_set_reaches_enerflo_as_denvers_and_nothing_is_written_again(
    copied: Desk,
) -> None:
    for table in ("installs", "milestones"):
        copied.sql(f"update enerflo.{table} set observed_at = observed_at - interval '1 day'")
    mapped(copied, "both", TABLES)
    copied.plan()
    _, permit, _ = planted(copied)
    copied.sql(
        # The copy brings the row: by that the plan finds it, however long ago the mirror was read.
        'update salesforce."Opportunity" set "LastModifiedDate" = now() at time zone \'UTC\','
        ' _fivetran_synced = now() where "Id" = :id',
        id=f"006{permit}",
    )
    said = 'select "Permit_Approved_Date__c" from salesforce."Opportunity" where "Id" = :id'
    day = copied.one(said, id=f"006{permit}")
    run_apply(copied.context, copied.plan().plan_hash, approved_by="Pat")
    assert (
        copied.one(
            "select (completed_at at time zone 'America/Denver')::text from enerflo.milestones"
            " where install_id = :id and title = 'Permitting'",
            id=permit,
        )
        == f"{day} 00:00:00"
    )
    assert copied.changes(copied.plan()) == []
    assert copied.one(said, id=f"006{permit}") == day
