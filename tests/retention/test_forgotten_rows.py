"""Rows in the CRM of somebody who was forgotten: what our rules do with them, without reading who it was."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.creations import FORGOTTEN
from tests.retention.test_forget import NOTE, Person, found
from tests.retention.test_forget_events import plain, somebody_else
from tests.writes.test_undo_whole_rows import DELETED_TOO, NOT_IN_FLIGHT

__all__ = ["plain"]


@pytest.fixture
def note(plain: Person) -> int:
    """A note on the person's install, in the mirror and in the CRM."""
    desk = plain.desk
    found = desk.world.add_note(plain.install, NOTE)
    run_poll(desk.context)
    desk.carried()
    desk.switched_on("both", NOT_IN_FLIGHT, DELETED_TOO)
    return found


def test_a_row_whose_record_was_deleted_at_enerflo_is_deleted_once(plain: Person, note: int) -> None:
    desk = plain.desk
    assert desk.crm("notes", enerflo_note_id=note)["body"] == NOTE
    plain.forget()
    desk.sql("update enerflo.notes set deleted_at = now() where note_id = :n", n=note)
    plan = desk.plan()
    assert [(change.op, change.table_name) for change in desk.changes(plan)] == [("delete", "notes")]
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (1, 0)
    assert desk.sql("select from crm.notes where enerflo_note_id = :n", n=note) == []
    # The row was kept for an undo without what it said of the person.
    assert found(desk) == {}
    assert desk.plan().change_count == 0


def test_a_row_that_a_person_touched_before_its_deletion_stays(plain: Person, note: int) -> None:
    desk = plain.desk
    plain.forget()
    desk.sql("update enerflo.notes set deleted_at = now() where note_id = :n", n=note)
    plan = desk.plan()
    desk.sql("update crm.notes set updated_at = now() where enerflo_note_id = :n", n=note)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert len(desk.sql("select from crm.notes where enerflo_note_id = :n", n=note)) == 1


@pytest.mark.parametrize("owner", ["theirs", "moved"])
def test_what_the_crm_writes_about_them_afterwards_is_neither_sent_nor_kept(
    plain: Person, owner: str
) -> None:
    desk = plain.desk
    plain.forget()
    if owner == "moved":
        desk.sql(
            "update crm.installs set customer_name = null where enerflo_install_id = :i", i=plain.install
        )
        desk.world.give_install(plain.install, somebody_else(plain).customer_id)
        run_poll(desk.context)
        desk.carried()
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, created_at, updated_at)"
        " values ('N-1', :i, 'Maria', :body, now(), now())",
        i=plain.install,
        body=NOTE,
    )
    sent = len(desk.world.received)
    assert desk.plan().kept[FORGOTTEN] == 1
    desk.carried()
    run_poll(desk.context)
    run_reconcile(desk.context)
    assert len(desk.world.received) == sent
    assert found(desk) == {}


def test_a_new_row_that_a_person_refused_stays_refused_without_what_was_personal(plain: Person) -> None:
    desk = plain.desk
    note = desk.world.add_note(plain.install, NOTE)
    run_poll(desk.context)
    plan = desk.plan()
    assert "notes" in {change.table_name for change in desk.changes(plan)}
    run_reject(desk.context, plan.plan_hash, by="Pat", reason=None)
    assert desk.plan().change_count == 0
    plain.forget()
    assert desk.plan().change_count == 0
    # Another one is another one.
    other = desk.world.add_note(plain.install, NOTE)
    run_poll(desk.context)
    desk.carried()
    rows = desk.sql("select enerflo_note_id from crm.notes where enerflo_note_id = any(:n)", n=[note, other])
    assert [row["enerflo_note_id"] for row in rows] == [other]
