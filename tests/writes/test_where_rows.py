"""A CRM row outside ``where`` is never written, linked, sent, deleted or made again; a new row stands inside."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.kept import brought

WHERE = "    where: \"record_type = 'Solar'\"\n"
TABLES = ("installs", "milestones", "notes", "leads", "change_orders")


@pytest.fixture
def typed(desk: Desk) -> Desk:
    """An account that writes both ways, whose sides agree, and whose CRM has rows of several record types."""
    brought(desk, _typed)
    return desk


def _typed(desk: Desk) -> None:
    for table in TABLES:
        desk.sql(f"alter table crm.{table} add record_type text default 'Solar'")
    desk.switched_on("both", ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{WHERE}"))
    desk.carried()
    desk.settled()


def leaves(desk: Desk, table: str, record_type: str = "Roofing", **key: Any) -> None:
    where = " and ".join(f"{name} = :{name}" for name in key)
    desk.sql(
        f"update crm.{table} set record_type = :type, updated_at = now() where {where}",
        **key,
        type=record_type,
    )


def test_a_record_whose_row_left_is_not_made_again_and_no_question(typed: Desk) -> None:
    install = typed.a_site().install_id
    note = typed.sql("select * from crm.notes where enerflo_note_id is not null limit 1")[0]
    lead = typed.sql("select * from crm.leads where enerflo_customer_id is not null limit 1")[0]
    leaves(typed, "installs", enerflo_install_id=install)
    leaves(typed, "notes", note_id=note["note_id"])
    leaves(typed, "leads", lead_id=lead["lead_id"])
    plan = typed.plan()
    causes = typed.sql(
        "select table_name, cause from sync.differences where reconciliation_id ="
        " (select reconciliation_id from sync.reconciliations order by started_at desc limit 1)"
        " and table_name in ('installs', 'notes') and field is null"
    )
    assert {(row["table_name"], row["cause"]) for row in causes} == {
        ("installs", "policy"),
        ("notes", "policy"),
    }
    assert (typed.changes(plan), typed.undecided(plan)) == ([], [])
    # Without what both sides agreed on it is the same: the row itself says it.
    typed.sql("delete from sync.agreed where table_name <> 'milestones'")
    plan = typed.plan()
    assert (typed.changes(plan), typed.undecided(plan)) == ([], [])
    leaves(typed, "installs", "Solar", enerflo_install_id=install)
    typed.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :id", id=install)
    assert [change.field for change in typed.changes(typed.plan())] == ["panel_count"]


def test_a_row_outside_is_neither_updated_nor_a_source_of_a_write(typed: Desk) -> None:
    install = typed.a_site().install_id
    leaves(typed, "installs", enerflo_install_id=install)
    typed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :id", id=install)
    typed.sql(
        "insert into crm.leads (lead_id, first_name, last_name, status, record_type, updated_at)"
        " values ('other', 'A', 'B', 'qualified', 'Roofing', now())"
    )
    typed.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, record_type, updated_at)"
        " values ('other', :id, 'Hello', null, now())",
        id=install,
    )
    typed.world.set_status(install, 4)
    run_poll(typed.context)
    sent = len(typed.world.received)
    assert typed.changes(typed.plan()) == []
    assert len(typed.world.received) == sent


def test_the_last_milestone_completes_no_install_whose_row_is_outside(typed: Desk) -> None:
    install = typed.a_site().install_id
    leaves(typed, "installs", enerflo_install_id=install)
    typed.sql(
        "update crm.milestones set completed_at = now(), updated_at = now()"
        " where enerflo_install_id = :id and milestone_id = (select milestone_id from enerflo.milestones"
        " where install_id = :id and deleted_at is null order by sequence desc limit 1)",
        id=install,
    )
    assert {change.table_name for change in typed.changes(typed.plan())} == {"milestones"}


@pytest.mark.parametrize("direction", ["to_crm", "to_enerflo"])
def test_a_row_that_leaves_between_plan_and_apply_is_moved(typed: Desk, direction: str) -> None:
    install = typed.a_site().install_id
    column, value = ("panel_count", "1") if direction == "to_crm" else ("status", "'On Hold'")
    typed.sql(
        f"update crm.installs set {column} = {value}, updated_at = now() where enerflo_install_id = :id",
        id=install,
    )
    plan = typed.plan()
    assert [(one.field, one.direction) for one in typed.changes(plan)] == [(column, direction)]
    leaves(typed, "installs", enerflo_install_id=install)
    sent = len(typed.world.received)
    report = run_apply(typed.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved, len(typed.world.received)) == (0, 1, sent)
    assert str(typed.crm("installs", enerflo_install_id=install)[column]) == value.strip("'")


def test_a_row_that_takes_the_key_outside_after_the_plan_is_left_alone(typed: Desk) -> None:
    install = typed.world.create_install()
    run_poll(typed.context)
    plan = typed.plan()
    typed.sql(
        "insert into crm.installs (enerflo_install_id, record_type, updated_at) values (:id, 'Roofing', now())",
        id=install,
    )
    run_apply(typed.context, plan.plan_hash, approved_by="Pat")
    assert {row["decision"] for row in typed.ledger(table_name="installs", op="insert")} == {"moved"}
    assert typed.crm("installs", enerflo_install_id=install)["status"] is None


def test_a_new_row_that_would_stand_outside_is_taken_back_and_parked(typed: Desk) -> None:
    typed.sql("alter table crm.installs alter record_type drop default")
    # A trigger knows of one of them.
    made = [typed.world.create_install() for _ in range(3)]
    typed.sql(
        "create function crm.typed() returns trigger language plpgsql as $$ begin"
        f" if new.enerflo_install_id = {made[1]} then new.record_type := 'Solar'; end if; return new; end $$"
    )
    typed.sql("create trigger typed before insert on crm.installs for each row execute function crm.typed()")
    run_poll(typed.context)
    run_apply(typed.context, typed.plan().plan_hash, approved_by="Pat")
    rows = typed.sql(
        "select enerflo_install_id from crm.installs where enerflo_install_id = any(:ids)", ids=made
    )
    assert [row["enerflo_install_id"] for row in rows] == [made[1]]
    parked = {row["key"]["enerflo_install_id"]: row["reason"] for row in typed.ledger(decision="parked")}
    assert parked.keys() == {made[0], made[2]}
    assert all("would stand outside where" in reason for reason in parked.values())
    # It is a question for a day, and not made again each round.
    plan = typed.plan()
    assert typed.changes(plan, table_name="installs") == []
    asked = [one for one in typed.undecided(plan) if one.table_name == "installs"]
    assert len(asked) == 2


def test_an_undo_leaves_rows_outside_alone(typed: Desk) -> None:
    install = typed.a_site().install_id
    typed.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :id", id=install)
    plan = typed.plan()
    run_apply(typed.context, plan.plan_hash, approved_by="Pat")
    leaves(typed, "installs", enerflo_install_id=install)
    undo = run_undo(typed.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = typed.undecided(undo)
    assert asked.reason.startswith(
        "no row of the CRM has its key any more (deleted or marked so, left out by where"
    )


def test_a_row_outside_is_explained_by_either_name(typed: Desk) -> None:
    install = typed.a_site().install_id
    note = typed.sql("select * from crm.notes where enerflo_note_id is not null limit 1")[0]
    leaves(typed, "installs", enerflo_install_id=install)
    leaves(typed, "notes", note_id=note["note_id"])
    for table, key in (
        ("install", str(install)),
        ("install", f"enerflo:{install}"),
        ("note", note["note_id"]),
    ):
        found = run_explain(typed.context, table, key)
        assert (found.outside_where, found.crm_rows) == (True, 0)
    typed.sql(
        "insert into crm.installs (enerflo_install_id, record_type, updated_at) values (17, 'Roofing', now())"
    )
    assert run_explain(typed.context, "install", "17").outside_where
