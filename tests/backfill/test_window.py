"""A window of creation dates: found by a few requests, read by its pages, stored as a poll would."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sandbox.world import World
from enerflo_sync.backfill.request import Part
from enerflo_sync.backfill.store import State
from tests.backfill.conftest import Desk, assert_identity, desk_of


@pytest.mark.parametrize(
    ("start", "end"), [(400, 300), (730, 700), (60, 0), (729, 0), (500, 492), (None, 650), (90, None)]
)
def test_exactly_the_installs_of_the_window_are_brought_in(
    desk: Desk, start: int | None, end: int | None
) -> None:
    request = desk.window(None if start is None else desk.day(start), None if end is None else desk.day(end))
    report = desk.backfill(request)
    assert report.state is State.FINISHED
    assert not report.is_partial, report.reasons
    assert desk.mirrored() == desk.of_window(request) != set()
    assert_identity(report)
    assert desk.rows("select distinct observed_by from enerflo.installs") == [("backfill",)]


def test_everything_backfilled_equals_a_company_that_was_polled_from_the_start(
    desk: Desk, warehouse: sa.Engine
) -> None:
    report = desk.backfill(desk.everything())
    assert report.state is State.FINISHED
    polled = Desk(warehouse, desk.world, desk.clock, account="polled")
    polled.poll()
    expected = polled.content()
    for table, rows in desk.content().items():
        assert rows == expected[table], table
        assert rows, table


def test_a_second_backfill_of_the_window_writes_nothing(desk: Desk) -> None:
    request = desk.window(desk.day(400), desk.day(300))
    first = desk.backfill(request)
    second = desk.backfill(request)
    assert first.new == first.read - first.skipped
    assert (second.new, second.changed) == (0, 0)
    assert second.unchanged == first.new


def test_parts_that_are_left_out_are_not_read(desk: Desk) -> None:
    desk.backfill(desk.window(desk.day(400), desk.day(300), frozenset({Part.INSTALLS})))
    assert desk.rows("select count(*) from enerflo.notes") == [(0,)]
    assert desk.rows("select count(*) from enerflo.change_orders") == [(0,)]
    assert desk.rows("select count(*) from enerflo.milestones")[0][0] > 0


def test_milestones_that_the_list_does_not_tell_are_read_from_the_installs(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, lean_lists=True)
    request = desk.window(desk.day(400), desk.day(300))
    report = desk.backfill(request)
    told = {row[0] for row in desk.rows("select distinct install_id from enerflo.milestones")}
    assert told == desk.of_window(request)
    assert report.estimate is not None
    assert report.estimate.detail_requests == pytest.approx(len(told), rel=0.3)


def test_the_run_is_recorded_with_its_counts(desk: Desk) -> None:
    report = desk.backfill(desk.window(desk.day(400), desk.day(300)))
    (run,) = desk.rows("select job, state, read, applied, requests, finished_at from sync.runs")
    assert run[:5] == ("backfill", "ok", report.read, report.new + report.changed, report.requests)
    assert desk.rows("select sum(calls) from sync.api_calls") == [(report.requests,)]
    assert desk.rows("select count(*) from sync.backfill_pages") == [(0,)]


def test_a_month_among_a_million_installs_is_found_in_at_most_40_requests(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, installs=0)
    desk.world = World(1_000_000, seed=5, start=desk.clock.now(), clock=desk.clock)
    for start, end in [(400, 370), (729, 700), (45, 15)]:
        request = desk.window(desk.day(start), desk.day(end), frozenset({Part.INSTALLS}))
        report = desk.backfills(per_page=500, samples=0).estimate(request)
        assert report.requests <= 40
        assert report.estimate is not None
        assert report.estimate.records == pytest.approx(1_000_000 * (start - end + 1) / 730, rel=0.02)
        spare = report.estimate.install_requests - report.estimate.records / 500
        assert 0 <= spare <= 4
        assert len(report.chunks) >= 1


def test_notes_and_orders_are_those_of_the_windows_installs(desk: Desk) -> None:
    request = desk.window(desk.day(400), desk.day(300))
    report = desk.backfill(request)
    wanted = desk.of_window(request)
    for table, expected in [
        (
            "notes",
            {note.note_id for note in desk.world.truth.notes(deleted=False) if note.install_id in wanted},
        ),
        (
            "change_orders",
            {one.change_order_id for one in desk.world.truth.change_orders() if one.install_id in wanted},
        ),
    ]:
        key = "note_id" if table == "notes" else "change_order_id"
        found = {row[0] for row in desk.rows(f"select {key} from enerflo.{table} where deleted_at is null")}
        assert found == expected != set(), table
    assert report.skipped > 0
