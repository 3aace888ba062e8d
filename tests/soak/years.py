"""Runs a company for years, and measures it some times in each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.ledger import run_ledger_check
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.prune import run_prune
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.soak.company import DAYS_A_YEAR, EDITS, Pace, SoakCompany
from tests.soak.meter import Took
from tests.soak.pages import pages_of

ARCHIVE = "the archive (files)"
# A page is read so often at each measurement: the least seconds count.
_READS = 3


@dataclass(frozen=True)
class Measured:
    """A company at the end of a part of a year.

    :param years: that it has lived for; :param machine: seconds that this took.
    :param sizes: rows and bytes of each table, and files and bytes of the archive.
    :param ran: what one run of each job took in that part, on average.
    :param pages: what a reading of each page takes; :param probes: what each job takes that finds nothing new,
        at the end of a year alone.
    """

    years: float
    machine: float
    sizes: dict[str, tuple[int, int]]
    ran: dict[str, Took]
    pages: dict[str, Took]
    probes: dict[str, Took] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Return the bytes of everything."""
        return sum(size for _, size in self.sizes.values())


def live(
    company: SoakCompany, years: int, parts: int, say: Callable[[str], None] = lambda _: None
) -> Iterator[Measured]:
    """Let a company live for years, and yield it at the end of each part.

    :param parts: of a year that are measured, such as 12 months.
    """
    began = time.perf_counter()
    company.work()
    company.meter.read()
    days = 0.0
    for part in range(1, years * parts + 1):
        while days < part * DAYS_A_YEAR / parts - 1e-6:
            company.step()
            days += company.pace.step
        ran = {name: took.each() for name, took in company.meter.read().items()}
        measured = Measured(
            years=part / parts,
            machine=time.perf_counter() - began,
            sizes=company.meter.sizes() | {ARCHIVE: _archive(company.archive)},
            ran=ran,
            pages=_pages(company),
            probes=_probes(company) if part % parts == 0 else {},
        )
        company.meter.read()
        say(f"year {measured.years:.2f}: {measured.size / 1e6:.1f} MB, {measured.machine:.0f} s")
        yield measured


def _pages(company: SoakCompany) -> dict[str, Took]:
    number = company.world.number_of(company.observed)
    name = company.world.customer(company.world.installs.get(number).customer_id).last_name
    pages = pages_of(company.context, company.observed, name)
    return {page: company.meter.probe(read, _READS) for page, read in pages.items()}


def _probes(company: SoakCompany) -> dict[str, Took]:
    """Return what each job takes right after all of them ran: nothing is new, and what is kept is all there."""
    context = company.context
    jobs: dict[str, Callable[[], object]] = {
        "ingest, nothing new": lambda: run_ingest(context, read_ahead=0),
        "poll, nothing new": lambda: run_poll(context, read_ahead=0),
        "reconcile, incremental": lambda: run_reconcile(context),
        "reconcile, full": lambda: run_reconcile(context, full=True),
        "plan, nothing new": lambda: run_plan(context),
        "prune, look": lambda: run_prune(context, dry=True),
        "prune": lambda: run_prune(context),
        "ledger verify": lambda: run_ledger_check(context),
    }
    # What the last plan sent to Enerflo is read back first, and what a list shows twice is past.
    run_poll(context, read_ahead=0)
    company.clock.advance(3_600)
    found = {}
    for name, job in jobs.items():
        company.clock.advance(60)
        found[name] = company.meter.probe(job)
    company.tidy()
    return found


def _archive(folder: Path) -> tuple[int, int]:
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    return len(files), sum(path.stat().st_size for path in files)


@contextmanager
def company_of(
    url: str, folder: Path, pace: Pace, edits: tuple[tuple[str, str], ...] = EDITS
) -> Iterator[SoakCompany]:
    """Yield a company on a migrated, empty database."""
    company = SoakCompany(url, folder, pace, edits)
    try:
        yield company
    finally:
        company.close()
