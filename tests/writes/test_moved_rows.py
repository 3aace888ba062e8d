"""A CRM row that a person moves between two tables of sync.yaml, or to another record: whose value is whose."""

from __future__ import annotations

import time

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought

ON_HOLD, CANCELLED = 4, 1304
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
BRANCH = """
  {name}:
    of: installs
    crm_table: crm.installs
    where: "branch = '{branch}'"
    key: {{enerflo_install_id: install_id}}
    updated_at: updated_at
    create_in: []
    fields:
      status: {{enerflo: {field}, type: text, source_of_truth: {truth}}}
"""
PERMITS = """tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}
  permits:
    of: milestones
    layout: wide
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    columns:
      permit_due: {milestone: Permitting, enerflo: due_at, type: timestamp, source_of_truth: newest}
"""


def branches() -> str:
    return "tables:" + "".join(
        BRANCH.format(name=name, branch=branch, field="status_name", truth="newest")
        for name, branch in (("installs", "east"), ("west", "west"))
    )


def _split(desk: Desk, tables: str) -> None:
    desk.sql("alter table crm.installs add branch text not null default 'east'")
    desk.sql("update crm.installs set branch = 'west' where enerflo_install_id % 2 = 0")
    mapped(desk, "both", tables, AT_ONCE)
    desk.carried()


@pytest.fixture
def split(agreed: Desk) -> Desk:
    """Two branches of one CRM table, each a table of its own in sync.yaml."""
    brought(agreed, _split, branches())
    return agreed


def test_a_branch_that_has_no_row_yet_stops_nothing(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add branch text not null default 'east'")
    mapped(agreed, "both", branches(), AT_ONCE)
    agreed.carried()
    site = a_site(agreed)
    agreed.sql("update crm.installs set status = 'On hold' where enerflo_install_id = :i", i=site)
    moved(agreed, site, "west")
    (change,) = agreed.changes(run_plan(agreed.context)[0])
    assert (change.table_name, change.direction) == ("west", "to_enerflo")
    # Rows that belong to neither show that the condition may be wrong.
    agreed.sql("update crm.installs set branch = 'wst' where enerflo_install_id = :i", i=site)
    with pytest.raises(ConfigurationError, match=r"no row of crm\.installs meets"):
        run_plan(agreed.context)


def a_site(desk: Desk, branch: str = "east") -> int:
    return int(
        desk.one(
            "select min(enerflo_install_id) from crm.installs where branch = :b and status = 'In progress'",
            b=branch,
        )
    )


def moved(desk: Desk, site: int, branch: str) -> None:
    desk.sql(
        "update crm.installs set branch = :b, updated_at = now() where enerflo_install_id = :i",
        b=branch,
        i=site,
    )


def at_enerflo(desk: Desk, site: int, status: int) -> None:
    """Let Enerflo say another status; it tells whole seconds."""
    time.sleep(1.1)
    desk.world.set_status(site, status)
    run_poll(desk.context)
    time.sleep(1.1)


def of_status(desk: Desk, site: int) -> list[tuple[str, str]]:
    plan = desk.plan()
    written = [
        (one.table_name, one.direction)
        for one in desk.changes(plan, field="status")
        if site in one.key.values()
    ]
    asked = [
        (one.table_name, "asked")
        for one in desk.undecided(plan)
        if one.field == "status" and site in one.key.values()
    ]
    return written + asked


def test_our_own_write_is_no_edit_of_the_table_that_takes_its_row_up(split: Desk) -> None:
    site = a_site(split)
    at_enerflo(split, site, ON_HOLD)
    split.carried()
    at_enerflo(split, site, CANCELLED)
    moved(split, site, "west")
    assert of_status(split, site) == [("west", "to_crm")]


def test_what_a_person_writes_while_the_row_moves_is_an_edit(split: Desk) -> None:
    site = a_site(split)
    moved(split, site, "west")
    split.sql(
        "update crm.installs set status = 'On Hold' where enerflo_install_id = :i",
        i=site,
    )
    assert of_status(split, site) == [("west", "to_enerflo")]


def test_a_row_that_comes_back_is_judged_by_what_was_agreed_on_since(split: Desk) -> None:
    site = a_site(split)
    moved(split, site, "west")
    split.carried()
    at_enerflo(split, site, ON_HOLD)
    split.carried()
    # Enerflo says again what both said while the row was in the east.
    at_enerflo(split, site, c.IN_PROGRESS)
    assert (
        split.one("select status_name from enerflo.installs where install_id = :i", i=site) == "In progress"
    )
    moved(split, site, "east")
    assert of_status(split, site) == [("installs", "to_crm")]


@pytest.mark.parametrize("truth", ["newest", "crm"])
def test_a_value_that_meant_something_else_in_the_other_table_is_asked_about(
    agreed: Desk, truth: str
) -> None:
    tables = branches().replace(
        BRANCH.format(name="installs", branch="east", field="status_name", truth="newest"),
        BRANCH.format(name="installs", branch="east", field="agent_name", truth="enerflo"),
    )
    tables = tables.replace("source_of_truth: newest", f"source_of_truth: {truth}")
    agreed.sql("alter table crm.installs alter status drop not null")
    brought(agreed, _split, tables)
    site = int(
        agreed.one(
            "select min(install_id) from enerflo.installs where install_id % 2 = 1 and agent_name is not null"
            " and deleted_at is null"
        )
    )
    agreed.sql("update enerflo.installs set agent_name = 'Cancelled' where install_id = :i", i=site)
    agreed.carried()
    moved(agreed, site, "west")
    assert of_status(agreed, site) == [("west", "asked")]


def test_a_change_that_arrives_after_its_row_moved_is_no_edit(agreed: Desk) -> None:
    table = "    crm_table: crm.installs\n"
    brought(agreed, _split, branches().replace(table, f"{table}    write_to: changes\n"))
    site = a_site(agreed)
    at_enerflo(agreed, site, ON_HOLD)
    agreed.carried()
    moved(agreed, site, "west")
    at_enerflo(agreed, site, CANCELLED)
    agreed.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i", i=site
    )
    assert of_status(agreed, site) == [("west", "asked")]
    # Nor is it one when nobody looks for the change any more.
    agreed.sql("update sync.crm_changes set ended_at = now()")
    assert of_status(agreed, site) == [("west", "asked")]
    # What a person says there is an edit.
    agreed.sql(
        "update crm.installs set status = 'Completed', updated_at = now() where enerflo_install_id = :i",
        i=site,
    )
    assert of_status(agreed, site) == [("west", "to_enerflo")]


def _with_permits(desk: Desk) -> None:
    desk.sql("alter table crm.installs add permit_due timestamptz")
    mapped(desk, "both", PERMITS, AT_ONCE)
    desk.carried()


@pytest.mark.parametrize("writes", [1, 2])
def test_our_write_of_one_table_does_not_make_the_other_tables_column_the_later_one(
    agreed: Desk, writes: int
) -> None:
    """A column of the installs and one of their milestones stand in one row, which has one time of change."""
    brought(agreed, _with_permits)
    site = int(agreed.one("select min(enerflo_install_id) from crm.installs where permit_due is not null"))
    for number in range(writes):
        agreed.sql(
            "update enerflo.installs set panel_count = :n, observed_at = now() where install_id = :i",
            n=91 + number,
            i=site,
        )
        plan = agreed.plan()
        assert [(one.table_name, one.field) for one in agreed.changes(plan)] == [("installs", "panel_count")]
        if number == writes - 1:
            # What people do between the plan and its application: Enerflo's change is the later one.
            edit(agreed, site)
        assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    (found,) = agreed.changes(agreed.plan(), field="permit_due")
    assert found.direction == "to_crm"


def edit(desk: Desk, site: int) -> None:
    desk.sql(
        "update crm.installs set permit_due = '2031-05-01', updated_at = now() - interval '2 hours'"
        " where enerflo_install_id = :i",
        i=site,
    )
    # As if the row had been seen for the last time before that.
    desk.sql(
        "update sync.agreed set crm_time = now() - interval '3 hours' where field = 'permit_due'"
        " and key ->> 'enerflo_install_id' = :key",
        key=str(site),
    )
    desk.sql(
        "update enerflo.milestones set due_at = '2032-05-01', observed_at = now()"
        " where install_id = :i and title = 'Permitting'",
        i=site,
    )
    desk.sql(
        "update enerflo.installs set updated_at = now() - interval '1 hour', observed_at = now()"
        " where install_id = :i",
        i=site,
    )


def test_an_edit_after_that_write_is_the_later_one(agreed: Desk) -> None:
    brought(agreed, _with_permits)
    site = int(agreed.one("select min(enerflo_install_id) from crm.installs where permit_due is not null"))
    agreed.sql(
        "update enerflo.installs set panel_count = 91, observed_at = now() where install_id = :i", i=site
    )
    agreed.carried()
    edit(agreed, site)
    agreed.sql("update crm.installs set updated_at = now() where enerflo_install_id = :i", i=site)
    (found,) = agreed.changes(agreed.plan(), field="permit_due")
    assert found.direction == "to_enerflo"


BOARDS = """tables:
  installs:
    crm_table: crm.east
    {key}
    updated_at: updated_at
    create_in: []
    fields:
      label: {{enerflo: status_name, type: text, source_of_truth: newest}}
  west:
    of: installs
    crm_table: crm.west
    {key}
    updated_at: updated_at
    create_in: []
    fields:
      stage: {{enerflo: status_name, type: text, source_of_truth: newest}}
"""
KEYS = {
    "the record's id": ("bigint", "key: {record: install_id}"),
    "a text, and a key of its own": (
        "text",
        "key: [item]\n    join: {record: {enerflo: install_id, type: integer, trim: true}}",
    ),
}


def _boards(desk: Desk, kind: str, key: str) -> None:
    for board, column in (("east", "label"), ("west", "stage")):
        desk.sql(
            f"create table crm.{board} (item text primary key, record {kind}, {column} text,"
            " updated_at timestamptz)"
        )
    desk.sql("alter table crm.east add unique (record)")
    desk.sql(
        f"insert into crm.east select 'i' || install_id, cast(install_id::text as {kind}), status_name,"
        " now() - interval '1 day' from enerflo.installs where deleted_at is null and install_id % 2 = 1"
    )
    desk.sql(
        f"insert into crm.west select 'i' || install_id, cast(install_id::text as {kind}), status_name,"
        " now() - interval '1 day' from enerflo.installs where deleted_at is null and install_id % 2 = 0"
    )
    mapped(desk, "both", BOARDS.format(key=key), AT_ONCE)
    desk.carried()


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("how", KEYS)
def test_an_item_that_goes_to_another_board_sends_nothing_that_was_agreed_on_there(
    agreed: Desk, how: str, edited: bool
) -> None:
    brought(agreed, _boards, *KEYS[how])
    site = int(agreed.one("select min(record::bigint) from crm.east where label = 'In progress'"))
    at_enerflo(agreed, site, ON_HOLD)
    agreed.carried()
    assert agreed.one("select label from crm.east where record::bigint = :i", i=site) == "On Hold"
    at_enerflo(agreed, site, CANCELLED)
    agreed.sql("delete from crm.east where record::bigint = :i", i=site)
    agreed.sql(
        "insert into crm.west select 'i' || :i, "
        + ("cast(:i as text)" if "text" in how else ":i")
        + ", :s, now()",
        i=site,
        s="Completed" if edited else "On Hold",
    )
    plans = run_plan(agreed.context)
    written = [one.direction for plan in plans for one in agreed.changes(plan, field="stage")]
    asked = {str(one.reason) for plan in plans for one in agreed.undecided(plan) if one.field == "stage"}
    assert (written, [a for a in asked if edited]) == (["to_enerflo"] if edited else [], [])
    assert ["another table of sync.yaml" in one for one in asked] == ([] if edited else [True])
