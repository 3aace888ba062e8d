"""Where the CRM marks its deleted rows, a plan deletes by the same mark, and an undo takes the mark away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.creations import NO_MARK
from enerflo_sync.plan.render import plan_lines
from enerflo_sync.plan.render.shown_plan import show_plan
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.kept import brought

NOTES = ("    create_only: true\n", "    create_only: true\n    delete_in: [crm]\n    deleted_when: {MARK}\n")
TOUCHED = {"the CRM says something else than the plan wrote: it moved since": 1}
Started = Callable[..., Desk]


@pytest.fixture
def started(desk: Desk) -> Started:
    """Return a function that makes columns of crm.notes, declares the mark, and brings both sides together."""

    def start(mark: str = "is_deleted: true", columns: str = "add is_deleted boolean") -> Desk:
        brought(desk, _marks, mark, columns)
        return desk

    return start


def _marks(desk: Desk, mark: str, columns: str) -> None:
    desk.sql(f"alter table crm.notes {columns}")
    old, new = NOTES
    desk.switched_on(
        "both",
        ("in_flight_minutes: 30", "in_flight_minutes: 0"),
        # A column of a copy tool makes the table a copy, unless it is declared to be written.
        (old, new.replace("MARK", mark) + "    write_to: table\n"),
    )
    assert run_apply(desk.context, desk.plan().plan_hash, approved_by="Me").waiting == 0


def deleted(desk: Desk) -> tuple[int, PlanReport]:
    """Delete a note at Enerflo that the CRM has; return it and the plan that follows."""
    note = int(desk.one("select min(enerflo_note_id) from crm.notes where enerflo_note_id is not null"))
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    return note, desk.plan()


def applied(desk: Desk, plan: PlanReport) -> None:
    report = run_apply(desk.context, plan.plan_hash, approved_by="Me")
    assert report.applied == plan.change_count > 0, report


def row(desk: Desk, note: int) -> dict[str, Any]:
    return dict(desk.crm("notes", enerflo_note_id=note))


MARKS = [
    ("is_deleted: true", "add is_deleted boolean", "is_deleted", True),
    ("is_deleted: true", "add is_deleted boolean not null default false", "is_deleted", True),
    ("is_deleted: true", "add is_deleted integer not null default 0", "is_deleted", 1),
    ("is_deleted: true", "add is_deleted text", "is_deleted", "true"),
    ("state: 9", "add state numeric(4, 1) default 1", "state", 9),
    ("state: gone", "add state varchar(10) default 'new'", "state", "gone"),
    ("active: false", "add active boolean default true", "active", False),
    # A copy tool's own column is the next copy's to write.
    (
        "_fivetran_deleted: true, is_deleted: true",
        "add _fivetran_deleted boolean, add is_deleted boolean",
        "is_deleted",
        True,
    ),
    ("made: not_null, is_deleted: true", "add made text, add is_deleted boolean", "is_deleted", True),
]


@pytest.mark.parametrize(("mark", "columns", "column", "value"), MARKS)
def test_a_row_whose_record_enerflo_deleted_is_marked_and_an_undo_takes_the_mark_away(
    started: Started, mark: str, columns: str, column: str, value: object
) -> None:
    desk = started(mark, columns)
    note, plan = deleted(desk)
    before = row(desk, note)
    (change,) = desk.changes(plan)
    assert (change.op, change.field, change.direction) == ("delete", None, "to_crm")
    assert list(change.after) == [column]
    assert change.before[column] == before[column]
    assert plan.needs_approval
    applied(desk, plan)
    marked = row(desk, note)
    assert marked[column] == value
    assert marked["updated_at"] > before["updated_at"]
    assert {**marked, column: before[column], "updated_at": before["updated_at"]} == before
    (entry,) = desk.ledger(plan_hash=plan.plan_hash)
    assert (entry["op"], entry["decision"], entry["new_value"]) == ("delete", "applied", change.after)
    # The row is one that is not there.
    assert desk.changes(desk.plan()) == []
    undo = run_undo(desk.context, plan.plan_hash)
    assert {one.op for one in desk.changes(undo)} == {"insert"}
    applied(desk, undo)
    back = row(desk, note)
    assert {**back, "updated_at": before["updated_at"]} == before
    # What was undone is not done again.
    again = desk.plan()
    assert (desk.changes(again), dict(again.kept).get("its deletion was undone")) == ([], 1)
    # An undo of the undo marks the row again, and deletes nothing.
    redo = run_undo(desk.context, undo.plan_hash)
    applied(desk, redo)
    assert row(desk, note)[column] == value


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_a_time_that_marks_is_the_transactions_time(started: Started, kind: str) -> None:
    desk = started("deleted_at: not_null", f"add deleted_at {kind}")
    note, plan = deleted(desk)
    assert desk.changes(plan)[0].after == {"deleted_at": "not_null"}
    applied(desk, plan)
    done = desk.one("select done_at from sync.plan_changes where plan_hash = :p", p=plan.plan_hash)
    utc = f"(cast(:at as timestamptz) at time zone 'UTC')::{kind}" if kind != "timestamptz" else ":at"
    same = f"select deleted_at = cast({utc} as {kind}) from crm.notes where enerflo_note_id = :note"
    assert desk.one(same, at=done, note=note)
    applied(desk, run_undo(desk.context, plan.plan_hash))
    assert row(desk, note)["deleted_at"] is None


def test_the_plan_and_the_explanation_say_that_the_row_is_marked(started: Started) -> None:
    desk = started()
    note, plan = deleted(desk)
    with desk.engine.connect() as connection:
        shown = show_plan(connection, desk.context.config, "default", plan.plan_hash)
    assert "Mark 1 note as deleted in the CRM" in desk.page(plan)
    lines = [line.text for line in plan_lines(shown)]
    assert "  is_deleted 1" in lines
    applied(desk, plan)
    key = row(desk, note)["note_id"]
    told = " ".join(render_explanation(run_explain(desk.context, "note", key)).split())
    assert "Enerflo deleted the record, and the CRM's row follows (delete_in)" in told
    assert "The row was marked as deleted in the CRM (is_deleted)" in told
    assert "crm.notes has its row marked as deleted" in told


@pytest.mark.parametrize(
    "edit",
    [
        "update crm.notes set author = 'Ann' where enerflo_note_id = :note",
        "update crm.notes set updated_at = updated_at + interval '1 hour' where enerflo_note_id = :note",
    ],
)
def test_a_marked_row_that_somebody_touched_stays_marked(started: Started, edit: str) -> None:
    desk = started()
    note, plan = deleted(desk)
    applied(desk, plan)
    desk.sql(edit, note=note)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided) == (0, TOUCHED)


def test_a_marked_row_that_somebody_touches_before_the_undo_is_applied_stays_marked(
    started: Started,
) -> None:
    desk = started()
    note, plan = deleted(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    report = run_apply(desk.context, undo.plan_hash, approved_by="Me")
    assert (report.applied, row(desk, note)["is_deleted"]) == (0, True)


def test_a_row_that_is_touched_between_plan_and_apply_is_not_marked(started: Started) -> None:
    desk = started()
    note, plan = deleted(desk)
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    assert run_apply(desk.context, plan.plan_hash, approved_by="Me").moved == 1
    assert row(desk, note)["is_deleted"] is None


def test_what_triggers_make_of_a_marked_row_is_no_touch(started: Started) -> None:
    desk = started("is_deleted: true", "add is_deleted boolean, add words int")
    desk.sql(
        "create function crm.count_words() returns trigger language plpgsql as $$ begin"
        " update crm.notes set words = length(body) where note_id = new.note_id and words is null;"
        " return null; end $$"
    )
    desk.sql(
        "create constraint trigger words after update on crm.notes deferrable initially deferred"
        " for each row execute function crm.count_words()"
    )
    note, plan = deleted(desk)
    applied(desk, plan)
    assert row(desk, note)["words"] is not None
    applied(desk, run_undo(desk.context, plan.plan_hash))
    assert row(desk, note)["is_deleted"] is None


def test_a_table_that_takes_no_mark_has_its_rows_parked(started: Started) -> None:
    desk = started()
    desk.sql(
        "create function crm.keep() returns trigger language plpgsql as $$ begin"
        " new.is_deleted := old.is_deleted; return new; end $$"
    )
    desk.sql("create trigger keep before update on crm.notes for each row execute function crm.keep()")
    _, plan = deleted(desk)
    assert run_apply(desk.context, plan.plan_hash, approved_by="Me").parked == 1
    (change,) = desk.changes(plan)
    assert change.reason is not None
    assert "keeps the value from before" in change.reason
    assert desk.one(
        "select deleted_row is null from sync.plan_changes where plan_hash = :p", p=plan.plan_hash
    )


def test_what_a_plan_made_is_marked_by_its_undo(started: Started) -> None:
    desk = started()
    install = int(desk.one("select min(enerflo_install_id) from crm.notes"))
    note = desk.world.add_note(install, "Made by a plan.")
    run_poll(desk.context)
    plan = desk.plan()
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    assert [(one.op, one.after) for one in desk.changes(undo)] == [("delete", {"is_deleted": True})]
    applied(desk, undo)
    assert row(desk, note)["is_deleted"] is True
    assert desk.changes(desk.plan()) == []


def test_a_refused_deletion_stays_refused(started: Started) -> None:
    desk = started()
    note, plan = deleted(desk)
    run_reject(desk.context, plan.plan_hash, by="Pat", reason="we keep it")
    again = desk.plan()
    assert (desk.changes(again), sum(again.refused.values())) == ([], 1)
    assert row(desk, note)["is_deleted"] is None


@pytest.mark.parametrize(
    ("mark", "columns"),
    [
        ("_fivetran_deleted: true", "add _fivetran_deleted boolean"),
        ("deleted_by: not_null", "add deleted_by text"),
        ("gone: true", "add stage text, add gone boolean generated always as (stage = 'gone') stored"),
    ],
)
def test_where_no_mark_is_ours_to_set_a_person_deletes(started: Started, mark: str, columns: str) -> None:
    desk = started(mark, columns)
    with desk.engine.connect() as connection:
        findings = check_mapping(connection, desk.context.config, "default", desk.context.config.file)
    (finding,) = [one for one in findings if one.what == "tables.notes.delete_in"]
    assert "no column of deleted_when that is ours to set" in finding.found
    assert "left to a person" in finding.next_step
    note, plan = deleted(desk)
    before = row(desk, note)
    assert desk.changes(plan) == []
    (question,) = desk.undecided(plan)
    assert (question.reason, question.cause) == (NO_MARK, "deleted_in_enerflo")
    assert (question.enerflo_value, question.crm_value) == (None, {"note_id": before["note_id"]})
    assert row(desk, note) == before


def test_a_mapping_that_has_a_mark_of_ours_has_no_finding(started: Started) -> None:
    desk = started()
    with desk.engine.connect() as connection:
        findings = check_mapping(connection, desk.context.config, "default", desk.context.config.file)
    assert [one for one in findings if "delete" in one.what] == []


@pytest.mark.parametrize("touched", [False, True])
def test_a_mark_that_a_trigger_keeps_is_parked(started: Started, touched: bool) -> None:
    desk = started()
    note, plan = deleted(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    if touched:
        desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    desk.sql(
        "create function crm.nothing() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger nothing before update on crm.notes for each row execute function crm.nothing()"
    )
    report = run_apply(desk.context, undo.plan_hash, approved_by="Me")
    assert (report.applied, report.moved > 0, report.parked > 0) == (0, touched, not touched)
    assert row(desk, note)["is_deleted"] is True


def test_a_new_row_that_a_trigger_marks_is_taken_back_and_parked(started: Started) -> None:
    desk = started()
    desk.sql(
        "create function crm.marks() returns trigger language plpgsql as $$ begin"
        " new.is_deleted := true; return new; end $$;"
        " create trigger marks before insert on crm.notes for each row execute function crm.marks()"
    )
    note = desk.world.add_note(desk.a_site().install_id, "Call first")
    run_poll(desk.context)
    report = run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    assert (report.applied, report.parked > 0) == (0, True)
    assert "would count as deleted" in str(report.reasons["parked"])
    assert desk.sql("select 1 from crm.notes where enerflo_note_id = :note", note=note) == []
