"""A table of more mapped columns than a function of PostgreSQL takes arguments."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

COLUMNS = [f"copy_{n}" for n in range(60)]


@pytest.fixture
def wide(desk: Desk) -> Desk:
    """An account that creates and deletes notes in a CRM table of more than sixty columns."""
    desk.sql("alter table crm.notes " + ", ".join(f"add column {name} text" for name in COLUMNS))
    mapped = "".join(
        f"      {name}: {{enerflo: body, type: text, source_of_truth: enerflo, personal_data: free_text}}\n"
        for name in COLUMNS
    )
    desk.switched_on(
        "crm",
        ("    create_only: true\n", "    delete_in: [crm]\n"),
        ("      body:\n        {enerflo: body", f"{mapped}      body:\n        {{enerflo: body"),
    )
    desk.carried()
    return desk


def note_of(desk: Desk, note: int) -> Any:
    rows = desk.sql("select * from crm.notes where enerflo_note_id = :id", id=note)
    return dict(rows[0]) if rows else None


def test_its_rows_are_made_changed_deleted_and_brought_back(wide: Desk) -> None:
    note = wide.one("select min(enerflo_note_id) from crm.notes")
    before = note_of(wide, note)
    assert {before[name] for name in COLUMNS} == {before["body"]}
    wide.sql("update crm.notes set copy_59 = 'Typed.', updated_at = now() where enerflo_note_id = :n", n=note)
    assert wide.carried().applied == 1
    assert note_of(wide, note)["copy_59"] == before["copy_59"]
    wide.world.delete_note(note)
    run_poll(wide.context, full=True)
    plan = wide.plan()
    assert [change.op for change in wide.changes(plan)] == ["delete"]
    run_apply(wide.context, plan.plan_hash, approved_by="Pat")
    assert note_of(wide, note) is None
    undo = run_undo(wide.context, plan.plan_hash)
    run_apply(wide.context, undo.plan_hash, approved_by="Pat")
    assert {note_of(wide, note)[name] for name in COLUMNS} == {before["body"]}
    again = run_undo(wide.context, undo.plan_hash)
    assert [change.op for change in wide.changes(again)] == ["delete"]
