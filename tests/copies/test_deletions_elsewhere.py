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
from tests.copies.interrupted import interrupted
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


def test_the_undo_of_a_mark_is_a_question_and_what_a_person_then_does_stays(
    away: Desk, elsewhere: Elsewhere, deletion: tuple[int, PlanReport]
) -> None:
    note, plan = deletion
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    undo = run_undo(away.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = away.undecided(undo)
    assert asked.reason == "a row of the CRM that is marked as deleted has its key"
    elsewhere.sql("update crm.notes set is_deleted = false where enerflo_note_id = :id", id=note)
    again = away.plan()
    assert [change.op for change in away.changes(again)] == ["delete"]
    run_reject(away.context, again.plan_hash, by="Pat")
    for _ in range(2):
        assert away.plan().change_count == 0
    assert not elsewhere.one("notes", enerflo_note_id=note)["is_deleted"]
