"""Every contender does its work and is checked; nothing here is timed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks import compares, inbox, loads, plans, rebuilds, rows, shops
from benchmarks.company import Company, running_company
from benchmarks.compares import CompareBench
from benchmarks.copies import BULK, OURS_AGAIN, OURS_FIRST, CopyBench
from benchmarks.copy_section import copy_section
from benchmarks.inbox import InboxBench, Taker
from benchmarks.jobs import CopyJob
from benchmarks.latency import LatencyRuns, percentile
from benchmarks.loads import LoadBench, Loader, Stage
from benchmarks.measure import CouldNotMeasureError, run_fresh
from benchmarks.memory import MemoryRuns, measure_polls
from benchmarks.plan_sections import plan_section, push_section
from benchmarks.plans import PlanBench
from benchmarks.pushes import Push, PushRuns, Use, beside_answers, measure_push, use_of
from benchmarks.rebuild_section import rebuild_section
from benchmarks.rebuilds import measure_rebuilds
from benchmarks.sections import inbox_section, latency_section, memory_section
from benchmarks.shops import StartShop
from benchmarks.warehouse import Warehouse
from benchmarks.ways import Way
from enerflo_demo.mariadb import require_mariadb
from enerflo_sync.errors import ConfigurationError
from tests.benchmarks.test_targets import measurement

INSTALLS = 200
ROWS = 2_000
FILES = 2_000


@pytest.fixture
def bench_warehouse(postgres_url: str) -> Warehouse:
    return Warehouse(postgres_url)


@pytest.fixture(scope="module")
def company() -> Iterator[Company]:
    with running_company(INSTALLS) as running:
        yield running


def quiet(_text: str) -> None:
    return None


def skip_without(way: Way) -> None:
    if way.missing:
        pytest.skip(
            f"NOT TESTED: {way.name} needs {', '.join(way.missing)}, of the dependency group bench:"
            " uv sync --all-extras --all-groups"
        )


def load(warehouse: Warehouse, company: Company, loader: Loader) -> LoadBench:
    bench = LoadBench(warehouse, company, quiet, loaders=(loader,))
    bench.round()
    return bench


@pytest.mark.parametrize("loader", loads.LOADERS, ids=lambda loader: loader.key)
def test_a_way_to_load_leaves_every_install_in_every_stage(
    bench_warehouse: Warehouse, company: Company, loader: Loader
) -> None:
    skip_without(loader)
    result = load(bench_warehouse, company, loader).result
    assert result.failures == []
    for stage in Stage:
        (run,) = result.of(stage, loader)
        assert run.counts["read"] == INSTALLS
        assert run.requests > 0
        assert run.seconds <= run.wall_seconds
        assert run.peak_rss_mb > 10


def test_a_load_that_loses_records_is_not_shown(bench_warehouse: Warehouse, company: Company) -> None:
    loses_one = (
        "select count(*), sum(install_id), sum(status_id) from (select * from enerflo.installs limit 199)"
    )
    loader = replace(loads.OURS, check=loses_one)
    result = load(bench_warehouse, company, loader).result
    assert "count, sum of ids, sum of statuses" in result.failures[0]
    assert result.runs == {}


@pytest.mark.parametrize("peer", compares.PEERS, ids=lambda peer: peer.module.rpartition(".")[2])
def test_a_peer_finds_exactly_the_planted_differences(bench_warehouse: Warehouse, peer: Way) -> None:
    skip_without(peer)
    bench = CompareBench(bench_warehouse, ROWS, quiet, peers=(peer,))
    with bench.planted():
        bench.round()
    assert bench.result.failures == []
    assert len(bench.result.of(peer)) == 1
    assert len(bench.result.of(compares.OURS_SOON)) == 1


def test_ours_finds_exactly_the_planted_differences_by_cause(bench_warehouse: Warehouse) -> None:
    bench = CompareBench(bench_warehouse, ROWS, quiet, peers=())
    with bench.planted():
        bench.round()
    assert bench.result.failures == []
    (full,) = bench.result.of(compares.OURS_FULL)
    # 20 rows differ, in hundreds 0 to 19; hundreds 3, 10 and 17 are voided, as is install 1002.
    assert full.counts["by_cause"] == {
        "unexplained": 17,
        "voided": 4,
        "missing_in_crm": 1,
        "missing_in_enerflo": 2,
    }
    # One row in a thousand: those of the hundreds 0 and 10; then one in each of the twenty hundreds.
    in_flight = [bench.result.of(way)[0].counts["by_cause"]["in_flight"] for way in compares.INCREMENTAL]
    assert in_flight == [1, 17]


def test_a_comparison_that_finds_something_else_is_not_shown(
    bench_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "change_statement", lambda _per: "select 1")
    bench = CompareBench(bench_warehouse, ROWS, quiet, peers=())
    with bench.planted():
        bench.round()
    assert bench.result.of(compares.OURS_SOON) == []
    assert bench.result.failures[0].startswith("ours, incremental")


def test_the_memory_of_a_poll_is_measured_twice_a_round_for_each_size(bench_warehouse: Warehouse) -> None:
    result = measure_polls(bench_warehouse, (INSTALLS,), 2, quiet)
    assert result.failures == []
    first, again = (result.polls[INSTALLS, stage] for stage in ("first load", "re-poll"))
    assert [run.counts["applied"] for run in first] == [INSTALLS] * 2
    assert [run.counts["applied"] for run in again] == [0] * 2
    assert memory_section(result).targets[0].reached is True


def test_memory_is_judged_by_the_worst_round_and_shown_with_all() -> None:
    few, many = ([replace(measurement(1.0), peak_rss_mb=mb) for mb in values] for values in PEAKS)
    section = memory_section(MemoryRuns({(10, "first load"): few, (20, "first load"): many}))
    assert section.rows[1][2:] == ["100 / **110** / 121", "1.00 / **1.00** / 1.00", "20 / **20** / 20"]
    assert [(target.measured, target.reached) for target in section.targets] == [
        ("121 MB", True),
        ("1.21 x", False),
    ]


# In megabytes, of few installs and of many.
PEAKS = ((100.0, 100.0, 120.0), (100.0, 110.0, 121.0))


def load_files(warehouse: Warehouse, taker: Taker) -> InboxBench:
    bench = InboxBench(warehouse, FILES, quiet, takers=(taker,))
    with bench.planted():
        bench.round()
    return bench


@pytest.mark.parametrize("taker", inbox.TAKERS, ids=lambda taker: taker.module.rpartition(".")[2])
def test_a_way_to_take_in_stores_each_event_once_and_archives_every_file(
    bench_warehouse: Warehouse, taker: Taker
) -> None:
    result = load_files(bench_warehouse, taker).result
    assert result.failures == []
    (run,) = result.of(taker)
    assert run.counts["read"] == FILES


def test_an_inbox_is_also_measured_with_few_files_and_with_none(bench_warehouse: Warehouse) -> None:
    bench = load_files(bench_warehouse, inbox.OURS)
    (few,) = bench.result.few
    assert few.counts["read"] == bench.few
    assert set(bench.result.looks) == {0, FILES}
    loop, memory, same_memory = inbox_section(bench.result, FILES, bench.few).targets
    assert (loop.reached, memory.reached, same_memory.reached) == (None, True, True)


def test_a_way_to_take_in_that_leaves_something_out_is_not_shown(
    bench_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "REDELIVERED_PER", 50)
    # Planted with one re-delivery in fifty, and judged as if it were one in a hundred.
    bench = InboxBench(bench_warehouse, FILES, quiet, takers=(inbox.NAIVE,))
    with bench.planted():
        monkeypatch.setattr(inbox, "REDELIVERED_PER", 100)
        bench.round()
    assert bench.result.runs == {}
    assert "events, copies, sum of ids, bodies" in bench.result.failures[0]


def test_re_deliveries_come_after_the_first_and_are_one_in_a_hundred() -> None:
    origins = [inbox.origin(number) for number in range(FILES)]
    assert sum(origin < number for number, origin in enumerate(origins)) == FILES // 100
    assert all(origins[origin] == origin <= number for number, origin in enumerate(origins))
    assert len({inbox.payload(origin) for origin in origins}) == FILES - FILES // 100


def test_a_plan_is_made_and_applied_by_both_ways_with_the_same_end(bench_warehouse: Warehouse) -> None:
    bench = PlanBench(bench_warehouse, ROWS, quiet)
    with bench.planted():
        bench.round()
        bench.round()
    assert bench.result.failures == []
    assert [
        len(bench.result.of(step)) for step in (plans.RECONCILE, plans.PLAN, plans.NAIVE, plans.APPLY)
    ] == ([2] * 4)
    assert {run.counts["changes"] for run in bench.result.of(plans.PLAN)} == {bench.changes}
    (memory,) = (one for one in plan_section(bench.result, ROWS).targets if "memory" in one.what)
    assert memory.reached is True


def test_a_loop_that_leaves_rows_out_is_a_failure(
    bench_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = PlanBench(bench_warehouse, ROWS, quiet)
    with bench.planted():
        monkeypatch.setattr(plans, "_WRONG", "select 1")
        bench.round()
    assert "rows that differ: found (1,)" in bench.result.failures[0]
    assert bench.result.of(plans.APPLY) == []


def test_a_push_makes_every_change_with_three_requests(bench_warehouse: Warehouse) -> None:
    result = measure_push(bench_warehouse, 5, 2, quiet)
    assert result.failures == []
    # Three a change, and one for all of them that asks whose company the key is.
    assert [(one.run.requests, one.refused) for one in result.rounds] == [(16, 0)] * 2
    share, refused, requests = push_section(result).targets
    # Too short for a minute of its own.
    assert (share.reached, refused.reached, requests.reached) == (None, True, True)


def test_the_share_of_the_limit_is_the_lesser_of_whole_minutes_and_of_a_long_run() -> None:
    burst = [n * 0.1 for n in range(300)]
    steady = use_of([5 + start + one for start in (0, 62, 124) for one in burst])
    assert steady.minutes == (300, 300)
    assert steady.share == pytest.approx(60 / 62)
    slow = use_of([float(n) for n in range(400)])
    assert slow.minutes == (60,) * 6
    assert slow.share == pytest.approx(0.2)
    assert use_of(burst).share is None
    assert use_of([]) == Use((), None)


def test_a_vendor_that_answers_too_slowly_is_told_beside_the_share() -> None:
    assert beside_answers([0.0, 0.5, 1.0], 0.9) == pytest.approx(0.2)
    result = PushRuns(
        250,
        [
            Push(measurement(seconds), Use((300, 300), filled), beside_answers=0.02, refused=refused)
            for seconds, filled, refused in ((130.0, 0.96, 0), (131.0, 0.5, 0), (129.0, 0.97, 1))
        ],
    )
    section = push_section(result)
    # The share by its median, what is refused by the worst round.
    assert [target.reached for target in section.targets][:2] == [True, False]
    assert section.rows[0][1] == "129.0 / **130.0** / 131.0"
    assert section.rows[0][4] == "300, 300; 300, 300; 300, 300"
    assert "within 191 ms" in section.notes[0]
    assert push_section(PushRuns(250)).targets[0].reached is None


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile([float(value) for value in range(1, 51)], 95) == 48.0
    assert percentile([4.0], 95) == 4.0


def test_the_latency_is_judged_by_its_95th_percentile() -> None:
    slow = LatencyRuns(applied=[1.0] * 20, mirrored=[1.0] * 18 + [21.0, 22.0])
    assert latency_section(slow).targets[0].reached is False
    assert latency_section(LatencyRuns()).targets[0].reached is None


def test_what_is_not_installed_is_a_failure_and_not_silence(
    bench_warehouse: Warehouse, company: Company
) -> None:
    absent = replace(loads.DLT, needs=("no_such_package",))
    bench = LoadBench(bench_warehouse, company, quiet, loaders=(absent,))
    bench.round()
    assert "no_such_package" in bench.result.failures[0]


def test_a_process_that_fails_says_how_it_failed() -> None:
    job = loads.LoadJob("http://127.0.0.1:9", "key", "postgresql://nowhere", None, "")
    with pytest.raises(CouldNotMeasureError, match="ConnectionError"):
        run_fresh("benchmarks.peers.pages_only", job, server_cpu=lambda: 0.0)


def test_a_rebuild_is_measured_of_a_sound_a_damaged_and_a_lost_mirror(bench_warehouse: Warehouse) -> None:
    result = measure_rebuilds(bench_warehouse, 100, 3, 1, quiet)
    assert result.failures == []
    assert [len(result.of(step)) for step in rebuilds.STEPS] == [1, 1, 1]
    assert [run.counts["installs"] for step in rebuilds.STEPS for run in result.of(step)] == [0, 3, 300]
    *rates, memory = rebuild_section(result).targets
    assert [target.reached is None for target in rates] == [False] * 3
    assert memory.reached is True


def test_a_rebuild_that_leaves_rows_out_is_a_failure(
    bench_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = replace(rebuilds.GONE, write=False)
    monkeypatch.setattr(rebuilds, "STEPS", (forgetful,))
    result = measure_rebuilds(bench_warehouse, 100, 1, 1, quiet)
    assert "rows: found (0" in result.failures[0]
    assert result.of(forgetful) == []


@pytest.mark.parametrize("shop", [shops.mariadb, shops.duckdb], ids=["mariadb", "duckdb"])
def test_a_table_in_another_database_is_copied_and_looked_at_again(
    bench_warehouse: Warehouse, shop: StartShop
) -> None:
    if shop is shops.mariadb and not os.environ.get("CI"):
        try:
            require_mariadb()
        except ConfigurationError as error:
            pytest.skip(f"NOT TESTED: {error}")
    ways = (OURS_FIRST, BULK, OURS_AGAIN)
    result = CopyBench(bench_warehouse, ROWS, quiet, ways, [shop]).run(1)
    assert result.failures == []
    section = copy_section(result, ROWS)
    assert [row[6] for row in section.rows][:2] == ["1,998", ""]
    moved = int(section.rows[2][6])
    # The edited rows, and what shares their buckets.
    assert ROWS / 1000 <= moved <= 50 * ROWS / 1000
    assert [target.reached for target in section.targets if "reladiff" in target.what] == [None]


def test_a_copy_that_is_not_what_the_crm_has_is_not_believed(
    bench_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = CopyBench._measure

    def unseen(bench: CopyBench, shop: shops.Shop, way: Way, job: CopyJob) -> dict[str, int]:
        return {} if way is OURS_AGAIN else measured(bench, shop, way, job)

    monkeypatch.setattr(CopyBench, "_measure", unseen)
    result = CopyBench(bench_warehouse, ROWS, quiet, (OURS_FIRST, BULK, OURS_AGAIN), [shops.duckdb]).run(1)
    (failure,) = result.failures
    assert failure.startswith("duckdb: ours, re-check, 0.1 % changed: rows and panels: found")
