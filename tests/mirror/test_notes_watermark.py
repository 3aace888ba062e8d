"""Notes are read from a watermark that covers what was read, with a lookback, and swept from time to time."""

from __future__ import annotations

from datetime import timedelta

from enerflo_sync.mirror.poll_resources import PollResource
from tests.mirror.conftest import START, Company

NOTES = PollResource.NOTES


def install(company: Company) -> int:
    return next(company.world.truth.installs()).install_id


def body(company: Company, note_id: int) -> list[tuple[str]]:
    return company.rows("select body from enerflo.notes where note_id = :id", id=note_id)


def test_the_watermark_is_the_runs_start(company: Company) -> None:
    company.poll(NOTES)
    rows = dict(company.rows("select name, value from sync.watermarks"))
    assert rows == {"notes": START, "notes_swept": START}


def test_a_second_read_asks_only_for_what_is_newer_than_the_lookback(company: Company) -> None:
    first = company.poll(NOTES)
    company.clock.advance(3600)
    note_id = company.world.add_note(install(company), "new")
    second = company.poll(NOTES)
    assert first.read > 20
    assert (second.read, second.applied) == (1, 1)
    assert body(company, note_id) == [("new",)]


def test_a_note_dated_while_notes_were_read_is_found_by_the_next_poll(company: Company) -> None:
    company.poll(NOTES)
    company.clock.advance(3600)
    started = company.clock.now()
    company.faults = ["slow@/api/v3/installs/notes#1"]
    company.poll(NOTES, notes_lookback=timedelta(0))
    company.faults = []
    number = company.world.number_of(install(company))
    during = int(started.timestamp()) + 10
    note_id = company.world.notes.add(during, number, 145000, "during").note_id
    company.poll(NOTES, notes_lookback=timedelta(0))
    assert body(company, note_id) == [("during",)]


def test_an_edit_is_found_by_the_sweep_that_is_due_after_a_day(company: Company) -> None:
    company.poll(NOTES)
    note_id = next(row.note_id for row in company.world.truth.notes() if row.deleted_at is None)
    company.clock.advance(3600)
    company.world.edit_note(note_id, "edited")
    company.poll(NOTES)
    assert body(company, note_id) != [("edited",)]
    company.clock.advance(24 * 3600)
    company.poll(NOTES)
    assert body(company, note_id) == [("edited",)]


def test_a_broken_read_moves_no_watermark(company: Company) -> None:
    company.poll(NOTES)
    before = company.rows("select name, value from sync.watermarks order by 1")
    company.clock.advance(3600)
    company.faults = ["html_page@/api/v3/installs/notes#1-9"]
    company.poll(NOTES)
    assert company.rows("select name, value from sync.watermarks order by 1") == before


def test_a_watermark_never_moves_back(company: Company) -> None:
    company.poll(NOTES)
    # A poll that began before and ends afterwards.
    company.clock = type(company.clock)(START - timedelta(minutes=4))
    company.poll(NOTES, full=True)
    assert dict(company.rows("select name, value from sync.watermarks"))["notes"] == START
