"""A new row of a note is on its way to a CRM of which we see a copy, and a row of the CRM turns out to be the note."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.kept import brought

HANDED_OVER = ("    key: [note_id]\n", "    write_to: changes\n    key: [note_id]\n")
TEXT = "The roof is wet."


@pytest.fixture
def waiting(agreed: Desk) -> tuple[Desk, int, int]:
    """An account whose tool is to make a row of Enerflo's note; with the install's and the note's id."""
    agreed.switched_on("both", HANDED_OVER)
    return agreed, *brought(agreed, _handed_over)


def _handed_over(desk: Desk) -> tuple[int, int]:
    install = desk.a_site().install_id
    note = desk.world.add_note(install, TEXT)
    run_poll(desk.context)
    planned_and_applied(desk)
    assert {one["op"] for one in open_changes(desk)} == {"insert"}
    return install, note


def planned_and_applied(desk: Desk) -> list[str]:
    """Apply all that is planned; return the reasons why differences stay."""
    reasons = []
    for plan in run_plan(desk.context):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
        reasons += [*plan.kept, *(one.reason for one in desk.undecided(plan))]
    return reasons


def open_changes(desk: Desk) -> list[Any]:
    return desk.sql("select * from sync.crm_changes_open")


def typed_in(desk: Desk, install: int) -> None:
    """A person writes the same note into the CRM."""
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, created_at, updated_at)"
        " values ('N1', :i, 'Ann', :text, now(), now())",
        i=install,
        text=TEXT,
    )


def carried_by_a_tool(desk: Desk) -> None:
    """Let a tool write what is handed over: new rows, and columns of rows that are there."""
    changes = open_changes(desk)
    for key in {one["key"]["note_id"] for one in changes}:
        values = {one["column"]: one["after"] for one in changes if one["key"]["note_id"] == key}
        if any(one["op"] == "insert" for one in changes if one["key"]["note_id"] == key):
            desk.sql("insert into crm.notes (note_id, updated_at) values (:k, now())", k=key)
        for column, value in values.items():
            desk.sql(
                f"update crm.notes set {column} = cast(cast(:v as text) as {_type(column)}) where note_id = :k",
                v=value,
                k=key,
            )


def _type(column: str) -> str:
    types = {"enerflo_note_id": "bigint", "enerflo_install_id": "bigint", "created_at": "timestamptz"}
    return types.get(column, "text")


def rows_of(desk: Desk, note: int) -> list[str]:
    """Return the keys of the CRM's rows that name the note."""
    rows = desk.sql("select note_id from crm.notes where enerflo_note_id = :n order by 1", n=note)
    return [row["note_id"] for row in rows]


def test_a_row_that_is_the_note_takes_its_id_and_no_second_row_is_made(
    waiting: tuple[Desk, int, int],
) -> None:
    desk, install, note = waiting
    typed_in(desk, install)
    planned_and_applied(desk)
    assert [(one["op"], one["key"]["note_id"]) for one in open_changes(desk)] == [("update", "N1")]
    carried_by_a_tool(desk)
    assert rows_of(desk, note) == ["N1"]
    desk.settled()


def test_where_a_tool_took_the_new_row_over_no_other_row_takes_the_note(
    waiting: tuple[Desk, int, int],
) -> None:
    desk, install, _note = waiting
    desk.sql("update sync.crm_changes_open set acknowledged_at = now()")
    typed_in(desk, install)
    reasons = planned_and_applied(desk)
    assert "a new row of its record was handed over, and a tool took it over" in reasons
    assert desk.sql("select 1 from sync.crm_changes where op = 'update'") == []
    assert len(desk.world.received) == 0


def test_what_is_not_made_of_a_new_row_is_in_the_ledger(waiting: tuple[Desk, int, int]) -> None:
    desk, install, note = waiting
    typed_in(desk, install)
    planned_and_applied(desk)
    carried_by_a_tool(desk)
    desk.settled()
    rows = [row for row in desk.ledger(table_name="notes", op="insert") if row["decision"] != "handed_over"]
    assert {(row["decision"], row["reason"]) for row in rows} == {
        ("superseded", "a row of the CRM is found to be its record")
    }
    assert rows_of(desk, note) == ["N1"]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_note_of_the_crm_that_is_deleted_before_its_id_arrives_becomes_no_new_row(
    agreed: Desk, acknowledged: bool
) -> None:
    agreed.switched_on("both", HANDED_OVER)
    agreed.carried()
    typed_in(agreed, agreed.a_site().install_id)
    planned_and_applied(agreed)
    if acknowledged:
        agreed.sql("update sync.crm_changes_open set acknowledged_at = now()")
    run_poll(agreed.context)
    agreed.sql("create table crm.bin as select * from crm.notes where note_id = 'N1'")
    agreed.sql("delete from crm.notes where note_id = 'N1'")
    for _ in range(2):
        assert "it was deleted from the CRM since both agreed" in planned_and_applied(agreed)
        assert open_changes(agreed) == []
    # The copy had lacked it for a moment.
    agreed.sql("insert into crm.notes select * from crm.bin")
    planned_and_applied(agreed)
    carried_by_a_tool(agreed)
    agreed.settled()
    (note,) = agreed.sql("select enerflo_note_id from crm.notes where body = :text", text=TEXT)
    assert rows_of(agreed, note["enerflo_note_id"]) == ["N1"]
    assert len(agreed.world.received) == 1
