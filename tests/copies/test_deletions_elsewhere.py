"""A row of a CRM elsewhere is marked as deleted only as the plan saw it, however late somebody edits it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanReport
from tests.copies.conftest import CRM, Elsewhere
from tests.copies.interrupted import answer_lost, interrupted
from tests.writes.conftest import Desk
from tests.writes.test_changes import AT_ONCE

MARKED = (
    "    create_only: true\n",
    "    create_only: true\n    delete_in: [crm]\n    deleted_when: {is_deleted: true}\n",
)
pytestmark = pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)


@pytest.fixture
def deletion(away: Desk, elsewhere: Elsewhere) -> tuple[int, PlanReport]:
    """A note that Enerflo deleted, and the plan that marks its row."""
    elsewhere.sql(f"alter table crm.notes add {elsewhere.quoted('is_deleted')} {elsewhere.types['bool']}")
    away.switched_on("both", CRM, AT_ONCE, MARKED)
    away.carried()
    note = int(away.one('select min(enerflo_note_id) from crm_copies."default.notes"'))
    away.world.delete_note(note)
    run_poll(away.context, full=True)
    return note, away.plan()


def test_a_row_that_is_edited_in_the_moment_before_it_is_marked_stays(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    whole = RemoteWriter.write
    edits = ["update crm.notes set body = 'Call back before Friday' where enerflo_note_id = :id"]

    def edited_before(self: RemoteWriter, writes: Sequence[RowWrite]) -> Written:
        if edits:
            elsewhere.sql(edits.pop(), id=note)
        return whole(self, writes)

    monkeypatch.setattr(RemoteWriter, "write", edited_before)
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert edits == []
    row = elsewhere.one("notes", enerflo_note_id=note)
    assert (row["body"], bool(row["is_deleted"])) == ("Call back before Friday", False)
    assert (report.applied, report.moved) == (0, 1)


def test_nor_is_one_marked_that_was_edited_while_the_crm_was_away(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    interrupted(away, plan, monkeypatch)
    elsewhere.sql("update crm.notes set body = 'Call back' where enerflo_note_id = :id", id=note)
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert report.applied == 0
    # Whether the note goes all the same is for a person to say.
    again = away.plan()
    assert [change.op for change in away.changes(again)] == ["delete"]
    assert again.needs_approval


def test_an_undo_takes_the_mark_away_and_what_was_undone_is_not_done_again(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport]
) -> None:
    note, plan = deletion
    before = elsewhere.one("notes", enerflo_note_id=note)
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert away.plan().change_count == 0
    undo = run_undo(away.context, plan.plan_hash)
    assert {one.op for one in away.changes(undo)} == {"insert"}
    assert run_apply(away.context, undo.plan_hash, approved_by="Pat").applied == undo.change_count
    assert elsewhere.one("notes", enerflo_note_id=note) == before
    again = away.plan()
    assert (away.changes(again), dict(again.kept).get("its deletion was undone")) == ([], 1)
    redo = run_undo(away.context, undo.plan_hash)
    assert run_apply(away.context, redo.plan_hash, approved_by="Pat").applied == redo.change_count == 1
    assert elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert away.plan().change_count == 0


TOUCHED = "update crm.notes set body = 'Keep this' where enerflo_note_id = :id"


def test_a_marked_row_that_somebody_touched_before_the_undo_stays_marked(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport]
) -> None:
    note, plan = deletion
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    elsewhere.sql(TOUCHED, id=note)
    assert away.plan().change_count == 0
    undo = run_undo(away.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = away.undecided(undo)
    assert asked.reason == "the CRM says something else than the plan wrote: it moved since"


def test_nor_is_one_unmarked_that_somebody_touches_before_or_while_the_undo_is_applied(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(away.context, plan.plan_hash)
    interrupted(away, undo, monkeypatch)
    elsewhere.sql(TOUCHED, id=note)
    report = run_apply(away.context, undo.plan_hash, approved_by="Pat")
    row = elsewhere.one("notes", enerflo_note_id=note)
    assert (report.applied, row["body"], bool(row["is_deleted"])) == (0, "Keep this", True)
    assert {change.state for change in away.changes(undo)} == {"moved"}
    assert away.plan().change_count == 0


def test_an_undo_whose_answer_is_lost_takes_the_mark_away_once(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(away.context, plan.plan_hash)
    interrupted(away, undo, monkeypatch, answer_lost)
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert run_apply(away.context, undo.plan_hash, approved_by="Pat").applied == undo.change_count
    again = away.plan()
    assert (again.change_count, dict(again.kept).get("its deletion was undone")) == (0, 1)


def test_a_mark_whose_answer_was_lost_may_be_a_persons_and_is_a_question(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    interrupted(away, plan, monkeypatch, answer_lost)
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    undo = run_undo(away.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = away.undecided(undo)
    assert "whether our write or a person marked its row" in str(asked.reason)
    # What a person then does stays.
    elsewhere.sql("update crm.notes set is_deleted = false where enerflo_note_id = :id", id=note)
    again = away.plan()
    assert [change.op for change in away.changes(again)] == ["delete"]
    run_reject(away.context, again.plan_hash, by="Pat")
    for _ in range(2):
        assert away.plan().change_count == 0
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]


def test_the_undo_of_a_new_row_marks_it_and_its_undo_takes_the_mark_away(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport]
) -> None:
    _, plan = deletion
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    install = int(away.one('select min(enerflo_install_id) from crm_copies."default.notes"'))
    note = away.world.add_note(install, "Made by a plan.")
    run_poll(away.context)
    plan = away.plan()
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == plan.change_count
    undo = run_undo(away.context, plan.plan_hash)
    assert [(one.op, one.after) for one in away.changes(undo)] == [("delete", {"is_deleted": True})]
    assert run_apply(away.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert away.plan().change_count == 0
    redo = run_undo(away.context, undo.plan_hash)
    assert run_apply(away.context, redo.plan_hash, approved_by="Pat").applied == redo.change_count > 0
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
    assert away.plan().change_count == 0


def test_a_deletion_that_waits_has_not_arrived_where_the_table_is_loaded_anew(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    note, plan = deletion
    interrupted(away, plan, monkeypatch)
    elsewhere.sql("create table crm.saved as select * from crm.notes")
    elsewhere.sql("delete from crm.notes")
    for _ in range(2):
        assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 0
    elsewhere.sql("insert into crm.notes select * from crm.saved")
    again = away.plan()
    assert [change.state for change in away.changes(plan)] == ["superseded"]
    assert [change.op for change in away.changes(again)] == ["delete"]
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
