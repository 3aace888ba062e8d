"""The page's example runs: an Airbyte copy of HubSpot, with JSON and a table of archived deals, through a view."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk
from tests.writes.copies import approved, code, found, mapped, run, section

TITLE = "An Airbyte copy of HubSpot"
TABLES = code(TITLE, "yaml")
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
STAGES = {
    "In progress": "139874001",
    "On Hold": "139874002",
    "Pending KCA": "139874003",
    "Cancelled": "139874004",
    "Completed": "closedwon",
    "Voided": "closedlost",
}

_DEALS = """create table airbyte.deals (id varchar, createdat timestamptz, updatedat timestamptz, archived boolean,
  contacts jsonb, properties jsonb, properties_dealname varchar, properties_dealstage varchar,
  properties_pipeline varchar, properties_amount numeric, _airbyte_raw_id varchar,
  _airbyte_extracted_at timestamptz, _airbyte_meta jsonb, _airbyte_generation_id bigint)"""
_ARCHIVED = "create table airbyte.deals_archived (like airbyte.deals)"
_ARCHIVED_AT = "alter table airbyte.deals_archived add archivedat timestamptz"
_STAGE = " ".join(f"when '{status}' then '{stage}'" for status, stage in STAGES.items())
_ROWS = f"""
insert into airbyte.deals
select (9000000000 + i.install_id)::text, now(), timestamptz '2024-01-01', false, '[]',
  jsonb_build_object('dealname', i.customer_name,
    'enerflo_install_id', case when i.install_id % 2 = 0 then to_jsonb(i.install_id || '.0')
      else to_jsonb(i.install_id) end,
    'system_size_kw', coalesce(round(i.system_size_kw, 2)::text, ''),
    'permit_approved_date', coalesce((p.completed_at at time zone 'America/Denver')::date::text, '')),
  lower(i.customer_name) || ' ', case i.status_name {_STAGE} else i.status_name end, 'solar',
  round(i.contract_amount), gen_random_uuid()::text, now() - interval '1 day',
  '{{"sync_id": 7, "changes": []}}', 0
from enerflo.installs i
left join enerflo.milestones p on p.account = i.account and p.install_id = i.install_id
  and p.title = 'Permitting' and p.deleted_at is null
where i.deleted_at is null
"""
# Of another pipeline; without an install; archived, so that deals has the last state that it saw.
_ASIDE = (
    "insert into airbyte.deals select '1' || id, now(), updatedat, false, '[]', properties, 'A roof', '1', 'roofing'"
    " from airbyte.deals",
    "insert into airbyte.deals (id, updatedat, properties, properties_pipeline, _airbyte_extracted_at)"
    " values ('7', now(), '{}', 'solar', now()), ('8', now(), '{\"enerflo_install_id\": \"\"}', 'solar', now())",
    "insert into airbyte.deals select '2' || id, now(), updatedat, false, '[]', properties, 'A test', '1', 'solar',"
    " 1, 'r', now() from airbyte.deals where properties_pipeline = 'solar' and length(id) = 10",
    "insert into airbyte.deals_archived select d.*, timestamptz '2024-06-01' from airbyte.deals d"
    " where id like '29%'",
)


@pytest.fixture
def copied(agreed: Desk) -> Desk:
    """An account whose installs stand in an Airbyte copy of HubSpot."""
    run(agreed, "create schema airbyte", _DEALS, _ARCHIVED, _ARCHIVED_AT, _ROWS, *_ASIDE)
    run(agreed, code(TITLE, "sql").rstrip().rstrip(";"))
    return agreed


def deal_of(install: int) -> str:
    return str(9_000_000_000 + install)


def some(desk: Desk, number: int) -> list[int]:
    """Return installs with a permit, of which none is voided."""
    rows = desk.sql(
        "select i.install_id from enerflo.installs i join airbyte.deals d"
        " on d.id = (9000000000 + i.install_id)\\:\\:text"
        " where d.properties ->> 'permit_approved_date' <> '' and i.status_name <> 'Voided'"
        " order by 1 limit :number",
        number=number,
    )
    return [row["install_id"] for row in rows]


def changed(desk: Desk, install: int, setting: str) -> None:
    """A change in HubSpot arrives with the copy, as another raw record."""
    run(
        desk,
        f"update airbyte.deals set {setting}, updatedat = now(), _airbyte_extracted_at = clock_timestamp(),"
        f" _airbyte_raw_id = gen_random_uuid()::text where id = '{deal_of(install)}'",
    )


def archived(desk: Desk, install: int) -> None:
    """A deal is archived in HubSpot: the table of deals keeps it as it was."""
    run(
        desk,
        "insert into airbyte.deals_archived select d.*, now() from airbyte.deals d"
        f" where id = '{deal_of(install)}'",
        "update airbyte.deals_archived set _airbyte_extracted_at = clock_timestamp()"
        f" where id = '{deal_of(install)}'",
    )


def test_the_first_report_finds_what_was_planted_and_nothing_else(copied: Desk) -> None:
    mapped(copied, "report", TABLES)
    installs = copied.one("select count(*) from enerflo.installs where deleted_at is null")
    report = run_reconcile(copied.context)
    assert found(copied, report) == set()
    assert [(one.table_name, one.matched, one.unlinked) for one in report.tables] == [
        ("installs", installs, 2),
        ("milestones", installs, 2),
    ]
    stage, permit, spoilt, gone = some(copied, 4)
    changed(copied, stage, "properties_dealstage = '139879999'")
    changed(copied, permit, 'properties = properties || \'{"permit_approved_date": "2019-12-31"}\'')
    changed(copied, spoilt, 'properties = properties || \'{"system_size_kw": "7,2 kW"}\'')
    archived(copied, gone)
    differing = found(copied, run_reconcile(copied.context))
    assert {one for one in differing if one[2] is not None} == {
        ("installs", deal_of(stage), "dealstage"),
        ("milestones", deal_of(permit), "permit_approved_date"),
        ("installs", deal_of(spoilt), "system_size_kw"),
    }
    assert {key for table, key, field in differing if field is None and table == "installs"} == {str(gone)}
    # Restored and changed in HubSpot, the deal lives again.
    changed(copied, gone, "properties_dealname = properties_dealname")
    again = found(copied, run_reconcile(copied.context))
    assert {one for one in again if one[2] is None} == set()


def test_a_deal_that_only_the_archive_tells_of_is_found_beside_a_new_one(copied: Desk) -> None:
    mapped(copied, "report", TABLES)
    run_reconcile(copied.context)
    (gone,) = some(copied, 1)
    archived(copied, gone)
    # As many rows as before.
    run(
        copied,
        "insert into airbyte.deals (id, updatedat, properties, properties_pipeline, _airbyte_extracted_at)"
        " values ('9', now(), '{}', 'solar', clock_timestamp())",
    )
    assert ("installs", str(gone), None) in found(copied, run_reconcile(copied.context))


def test_approved_changes_are_handed_over_arrive_and_are_agreed_on(copied: Desk) -> None:
    mapped(copied, "crm", TABLES, AT_ONCE)
    (stage,) = some(copied, 1)
    changed(copied, stage, "properties_dealstage = '139879999'")
    before = copied.sql("select * from airbyte.deals order by id")
    approved(copied)
    assert copied.sql("select * from airbyte.deals order by id") == before
    (open_,) = copied.sql("select * from sync.crm_changes_open")
    status = copied.one("select status_name from enerflo.installs where install_id = :id", id=stage)
    assert (open_["crm_table"], open_["record_key"], open_["column"], open_["after"]) == (
        "airbyte.deals_now",
        deal_of(stage),
        "dealstage",
        STAGES[status],
    )
    assert copied.changes(copied.plan()) == []
    changed(copied, stage, f"properties_dealstage = '{open_['after']}'")
    assert copied.changes(copied.plan()) == []
    assert copied.one("select state from sync.crm_changes") == "arrived"
    assert found(copied, run_reconcile(copied.context)) == set()
    assert copied.agreed("installs", "dealstage", id=deal_of(stage)) == status


def test_a_copy_that_is_loaded_again_asks_nothing_until_its_rows_are_back(copied: Desk) -> None:
    mapped(copied, "crm", TABLES, AT_ONCE)
    assert copied.changes(copied.plan()) == []
    run_reconcile(copied.context)
    run(copied, "create table airbyte.kept as table airbyte.deals", "delete from airbyte.deals")
    report = run_reconcile(copied.context)
    assert {one.table_name for one in report.gone_at_once} == {"installs", "milestones"}
    causes = {cause for table in report.tables for cause, count in table.by_cause.items() if count}
    assert causes <= {Cause.GONE_AT_ONCE, Cause.EQUAL_AFTER_NORMALISATION}
    plan = copied.plan()
    assert (copied.changes(plan), copied.undecided(plan)) == ([], [])
    run(
        copied,
        "update airbyte.kept set _airbyte_raw_id = gen_random_uuid()::text, _airbyte_generation_id = 1,"
        " _airbyte_extracted_at = clock_timestamp()",
        "insert into airbyte.deals table airbyte.kept",
    )
    report = run_reconcile(copied.context)
    assert (found(copied, report), list(report.gone_at_once)) == (set(), [])
    plan = copied.plan()
    assert (copied.changes(plan), copied.undecided(plan)) == ([], [])


def test_a_column_of_a_monday_item_is_taken_by_its_id(warehouse: sa.Engine) -> None:
    (expression,) = re.findall(r"`(\(select c ->>[^`]*)`", section(TITLE))
    item = '[{"id": "person", "text": "Ann"}, {"id": "status", "text": "Done", "value": "{\\"index\\": 1}"}]'
    query = f"select {expression} from (select cast(%(item)s as jsonb) as column_values) i"
    with warehouse.connect() as connection:
        assert connection.exec_driver_sql(query, {"item": item}).scalar() == "Done"
