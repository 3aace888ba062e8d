"""The page's example runs: a Fivetran copy of HubSpot, with stages by their ids and days as midnight UTC."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk
from tests.writes.copies import approved, code, found, mapped, run

TITLE = "A Fivetran copy of HubSpot"
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")

_TABLES = (
    """
create schema hubspot
create table deal (deal_id {id} primary key, deal_pipeline_id text, deal_pipeline_stage_id text,
  owner_id bigint, portal_id bigint, property_hs_object_id {id}, property_dealname text, property_amount float8,
  property_system_size_kw float8, property_enerflo_install_id float8, property_permit_approved_date timestamptz,
  property_inspection_at bigint, property_hs_lastmodifieddate timestamptz, _fivetran_deleted boolean,
  _fivetran_synced timestamptz)
create table deal_pipeline_stage (stage_id text, pipeline_id text, label text, _fivetran_deleted boolean)
""",
    """
insert into hubspot.deal_pipeline_stage values ('139874001', 'solar', 'In progress', false),
  ('139874002', 'solar', 'On Hold', false), ('139874003', 'solar', 'Pending KCA', false),
  ('139874004', 'solar', 'Cancelled', false), ('closedwon', 'solar', 'Completed', false),
  ('closedlost', 'solar', 'Voided', false), ('139870000', 'solar', 'Completed', true),
  ('139875555', 'roofing', 'Completed', false)
""",
)
_ROWS = """
insert into hubspot.deal
select 9000000000 + i.install_id, 'solar', coalesce(s.stage_id, i.status_name), 1, 2, 9000000000 + i.install_id,
  upper(i.customer_name) || ' ', round(i.contract_amount), round(i.system_size_kw, 2), i.install_id,
  (p.completed_at at time zone 'America/Denver')::date::timestamp at time zone 'UTC',
  extract(epoch from date_trunc('second', v.due_at)) * 1000, timestamptz '2020-01-01', false,
  now() - interval '1 day'
from enerflo.installs i
left join hubspot.deal_pipeline_stage s
  on s.pipeline_id = 'solar' and s.label = i.status_name and not s._fivetran_deleted
left join enerflo.milestones p on p.account = i.account and p.install_id = i.install_id
  and p.title = 'Permitting' and p.deleted_at is null
left join enerflo.milestones v on v.account = i.account and v.install_id = i.install_id
  and v.title = 'Inspection' and v.deleted_at is null
where i.deleted_at is null
"""
# What does not count: another pipeline, deals that were merged into the living one, and deals without an install.
_ASIDE = (
    """insert into hubspot.deal select (1 || deal_id::text)::{id}, 'roofing', '139875555', 1, 2, null, 'A roof', 1, 1,
      property_enerflo_install_id from hubspot.deal""",
    """insert into hubspot.deal select (2 || deal_id::text)::{id}, 'solar', '139874001', 1, 2, null, 'Merged', 1, 1,
      property_enerflo_install_id, null, null, now(), true, now() from hubspot.deal
      where deal_pipeline_id = 'solar'""",
    """insert into hubspot.deal (deal_id, deal_pipeline_id, property_dealname, _fivetran_deleted, _fivetran_synced)
      values (1, 'solar', 'No install yet', false, now()), (2, 'solar', 'No install yet', false, now())""",
)


def copied_with(desk: Desk, id_type: str) -> Desk:
    """Return an account whose installs stand in a Fivetran copy of HubSpot."""
    run(desk, *(text.replace("{id}", id_type) for text in (*_TABLES, _ROWS, *_ASIDE)))
    run(desk, code(TITLE, "sql").rstrip().rstrip(";"))
    return desk


@pytest.fixture
def copied(agreed: Desk) -> Desk:
    return copied_with(agreed, "bigint")


def deal_of(install: int) -> int:
    return 9_000_000_000 + install


def some(desk: Desk, number: int) -> list[int]:
    """Return installs with a permit and an inspection, of which none is voided."""
    return [
        row["install_id"]
        for row in desk.sql(
            "select i.install_id from enerflo.installs i"
            " join hubspot.deal d on d.property_enerflo_install_id = i.install_id"
            " where d.property_permit_approved_date is not null and d.property_inspection_at is not null"
            " and d.deal_pipeline_id = 'solar' and not d._fivetran_deleted"
            " and i.status_name <> 'Voided' order by 1 limit :number",
            number=number,
        )
    ]


def changed(desk: Desk, install: int, setting: str) -> None:
    """A change in HubSpot arrives with the copy."""
    run(
        desk,
        f"update hubspot.deal set {setting}, _fivetran_synced = clock_timestamp()"
        f" where deal_id = {deal_of(install)}",
    )


@pytest.mark.parametrize("id_type", ["bigint", "text"])
def test_the_first_report_finds_what_was_planted_and_nothing_else(agreed: Desk, id_type: str) -> None:
    copied = copied_with(agreed, id_type)
    mapped(copied, "report", code(TITLE, "yaml"))
    installs = copied.one("select count(*) from enerflo.installs where deleted_at is null")
    report = run_reconcile(copied.context)
    assert found(copied, report) == set()
    assert [(one.table_name, one.matched, one.unlinked) for one in report.tables] == [
        ("installs", installs, 2),
        ("milestones", installs, 2),
    ]
    stage, permit, late, gone = some(copied, 4)
    for install, setting in (
        (stage, "deal_pipeline_stage_id = '139879999'"),
        (permit, "property_permit_approved_date = property_permit_approved_date - interval '9 days'"),
        (late, "property_inspection_at = property_inspection_at + 3600000"),
        (gone, "_fivetran_deleted = true"),
    ):
        run(
            copied,
            f"update hubspot.deal set {setting}, _fivetran_synced = clock_timestamp()"
            f" where property_enerflo_install_id = {install} and deal_pipeline_id = 'solar'"
            " and not _fivetran_deleted",
        )
    differing = found(copied, run_reconcile(copied.context))
    assert {one for one in differing if one[2] is not None} == {
        ("installs", str(deal_of(stage)), "deal_pipeline_stage_id"),
        ("milestones", str(deal_of(permit)), "permit_approved_day"),
        ("milestones", str(deal_of(late)), "inspection_at"),
    }
    assert {key for table, key, field in differing if field is None and table == "installs"} == {str(gone)}


def test_the_days_of_the_table_itself_are_a_day_early_which_the_view_mends(copied: Desk) -> None:
    tables = code(TITLE, "yaml").replace("hubspot.deal_days", "hubspot.deal")
    tables = tables.replace("permit_approved_day:", "property_permit_approved_date:")
    mapped(copied, "report", tables[: tables.index("      inspection_at:")])
    days = copied.one(
        "select count(*) from hubspot.deal where property_permit_approved_date is not null"
        " and deal_pipeline_id = 'solar' and not _fivetran_deleted"
    )
    differing = found(copied, run_reconcile(copied.context))
    assert len([one for one in differing if one[2] == "property_permit_approved_date"]) == days > 0


def test_approved_changes_are_handed_over_arrive_and_are_agreed_on(copied: Desk) -> None:
    mapped(copied, "crm", code(TITLE, "yaml"), AT_ONCE)
    stage, late = some(copied, 2)
    changed(copied, stage, "deal_pipeline_stage_id = '139879999'")
    changed(copied, late, "property_inspection_at = property_inspection_at + 3600000")
    before = copied.sql("select * from hubspot.deal order by deal_id")
    approved(copied)
    assert copied.sql("select * from hubspot.deal order by deal_id") == before
    open_ = {row["column"]: row for row in copied.sql("select * from sync.crm_changes_open")}
    assert {name: (row["crm_table"], row["record_key"], row["op"]) for name, row in open_.items()} == {
        "deal_pipeline_stage_id": ("hubspot.deal", str(deal_of(stage)), "update"),
        "inspection_at": ("hubspot.deal_days", str(deal_of(late)), "update"),
    }
    status = copied.one("select status_name from enerflo.installs where install_id = :id", id=stage)
    label = "select label from hubspot.deal_pipeline_stage where pipeline_id = 'solar' and stage_id = :id"
    assert copied.one(label, id=open_["deal_pipeline_stage_id"]["after"]) == status
    # On its way it is not planned again, and no difference that a person has to look at.
    assert copied.changes(copied.plan()) == []
    for install, name, write in (
        (stage, "deal_pipeline_stage_id", "deal_pipeline_stage_id = '{}'"),
        (late, "inspection_at", "property_inspection_at = extract(epoch from timestamptz '{}') * 1000"),
    ):
        changed(copied, install, write.format(open_[name]["after"]))
    assert copied.changes(copied.plan()) == []
    assert {row["state"] for row in copied.sql("select state from sync.crm_changes")} == {"arrived"}
    assert found(copied, run_reconcile(copied.context)) == set()
    assert copied.agreed("installs", "deal_pipeline_stage_id", deal_id=deal_of(stage)) == status


def test_a_copy_that_is_loaded_again_asks_nothing_until_its_rows_are_back(copied: Desk) -> None:
    mapped(copied, "crm", code(TITLE, "yaml"), AT_ONCE)
    assert copied.changes(copied.plan()) == []
    run_reconcile(copied.context)
    living = [
        row["deal_id"] for row in copied.sql("select deal_id from hubspot.deal where not _fivetran_deleted")
    ]
    run(copied, "update hubspot.deal set _fivetran_deleted = true, _fivetran_synced = clock_timestamp()")
    report = run_reconcile(copied.context)
    assert {one.table_name for one in report.gone_at_once} == {"installs", "milestones"}
    causes = {cause for table in report.tables for cause, count in table.by_cause.items() if count}
    assert causes <= {Cause.GONE_AT_ONCE, Cause.EQUAL_AFTER_NORMALISATION}
    plan = copied.plan()
    assert (copied.changes(plan), copied.undecided(plan)) == ([], [])
    copied.sql(
        "update hubspot.deal set _fivetran_deleted = false, _fivetran_synced = clock_timestamp()"
        " where deal_id = any(:living)",
        living=living,
    )
    report = run_reconcile(copied.context)
    assert (found(copied, report), list(report.gone_at_once)) == (set(), [])
    plan = copied.plan()
    assert (copied.changes(plan), copied.undecided(plan)) == ([], [])
