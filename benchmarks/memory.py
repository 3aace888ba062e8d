"""Peak memory of ours: a poll of few and of many installs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.company import API_KEY, Company, running_company
from benchmarks.jobs import LoadJob
from benchmarks.loads import OURS
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse

MANY_INSTALLS = 200_000
# A poll of many installs sends more than a minute's requests; waiting would measure nothing.
REQUESTS_A_WINDOW = 5_000
DATABASE = "bench_memory"


@dataclass
class MemoryRuns:
    """All measurements of this kind, by number of installs and stage."""

    polls: dict[tuple[int, str], list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def measure_polls(
    warehouse: Warehouse, sizes: tuple[int, ...], repeat: int, say: Callable[[str], None]
) -> MemoryRuns:
    """Poll a company of each size twice a round, first into empty tables, and return what it took."""
    result = MemoryRuns()
    for installs in sizes:
        say(f"memory: making a company of {installs:,} installs")
        try:
            # One company for all rounds: to make it takes longer than to poll it.
            with running_company(installs) as company:
                for number in range(repeat):
                    say(f"memory: round {number + 1} of {repeat}")
                    _round(warehouse, company, result, say)
        except (CouldNotMeasureError, WrongResultError) as error:
            result.failures.append(f"ours, {installs:,} installs: {error}")
            say(f"NOT MEASURED: {result.failures[-1]}")
        finally:
            warehouse.drop(DATABASE)
    return result


def _round(warehouse: Warehouse, company: Company, result: MemoryRuns, say: Callable[[str], None]) -> None:
    url, installs = warehouse.migrated(DATABASE), company.installs
    with tempfile.TemporaryDirectory() as folder:
        job = LoadJob(company.url, API_KEY, url, None, folder, REQUESTS_A_WINDOW)
        for stage in ("first load", "re-poll"):
            run = run_fresh(
                OURS.module, job, server_cpu=warehouse.cpu_seconds, requests=company.requests_served
            )
            applied = installs if stage == "first load" else 0
            expect(f"ours, {installs:,} installs", "records applied", run.counts["applied"], applied)
            result.polls.setdefault((installs, stage), []).append(run)
            say(f"memory: {stage} of {installs:,}: {run.peak_rss_mb:.0f} MB, {run.seconds:.1f} s")
