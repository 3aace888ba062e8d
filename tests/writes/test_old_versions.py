"""A copy without primary key keeps the old versions of a row as deleted rows of the same key."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_soft_deleted import MARK, TABLES

OF_TABLES = {
    "installs": "panel_count = 99, customer_name = 'Old'",
    "milestones": "title = 'Old', completed_at = null",
    "notes": "body = 'Old'",
    "leads": "first_name = 'Old', status = 'new'",
    "change_orders": "panel_count = 99",
}


@pytest.fixture
def copy(desk: Desk) -> Desk:
    """An account that writes both ways and agrees, whose CRM is a copy without a primary key."""
    brought(desk, _keyless)
    return desk


def _keyless(desk: Desk) -> None:
    for table in TABLES:
        desk.sql(f"alter table crm.{table} add is_deleted boolean not null default false")
    edits = ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{MARK}    delete_in: [crm]\n")
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"), edits)
    desk.carried()
    for table in TABLES:
        desk.sql(
            "do $$ declare c record; begin for c in select conname, conrelid::regclass as of from pg_constraint"
            f" where contype in ('p', 'u', 'f') and conrelid = 'crm.{table}'::regclass"
            " loop execute format('alter table %s drop constraint %I cascade', c.of, c.conname); end loop;"
            " for c in select i.indexrelid::regclass as name from pg_index i"
            f" where i.indrelid = 'crm.{table}'::regclass and i.indisunique"
            " loop execute format('drop index %s', c.name); end loop; end $$"
        )
        older(desk, table)


def older(desk: Desk, table: str, where: str = "true") -> None:
    """Give the living rows two older versions each, alike in every column."""
    desk.sql(
        f"do $$ begin create temporary table old on commit drop as"
        f" select * from crm.{table} where not is_deleted and {where};"
        f" update old set is_deleted = true, updated_at = updated_at - interval '1 day', {OF_TABLES[table]};"
        f" insert into crm.{table} select * from old; insert into crm.{table} select * from old; end $$"
    )


def versions(desk: Desk, table: str, **key: Any) -> list[dict[str, Any]]:
    """Return the deleted rows of a key."""
    where = " and ".join(f"{name} = :{name}" for name in key)
    return [dict(row) for row in desk.sql(f"select * from crm.{table} where is_deleted and {where}", **key)]


def living(desk: Desk, table: str, **key: Any) -> dict[str, Any]:
    where = " and ".join(f"{name} = :{name}" for name in key)
    (row,) = desk.sql(f"select * from crm.{table} where not is_deleted and {where}", **key)
    return dict(row)


def test_old_versions_are_no_duplicates_and_nothing_is_due(copy: Desk) -> None:
    sent = len(copy.world.received)
    for _ in range(2):
        plan = copy.plan()
        assert (copy.changes(plan), copy.undecided(plan)) == ([], [])
    causes = copy.sql("select distinct cause from sync.differences")
    assert "duplicate_identity" not in {row["cause"] for row in causes}
    assert len(copy.world.received) == sent


def test_a_value_of_enerflo_goes_into_the_living_row_alone_and_so_does_its_undo(copy: Desk) -> None:
    install = copy.a_site().install_id
    before, old = (
        living(copy, "installs", enerflo_install_id=install),
        versions(copy, "installs", enerflo_install_id=install),
    )
    copy.sql(
        "update enerflo.installs set panel_count = 7, observed_at = now() where install_id = :i", i=install
    )
    plan = copy.plan()
    assert [(one.field, one.before, one.after) for one in copy.changes(plan)] == [
        ("panel_count", before["panel_count"], 7)
    ]
    assert run_apply(copy.context, plan.plan_hash, approved_by="Me").applied == 1
    assert living(copy, "installs", enerflo_install_id=install)["panel_count"] == 7
    assert versions(copy, "installs", enerflo_install_id=install) == old
    undo = run_undo(copy.context, plan.plan_hash)
    assert run_apply(copy.context, undo.plan_hash, approved_by="Me").applied == 1
    assert living(copy, "installs", enerflo_install_id=install)["panel_count"] == before["panel_count"]
    assert versions(copy, "installs", enerflo_install_id=install) == old
    told = render_explanation(run_explain(copy.context, "install", str(install)))
    assert "crm.installs has its row" in told


def test_an_edit_that_leaves_an_old_version_behind_goes_to_enerflo(copy: Desk) -> None:
    install = copy.a_site().install_id
    base = copy.agreed("installs", "status", enerflo_install_id=install)
    # As a copy does it: the old row is marked, and the new version is a row of its own.
    copy.sql(
        "do $$ begin create temporary table edit on commit drop as"
        f" select * from crm.installs where not is_deleted and enerflo_install_id = {install};"
        f" update crm.installs set is_deleted = true where enerflo_install_id = {install};"
        " update edit set status = 'On Hold', updated_at = now();"
        " insert into crm.installs select * from edit; end $$"
    )
    assert len(versions(copy, "installs", enerflo_install_id=install)) == 3
    plan = copy.plan()
    (change,) = copy.changes(plan)
    assert (change.field, change.before, change.after, change.cause) == (
        "status",
        base,
        "On Hold",
        "edited_in_crm",
    )
    report = run_apply(copy.context, plan.plan_hash, approved_by="Me")
    assert (report.applied, report.waiting) == (1, 0)
    copy.settled()


def test_a_new_lead_is_sent_once_and_its_living_row_takes_the_id(copy: Desk) -> None:
    copy.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " is_deleted, updated_at) values ('new', 'Ada', 'Lind', 'ada@example.org', '+15125550101', '1 Elm St',"
        " 'Austin', 'TX', '78701', 'qualified', false, now())"
    )
    older(copy, "leads", "lead_id = 'new'")
    plan = copy.plan()
    assert {one.key["lead_id"] for one in copy.changes(plan)} == {"new"}
    report = run_apply(copy.context, plan.plan_hash, approved_by="Me")
    assert (report.applied, report.waiting) == (plan.change_count, 0), [c.reason for c in copy.changes(plan)]
    assert living(copy, "leads", lead_id="new")["enerflo_customer_id"] is not None
    assert {row["enerflo_customer_id"] for row in versions(copy, "leads", lead_id="new")} == {None}
    copy.settled()


def test_a_new_note_is_sent_once_and_its_living_row_takes_the_id(copy: Desk) -> None:
    copy.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, is_deleted, updated_at)"
        " values ('new', :id, 'Hello', false, now())",
        id=copy.a_site().install_id,
    )
    older(copy, "notes", "note_id = 'new'")
    plan = copy.plan()
    report = run_apply(copy.context, plan.plan_hash, approved_by="Me")
    assert (report.applied, report.waiting) == (plan.change_count, 0), [c.reason for c in copy.changes(plan)]
    assert living(copy, "notes", note_id="new")["enerflo_note_id"] is not None
    assert {row["enerflo_note_id"] for row in versions(copy, "notes", note_id="new")} == {None}
    copy.settled()


def test_a_deleted_record_marks_the_living_row_alone_and_an_undo_finds_it_among_the_others(
    copy: Desk,
) -> None:
    note = int(copy.one("select min(enerflo_note_id) from crm.notes where not is_deleted"))
    before, old = living(copy, "notes", enerflo_note_id=note), versions(copy, "notes", enerflo_note_id=note)
    copy.world.delete_note(note)
    run_poll(copy.context, full=True)
    plan = copy.plan()
    assert [one.op for one in copy.changes(plan)] == ["delete"]
    assert run_apply(copy.context, plan.plan_hash, approved_by="Me").applied == 1
    assert len(versions(copy, "notes", enerflo_note_id=note)) == len(old) + 1
    assert copy.changes(copy.plan()) == []
    undo = run_undo(copy.context, plan.plan_hash)
    assert run_apply(copy.context, undo.plan_hash, approved_by="Me").applied == undo.change_count > 0
    back = living(copy, "notes", enerflo_note_id=note)
    assert {**back, "updated_at": before["updated_at"]} == before
    assert versions(copy, "notes", enerflo_note_id=note) == old


def test_a_row_that_lives_twice_is_a_duplicate_still(copy: Desk) -> None:
    install = copy.a_site().install_id
    copy.sql("insert into crm.installs select * from crm.installs where enerflo_install_id = :i", i=install)
    copy.sql(
        "update crm.installs set is_deleted = false where ctid = (select max(ctid) from crm.installs"
        " where enerflo_install_id = :i and is_deleted)",
        i=install,
    )
    plan = copy.plan()
    (question,) = copy.undecided(plan)
    assert question.cause == "duplicate_identity"
