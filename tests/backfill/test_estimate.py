"""What a backfill will take, said before it begins, and beside what it took."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sync.backfill.context import PlannedTable
from enerflo_sync.backfill.request import Part
from enerflo_sync.backfill.texts import estimate_lines, report_lines
from tests.backfill.conftest import Desk, desk_of

PLANNED = {
    "installs": PlannedTable(frozenset({"status_name", "panel_type", "panel_count"}), False),
    "milestones": PlannedTable(frozenset({"completed_at"}), False),
}


def errors(desk: Desk, days: tuple[int, int], **options: object) -> dict[str, float]:
    report = desk.backfill(desk.window(desk.day(days[0]), desk.day(days[1])), **options)
    return {one.name: one.error_percent or 0.0 for one in report.compared}


def test_requests_and_installs_are_estimated_within_a_few_percent(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 1_000)
    found = errors(desk, (600, 200), per_page=10)
    assert abs(found["requests"]) <= 5
    assert abs(found["installs"]) <= 2
    assert abs(found["changed"]) <= 2


def test_a_window_of_a_list_of_one_page_is_estimated_exactly(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 200)
    found = errors(desk, (150, 140), per_page=500)
    assert (found["installs"], found["changed"]) == (0, 0)


def test_a_window_of_a_few_pages_is_estimated_in_proportion(warehouse: sa.Engine) -> None:
    """The search is exact to a page only, and the window has a fourth of one."""
    desk = desk_of(warehouse, 3_000)
    for days in ((400, 370), (45, 15)):
        request = desk.window(desk.day(days[0]), desk.day(days[1]))
        found = desk.backfills(per_page=500).estimate(request).estimate
        assert found is not None
        assert found.records == pytest.approx(len(desk.of_window(request)), rel=0.1)


def test_changes_and_the_plan_are_estimated_from_a_sample(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 600)
    desk.poll(per_page=100)
    ids = sorted(row.install_id for row in desk.world.truth.installs())
    for install_id in ids[::4]:
        desk.world.set_status(install_id, 4)
    request = desk.window(None, desk.day(5), frozenset({Part.INSTALLS}))
    before = desk.content()
    report = desk.backfills(per_page=20, planned=PLANNED).estimate(request)
    assert desk.content() == before, "an estimate writes nothing"
    assert report.estimate is not None
    assert report.estimate.new == 0
    assert report.estimate.changed == pytest.approx(150, rel=0.35)
    assert report.estimate.plan_changes == report.estimate.changed
    done = desk.backfills(per_page=20, planned=PLANNED).resume(report.backfill_id)
    changed = next(one for one in done.compared if one.name == "changed")
    assert (changed.estimated, changed.happened) == (report.estimate.changed, done.changed)


def test_minutes_are_those_of_the_budget_alone_and_beside_live_work(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 600, limit=60)
    desk.api_of = SandboxApi(desk.world, clock=desk.clock, rate_limit=60)
    report = desk.backfill(desk.everything(frozenset({Part.INSTALLS})), per_page=1, min_per_page=1, limit=60)
    assert report.estimate is not None
    assert report.estimate.minutes_alone == pytest.approx(600 / 59 / 60 * 62, rel=0.02)
    assert report.estimate.minutes_beside_live == pytest.approx(600 / 30 / 60 * 62, rel=0.02)
    assert report.minutes == pytest.approx(report.estimate.minutes_alone, rel=0.12)
    assert report.throttled == 0
    usage = desk.api_of.usage[DEFAULT_KEY]
    assert usage.most_in_a_window <= 60
    full = [count for _, count in usage.windows[1:-1]]
    assert sum(full) / len(full) >= 0.95 * 60


def test_what_could_collide_is_said(desk: Desk) -> None:
    desk.poll()
    with desk.warehouse.begin() as connection:
        connection.exec_driver_sql(
            "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at,"
            " last_seen_at, count, state) values ('default', 'q', 'record', 'r', 'f', now(), now(), 1, 'open')"
        )
    other = desk.backfills()
    other.start(other.estimate(desk.window(desk.day(300), desk.day(200))).backfill_id)
    report = desk.backfills().estimate(desk.window(desk.day(500), desk.day(300)))
    assert report.estimate is not None
    assert report.estimate.collisions == {"quarantined": 1, "backfills": 1}
    told = "\n".join(estimate_lines(report))
    assert "1 records stand in quarantine" in told
    assert "1 other backfills are under way" in told


def test_the_estimate_is_kept_and_compared_at_the_end(desk: Desk) -> None:
    report = desk.backfill(desk.window(desk.day(500), desk.day(300)))
    ((kept,),) = desk.rows("select estimate from sync.backfills")
    assert report.estimate is not None
    assert kept["records"] == report.estimate.records
    assert {one.name for one in report.compared} == {"requests", "minutes", "installs", "changed"}
    (line,) = [line for line in report_lines(report) if line.startswith("estimated and real")]
    assert "installs" in line
    assert "%" in line


def test_a_chunk_is_worth_thirty_seconds_of_the_budget(warehouse: sa.Engine) -> None:
    desk = desk_of(warehouse, 2_000)
    report = desk.backfills(per_page=2).estimate(desk.everything(frozenset({Part.INSTALLS})))
    pages = [-(-(chunk.expected or 0) // 2) for chunk in report.chunks[1:-1]]
    assert all(count >= 30 * 285 / 60 for count in pages)
    assert len(report.chunks) > 4
    assert "2024-" in report.chunks[-1].label
    assert "pages" in report.chunks[-1].label
