"""The list moves while it is read, or is not in the order that the search assumes: nothing is left out."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World
from enerflo_sync.backfill.request import Part
from enerflo_sync.backfill.store import State
from enerflo_sync.mirror.sweep import ShrunkSourceError
from tests.backfill.conftest import Desk, desk_of

INSTALLS = frozenset({Part.INSTALLS})


@pytest.mark.parametrize("seed", range(12))
def test_installs_that_stay_are_read_whatever_is_signed_and_deleted_meanwhile(
    warehouse: sa.Engine, seed: int
) -> None:
    desk = desk_of(warehouse, 300)
    rng = random.Random(seed)
    request = desk.window(desk.day(500), desk.day(250), INSTALLS)

    def live(asked: Request, world: World) -> None:
        if asked.path != "/api/v3/installs" or rng.random() < 0.4:
            return
        for _ in range(rng.randint(0, 4)):
            world.create_install()
        ids = [row.install_id for row in world.truth.installs()]
        for install_id in rng.sample(ids, rng.randint(0, 3)):
            world.delete_install(install_id)

    desk.before_request = live
    options = {"chunk_seconds": 0.5, "limit": 300, "shrink_guard": 0.9, "per_page": 10}
    report = desk.backfill(request, **options)
    assert report.state is State.FINISHED
    assert len(report.chunks) > 2
    assert not report.reasons.get("incomplete"), report.reasons
    assert desk.of_window(request) <= desk.mirrored()


def test_a_quiet_list_is_read_without_one_request_too_many(desk: Desk) -> None:
    report = desk.backfill(
        desk.window(desk.day(500), desk.day(250), INSTALLS), per_page=10, chunk_seconds=0.5
    )
    pages = sum(-(-(chunk.expected or 0) // 10) for chunk in report.chunks)
    assert len(report.chunks) > 1
    assert sum(chunk.requests for chunk in report.chunks) == pages
    assert report.estimate is not None
    assert report.estimate.requests == pages


def test_a_chunk_that_is_read_much_later_is_found_where_it_moved_to(desk: Desk) -> None:
    request = desk.window(desk.day(400), desk.day(300), INSTALLS)
    backfills = desk.backfills()
    estimated = backfills.estimate(request)
    for _ in range(170):
        desk.world.create_install()
    report = backfills.resume(estimated.backfill_id)
    assert desk.mirrored() == desk.of_window(request)
    assert (
        sum(chunk.requests for chunk in report.chunks)
        <= (report.estimate.requests if report.estimate else 0) + 3
    )


def test_a_page_that_is_too_large_is_asked_for_in_halves(desk: Desk) -> None:
    desk.largest_page = 8
    request = desk.window(desk.day(400), desk.day(300), INSTALLS)
    report = desk.backfill(request, per_page=40)
    assert desk.mirrored() == desk.of_window(request)
    assert report.state is State.FINISHED


@pytest.mark.parametrize("fault", ["429", "500", "503", "dropped", "truncated_json", "cut_body", "html_page"])
def test_a_fault_in_the_middle_costs_nothing_but_time(desk: Desk, fault: str) -> None:
    desk.faults = [f"{fault}@/api/v3/installs#{at}" for at in (2, 9, 14)]
    request = desk.window(desk.day(400), desk.day(300))
    report = desk.backfill(request, per_page=5)
    assert report.state is State.FINISHED
    assert desk.mirrored() == desk.of_window(request)
    assert report.throttled == (3 if fault == "429" else 0)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.tuples(st.integers(0, 199), st.integers(-90, 90)), max_size=6))
def test_installs_that_are_listed_out_of_order_are_found_by_widening(
    warehouse: sa.Engine, moves: list[tuple[int, int]]
) -> None:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "truncate enerflo.installs, enerflo.install_versions, sync.backfills, sync.backfill_chunks"
        )
    desk = desk_of(warehouse)
    # Two neighbours of the window's ends show that the order does not hold; the others hide somewhere.
    for number, days in [(120, 20), (90, -20), *moves]:
        state = desk.world.installs.edit(number)
        state.created += int(timedelta(days=days).total_seconds())
        desk.world._rendered.pop(number, None)
    request = desk.window(desk.day(440), desk.day(250), INSTALLS)
    report = desk.backfill(request, samples=0, per_page=5)
    assert report.state is State.FINISHED
    largest = max(abs(days) for _, days in moves) if moves else 0
    if largest <= 20 or report.widened_seconds >= timedelta(days=2 * largest).total_seconds():
        assert desk.mirrored() >= desk.of_window(request)


def test_the_report_says_that_the_walk_was_widened(desk: Desk) -> None:
    lost = desk.world.installs.edit(150)
    lost.created -= 86_400 * 150
    shown = desk.world.installs.edit(100)
    shown.created -= 86_400 * 160
    request = desk.window(desk.day(420), desk.day(320), INSTALLS)
    assert lost.install_id in desk.of_window(request)
    report = desk.backfill(request, per_page=5)
    assert report.widened_seconds > 0
    assert any("widened" in reason for reason in report.reasons["notice"])
    assert any(chunk.label.startswith("widened") for chunk in report.chunks)
    assert lost.install_id in desk.mirrored()


def test_a_list_whose_ids_are_out_of_order_is_read_whole(desk: Desk) -> None:
    live = desk.world.installs._live
    live[95], live[100] = live[100], live[95]
    request = desk.window(desk.day(420), desk.day(320), INSTALLS)
    report = desk.backfill(request, per_page=5)
    assert any("whole list" in reason for reason in report.reasons["notice"])
    assert desk.mirrored() == desk.of_window(request)


def test_a_list_that_does_not_number_its_rows_is_read_whole(desk: Desk) -> None:
    desk.faults = []
    request = desk.window(desk.day(420), desk.day(320), INSTALLS)
    backfills = desk.backfills()
    assert desk.api is not None
    route = desk.api._list_installs

    def at_least_five(parameters: dict[str, str]) -> object:
        return route({**parameters, "per_page": str(max(5, int(parameters["per_page"])))})

    desk.api._list_installs = at_least_five  # type: ignore[method-assign, assignment]
    report = backfills.backfill(request)
    assert [chunk.label for chunk in report.chunks] == ["the whole list, in whatever order"]
    assert desk.mirrored() == desk.of_window(request)


def test_a_source_that_shrinks_while_it_is_read_stops_the_backfill_and_deletes_nothing(desk: Desk) -> None:
    desk.poll()
    before = desk.mirrored()
    asked = 0

    def shrink(request: Request, world: World) -> None:
        nonlocal asked
        asked += request.path == "/api/v3/installs"
        if asked == 14:
            for row in list(world.truth.installs())[:120]:
                world.delete_install(row.install_id)

    desk.before_request = shrink
    with pytest.raises(ShrunkSourceError, match="200"):
        desk.backfill(desk.everything(INSTALLS), per_page=10)
    assert desk.mirrored() == before
    assert desk.rows("select state from sync.backfills") == [("reading",)]
    assert ("failed",) in desk.rows("select state from sync.runs where job = 'backfill'")


@pytest.mark.parametrize("kind", ["empty_page", "short_page"])
@pytest.mark.parametrize("first", range(1, 12))
def test_pages_that_lack_rows_for_a_while_hide_no_install_of_the_window(
    desk: Desk, kind: str, first: int
) -> None:
    request = desk.window(desk.day(500), desk.day(250), INSTALLS)
    desk.faults = [f"{kind}@/api/v3/installs#{first}-{first + 1}"]
    report = desk.backfill(request, per_page=10, chunk_seconds=0.5)
    assert report.state is State.FINISHED
    assert not report.reasons.get("incomplete"), report.reasons
    assert desk.of_window(request) <= desk.mirrored()


def test_a_backfill_whose_list_goes_on_to_lack_rows_says_so_and_calls_nothing_missing(desk: Desk) -> None:
    desk.poll()
    request = desk.window(desk.day(500), desk.day(250), INSTALLS)
    plan = desk.backfills(per_page=10, chunk_seconds=0.5).estimate(request)
    desk.faults = ["short_page@/api/v3/installs#3-900"]
    report = desk.backfills(per_page=10, chunk_seconds=0.5).resume(plan.backfill_id)
    assert report.reasons["incomplete"]
    assert report.missing == 0
    assert desk.rows("select count(*) from enerflo.installs where deleted_at is not null") == [(0,)]


def imported(desk: Desk, count: int, days: float) -> list[int]:
    """Let the newest ids hold installs of long ago, as an imported history does; return them."""
    ids = sorted((row.install_id for row in desk.world.truth.installs()), reverse=True)[:count]
    for install_id in ids:
        number = desk.world.number_of(install_id)
        state = desk.world.installs.edit(number)
        state.created = state.updated = int(
            datetime.fromisoformat(desk.day(days)).replace(tzinfo=UTC).timestamp()
        )
        desk.world._rendered.pop(number, None)
    return ids


@pytest.mark.parametrize("count", [60, 150])
def test_a_window_whose_dates_do_not_follow_ids_reads_the_whole_list(
    warehouse: sa.Engine, count: int
) -> None:
    desk = desk_of(warehouse, 300)
    ids = imported(desk, count, 400)
    request = desk.window(desk.day(450), desk.day(350), INSTALLS)
    report = desk.backfill(request, per_page=10)
    assert set(ids) <= desk.of_window(request) <= desk.mirrored()
    assert report.missing == 0


def test_installs_of_before_the_first_ones_time_are_found_too(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 300)
    ids = imported(desk, 60, 5000)
    report = desk.backfill(desk.window(desk.day(5100), desk.day(4900), INSTALLS), per_page=10)
    assert report.state is State.FINISHED
    assert set(ids) <= desk.mirrored()


def test_a_few_installs_out_of_place_are_noticed_by_what_the_mirror_holds(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 300)
    (first, *_) = imported(desk, 1, 400)
    desk.poll()
    request = desk.window(desk.day(450), desk.day(350), INSTALLS)
    # What makes it worth reading again: its row says an old time, and Enerflo knows better now.
    report = desk.backfill(request, per_page=10)
    assert report.missing == 0
    assert any("whole list" in label for label in [chunk.label for chunk in report.chunks]), report.chunks
    assert first in desk.mirrored()
    assert desk.rows("select count(*) from enerflo.installs where deleted_at is not null") == [(0,)]
