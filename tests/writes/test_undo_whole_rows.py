"""``undo`` and whole rows: nothing that a person touched is deleted, and a deleted row comes back with every column."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.plan.render import plan_lines, write_plan
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided, show_plan
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought

TOUCHED = {"the CRM says something else than the plan wrote: it moved since": 1}
# A table of notes whose rows do not say when they changed.
NO_TIME = (
    "    key: [note_id]\n    join: {enerflo_note_id: note_id}\n    updated_at: updated_at\n",
    "    key: [note_id]\n    join: {enerflo_note_id: note_id}\n",
)
ONE_FIELD = """tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}
"""
DELETED_TOO = ("    create_only: true\n", "    create_only: true\n    delete_in: [crm]\n")
NOT_IN_FLIGHT = ("in_flight_minutes: 30", "in_flight_minutes: 0")


@pytest.fixture
def install(desk: Desk) -> int:
    """An install of both sides, which agree; notes are deleted in the CRM too, and say no time of change."""
    return brought(desk, _agrees)


def _agrees(desk: Desk) -> int:
    desk.sql("alter table crm.notes alter column updated_at set default now()")
    desk.switched_on("both", NOT_IN_FLIGHT, NO_TIME, DELETED_TOO)
    done = run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    assert done.waiting == 0
    return int(desk.one("select min(enerflo_install_id) from crm.notes where enerflo_note_id is not null"))


def made(desk: Desk, install: int) -> tuple[int, PlanReport]:
    """Return a note that a plan made in the CRM, and the plan."""
    note = desk.world.add_note(install, "Made by a plan.")
    run_poll(desk.context)
    plan = desk.plan()
    report = run_apply(desk.context, plan.plan_hash, approved_by="Me")
    assert report.applied == plan.change_count
    return note, plan


def deleted(desk: Desk) -> tuple[Any, PlanReport]:
    """Return a note's whole row that a plan deleted from the CRM, and the plan."""
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    row = desk.crm("notes", enerflo_note_id=note)
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    plan = desk.plan()
    assert [change.op for change in desk.changes(plan)] == ["delete"]
    assert run_apply(desk.context, plan.plan_hash, approved_by="Me").applied == 1
    assert desk.sql("select 1 from crm.notes where enerflo_note_id = :note", note=note) == []
    return row, plan


def restored(desk: Desk, plan: PlanReport) -> PlanReport:
    undo = run_undo(desk.context, plan.plan_hash)
    report = run_apply(desk.context, undo.plan_hash, approved_by="Me")
    assert report.applied == undo.change_count > 0, report
    return undo


@pytest.mark.parametrize(
    "edit",
    [
        "update crm.notes set author = 'Ann' where enerflo_note_id = :note",
        "update crm.notes set author = null where enerflo_note_id = :note",
        "update crm.notes set internal = 'call back' where enerflo_note_id = :note",
        "update crm.notes set stars = 5 where enerflo_note_id = :note",
        "update crm.notes set created_at = created_at - interval '1 hour' where enerflo_note_id = :note",
    ],
)
def test_a_new_row_that_was_touched_in_any_column_is_not_deleted(desk: Desk, install: int, edit: str) -> None:
    desk.sql("alter table crm.notes add column internal text, add column stars int default 3")
    note, plan = made(desk, install)
    desk.sql(edit, note=note)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided) == (0, TOUCHED)


def test_a_new_row_that_is_touched_between_undo_and_apply_is_not_deleted(desk: Desk, install: int) -> None:
    note, plan = made(desk, install)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 1
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == 1
    assert desk.crm("notes", enerflo_note_id=note)["author"] == "Ann"


def test_a_row_that_is_touched_between_plan_and_apply_is_not_deleted(desk: Desk, install: int) -> None:
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    plan = desk.plan()
    assert [change.op for change in desk.changes(plan)] == ["delete"]
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    assert run_apply(desk.context, plan.plan_hash, approved_by="Me").moved == 1
    assert desk.crm("notes", enerflo_note_id=note)["author"] == "Ann"
    # The next plan has seen the row as it is now.
    assert run_apply(desk.context, desk.plan().plan_hash, approved_by="Me").applied == 1


def test_the_same_plan_made_again_expects_the_row_as_it_is_by_then(desk: Desk, install: int) -> None:
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    first = desk.plan()
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    second = desk.plan()
    assert second.plan_hash == first.plan_hash
    assert run_apply(desk.context, second.plan_hash, approved_by="Me").applied == 1


def test_what_triggers_and_defaults_make_of_a_new_row_is_no_touch(desk: Desk, install: int) -> None:
    desk.sql(
        "alter table crm.notes add column made timestamptz default clock_timestamp(), add column words int"
    )
    desk.sql(
        "create function crm.count_words() returns trigger language plpgsql as $$ begin"
        " update crm.notes set words = length(body) where note_id = new.note_id and words is null;"
        " return null; end $$"
    )
    desk.sql(
        "create constraint trigger words after insert on crm.notes deferrable initially deferred"
        " for each row execute function crm.count_words()"
    )
    note, plan = made(desk, install)
    assert desk.crm("notes", enerflo_note_id=note)["words"] == len("Made by a plan.")
    restored(desk, plan)
    assert desk.sql("select 1 from crm.notes where enerflo_note_id = :note", note=note) == []


def test_a_column_that_the_table_got_since_is_no_touch_until_it_is_filled(desk: Desk, install: int) -> None:
    note, plan = made(desk, install)
    desk.sql("alter table crm.notes add column internal text")
    assert run_undo(desk.context, plan.plan_hash).change_count == 1
    desk.sql("update crm.notes set internal = 'x' where enerflo_note_id = :note", note=note)
    assert run_undo(desk.context, plan.plan_hash).undecided == TOUCHED


def test_a_row_of_a_plan_that_noted_no_digest_is_left_to_a_person(desk: Desk, install: int) -> None:
    _, plan = made(desk, install)
    desk.sql("update sync.plan_changes set row_digest = null")
    (reason,) = run_undo(desk.context, plan.plan_hash).undecided
    assert reason.startswith("an older version made the row")


def test_a_second_row_of_the_same_key_is_never_deleted_with_the_first(desk: Desk, install: int) -> None:
    desk.sql("alter table crm.notes drop constraint notes_pkey")
    desk.sql("drop index crm.notes_enerflo_note_id")
    note, plan = made(desk, install)
    undo = run_undo(desk.context, plan.plan_hash)
    desk.sql("insert into crm.notes select * from crm.notes where enerflo_note_id = :note", note=note)
    assert run_undo(desk.context, plan.plan_hash).undecided == {"more than one row of the CRM has its key": 1}
    desk.sql("update sync.plans set state = 'open' where plan_hash = :hash", hash=undo.plan_hash)
    desk.sql("update sync.plan_changes set state = 'planned' where plan_hash = :hash", hash=undo.plan_hash)
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == 1
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :note", note=note) == 2


WIDE = """
alter table crm.notes
  add column internal text, add column padded char(8), add column amount numeric(12, 4),
  add column photo bytea, add column extra json, add column tags text[], add column at timestamp,
  add column ratio double precision, add column never text default 'default',
  add column number bigint generated always as identity,
  add column size int generated always as (length(body)) stored
"""
FILL = """
update crm.notes set internal = E' Ann''s "note" \n%(x)s ', padded = 'ab', amount = 12.3400,
  photo = '\\x00ff10', extra = '{"a": 1,  "a": 2}', tags = '{"x,y", null}', at = '2026-01-02 03:04:05.000006',
  ratio = 0.1::float8 + 0.2::float8, never = null
"""


def test_a_deleted_row_comes_back_with_every_column(desk: Desk, install: int) -> None:
    desk.sql(WIDE)
    desk.engine.dispose()
    with desk.engine.begin() as connection:
        connection.exec_driver_sql(FILL.replace("%", "%%"))
    row, plan = deleted(desk)
    restored(desk, plan)
    again = desk.crm("notes", enerflo_note_id=row["enerflo_note_id"])
    assert dict(again) == dict(row)
    assert (again["never"], again["amount"]) == (None, Decimal("12.3400"))
    assert again["at"] == datetime(2026, 1, 2, 3, 4, 5, 6)
    # Stays so, and may be taken back once more with nothing lost.
    assert desk.plan().change_count == 0


def test_a_restored_row_says_when_it_was_restored_where_the_table_says_times(
    desk: Desk, install: int
) -> None:
    desk.switched_on("both", NOT_IN_FLIGHT, DELETED_TOO)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    before = datetime.now(UTC)
    row, plan = deleted(desk)
    restored(desk, plan)
    again = desk.crm("notes", enerflo_note_id=row["enerflo_note_id"])
    assert again["updated_at"] >= before
    assert {**again, "updated_at": None} == {**row, "updated_at": None}


def test_an_undo_of_an_undo_of_a_deletion_deletes_and_restores_again(desk: Desk, install: int) -> None:
    desk.sql("update crm.notes set author = 'Ann'")
    row, plan = deleted(desk)
    second = restored(desk, restored(desk, plan))
    assert desk.sql("select 1 from crm.notes where enerflo_note_id = :n", n=row["enerflo_note_id"]) == []
    restored(desk, second)
    assert dict(desk.crm("notes", enerflo_note_id=row["enerflo_note_id"])) == dict(row)


def test_columns_that_were_dropped_or_added_since_do_not_keep_a_row_away(desk: Desk, install: int) -> None:
    desk.sql("alter table crm.notes add column internal text default 'kept'")
    row, plan = deleted(desk)
    desk.sql("alter table crm.notes drop column internal, add column stars int default 3")
    restored(desk, plan)
    again = desk.crm("notes", enerflo_note_id=row["enerflo_note_id"])
    assert (again["stars"], again["author"], again["body"]) == (3, row["author"], row["body"])


def test_a_row_that_was_made_again_meanwhile_is_left_alone(desk: Desk, install: int) -> None:
    row, plan = deleted(desk)
    undo = run_undo(desk.context, plan.plan_hash)
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, enerflo_note_id, body)"
        " values ('other', :install, :note, 'Made again.')",
        install=row["enerflo_install_id"],
        note=row["enerflo_note_id"],
    )
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == undo.change_count
    assert desk.crm("notes", enerflo_note_id=row["enerflo_note_id"])["body"] == "Made again."


def test_a_row_whose_parent_is_gone_is_parked_with_the_rule(desk: Desk, install: int) -> None:
    desk.sql("create table crm.authors (name text primary key)")
    desk.sql("insert into crm.authors select distinct author from crm.notes where author is not null")
    desk.sql("alter table crm.notes add constraint known_author foreign key (author) references crm.authors")
    row, plan = deleted(desk)
    desk.sql("alter table crm.notes drop constraint known_author")
    desk.sql("delete from crm.authors where name = :name", name=row["author"])
    desk.sql(
        "alter table crm.notes add constraint known_author foreign key (author)"
        " references crm.authors not valid"
    )
    undo = run_undo(desk.context, plan.plan_hash)
    report = run_apply(desk.context, undo.plan_hash, approved_by="Me")
    assert report.parked == undo.change_count
    assert "known_author" in str(report.reasons)


def test_a_deletion_whose_whole_row_was_not_kept_is_left_to_a_person(desk: Desk, install: int) -> None:
    _, plan = deleted(desk)
    desk.sql("update sync.plan_changes set deleted_row = null")
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.undecided == {"an older version deleted the row and kept only its mapped columns": 1}


def test_no_output_shows_the_columns_of_a_kept_row(desk: Desk, install: int) -> None:
    desk.sql(
        "alter table crm.notes add column internal text default 'SECRET-9', add column salary int default 98765"
    )
    row, plan = deleted(desk)
    undo = run_undo(desk.context, plan.plan_hash)
    shown = [everything(desk, plan), everything(desk, undo)]
    run_apply(desk.context, undo.plan_hash, approved_by="Me")
    shown.append(everything(desk, undo))
    for reveal in (False, True):
        found = run_explain(desk.context, "note", row["note_id"], reveal=reveal, by="Ann")
        shown.append(render_explanation(found) + str(found))
    for text in shown:
        assert "SECRET-9" not in text
        assert "98765" not in text
    assert row["body"] not in "".join(shown[:-1])


def everything(desk: Desk, plan: PlanReport) -> str:
    """Return all that is shown of a plan: text, page and JSON."""
    with desk.engine.connect() as connection:
        config, account = desk.context.config, desk.context.account
        found = show_plan(connection, config, account, plan.plan_hash)
        tables = config.tables_for(account)
        out = io.BytesIO()
        changes = masked_changes(read_changes(connection, account, plan.plan_hash), tables)
        questions = masked_undecided(read_undecided(connection, account, plan.plan_hash), tables)
        write_plan(found.plan, changes, questions, out)
    told = "\n".join(line.text for line in plan_lines(found))
    return told + desk.page(plan) + out.getvalue().decode()


def test_a_row_that_is_touched_after_its_deletion_was_approved_stays_also_if_the_plan_is_made_again(
    desk: Desk, install: int
) -> None:
    desk.sql("alter table crm.notes add stars int")
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    plan = desk.plan()
    run_approve(desk.context, plan.plan_hash, by="Pat")
    desk.sql("update crm.notes set stars = 5 where enerflo_note_id = :note", note=note)
    assert desk.plan().plan_hash == plan.plan_hash
    report = run_apply(desk.context, plan.plan_hash)
    assert (report.applied, report.moved) == (0, 1)
    assert desk.crm("notes", enerflo_note_id=note)["stars"] == 5


@pytest.mark.parametrize("taken", [False, True])
def test_a_deleted_row_whose_return_a_trigger_passes_over_is_parked(
    desk: Desk, install: int, taken: bool
) -> None:
    row, plan = deleted(desk)
    undo = run_undo(desk.context, plan.plan_hash)
    desk.sql("create function crm.nothing() returns trigger language plpgsql as $$ begin return null; end $$")
    desk.sql(
        "create trigger nothing before insert on crm.notes for each row"
        " when (new.author is distinct from 'Ann') execute function crm.nothing()"
    )
    if taken:
        desk.sql(
            "insert into crm.notes (note_id, author, updated_at) values (:id, 'Ann', now())",
            id=row["note_id"],
        )
    report = run_apply(desk.context, undo.plan_hash, approved_by="Me")
    assert report.applied == 0
    assert report.moved + report.parked == undo.change_count
    assert bool(report.parked) is not taken
    if not taken:
        assert "passes over the write" in str(report.reasons["parked"])


@pytest.mark.parametrize("fields", ["many", "one"])
def test_a_row_that_is_deleted_after_an_undo_of_a_value_is_not_called_an_undone_creation(
    agreed: Desk, fields: str
) -> None:
    if fields == "one":
        mapped(agreed, "both", ONE_FIELD)
        agreed.carried()
    install = agreed.a_site().install_id
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Me")
    undo = run_undo(agreed.context, plan.plan_hash)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Me").applied == 1
    agreed.sql("delete from crm.installs where enerflo_install_id = :i", i=install)
    for _ in range(2):
        (asked,) = agreed.undecided(agreed.plan())
        assert asked.reason == "it was deleted from the CRM since both agreed"
