"""First load and re-poll: ours, dlt, and HttpHook with pandas, on the same company and server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from benchmarks.company import API_KEY, Company, Truth
from benchmarks.jobs import LoadJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from benchmarks.ways import Way

Say = Callable[[str], None]


class Stage(StrEnum):
    """What is measured, in this order, against one database."""

    FIRST = "first load"
    UNCHANGED = "re-poll, nothing changed"
    CHANGED = "re-poll, 1 % changed"


@dataclass(frozen=True)
class Loader(Way):
    """One way to bring installs in.

    :param check: a query that gives count, sum of ids and sum of status ids of its table.
    :param page_sizes: those that are tried; the fastest is measured. None is the way's own default.
    """

    check: str | None = None
    page_sizes: tuple[int | None, ...] = (None,)

    @property
    def key(self) -> str:
        """Return a short name for databases and folders."""
        return self.module.rpartition(".")[2]


_SUMS = "select count(*), sum({id}), sum(status_id) from {table}"
OURS = Loader(
    "ours",
    "benchmarks.peers.ours_poll",
    check=_SUMS.format(id="install_id", table="enerflo.installs where deleted_at is null"),
)
DLT = Loader(
    "dlt rest_api, merge",
    "benchmarks.peers.dlt_rest",
    check=_SUMS.format(id="id", table="bench.installs"),
    needs=("dlt", "psycopg2"),
    page_sizes=(100, 500),
)
HTTP_HOOK = Loader(
    "HttpHook + json_normalize + to_sql",
    "benchmarks.peers.http_hook",
    check=_SUMS.format(id="id", table="installs"),
    needs=("airflow", "psycopg2"),
    page_sizes=(100, 500),
)
FLOOR = Loader("floor: pages fetched and thrown away", "benchmarks.peers.pages_only")
LOADERS = (OURS, DLT, HTTP_HOOK, FLOOR)


@dataclass
class LoadRuns:
    """All measurements of this kind, by stage and way."""

    runs: dict[tuple[Stage, str], list[Measurement]] = field(default_factory=dict)
    page_size: dict[str, int | None] = field(default_factory=dict)
    tried: list[str] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def of(self, stage: Stage, loader: Loader) -> list[Measurement]:
        """Return the runs of one way in one stage."""
        return self.runs.get((stage, loader.key), [])


class LoadBench:
    """Measures the ways side by side; a way that fails once is left out from then on.

    :param stages: those that are measured after the first load, which always comes first.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        company: Company,
        say: Say,
        stages: frozenset[Stage] = frozenset(Stage),
        loaders: tuple[Loader, ...] = LOADERS,
    ) -> None:
        self.warehouse = warehouse
        self.company = company
        self.stages = stages
        self.result = LoadRuns()
        self._say = say
        self._loaders: list[Loader] = []
        self._databases = [f"bench_{loader.key}" for loader in loaders]
        for loader in loaders:
            if loader.missing:
                self._failed(loader, loader.not_installed)
            else:
                self._loaders.append(loader)

    def choose_page_sizes(self) -> None:
        """Load once with each page size and keep the faster one; it warms the caches for all, too."""
        truth = self.company.truth()
        for loader in list(self._loaders):
            seconds: dict[int | None, float] = {}
            for size in loader.page_sizes:
                with self._folder() as folder:
                    run = self._try(loader, Stage.FIRST, size, folder, truth)
                if run is not None:
                    seconds[size] = run.seconds
            if len(seconds) > 1:
                figures = ", ".join(f"{size} a page {took:.2f} s" for size, took in seconds.items())
                self.result.tried.append(f"{loader.name}: {figures}")
            if seconds:
                self.result.page_size[loader.key] = min(seconds, key=lambda size: seconds[size])

    def round(self) -> None:
        """Measure every stage once: all ways do one stage before any does the next."""
        with self._folder() as folder:
            truth = self.company.truth()
            for stage in (one for one in Stage if one in self.stages or one is Stage.FIRST):
                changed = 0
                if stage is Stage.CHANGED:
                    changed = self.company.change(max(1, self.company.installs // 100))
                    self.result.changed.append(changed)
                    truth = self.company.truth()
                for loader in list(self._loaders):
                    size = self.result.page_size.get(loader.key, loader.page_sizes[0])
                    run = self._try(loader, stage, size, folder, truth, changed)
                    if run is not None:
                        self.result.runs.setdefault((stage, loader.key), []).append(run)

    def _try(
        self, loader: Loader, stage: Stage, size: int | None, folder: Path, truth: Truth, changed: int = 0
    ) -> Measurement | None:
        try:
            run = self._run(loader, stage, size, folder)
            self._check(loader, stage, truth, run, changed)
        except (CouldNotMeasureError, WrongResultError) as error:
            self._failed(loader, f"{stage}: {error}")
            self._loaders = [one for one in self._loaders if one is not loader]
            return None
        self._say(f"{stage}: {loader.name}: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")
        return run

    def _run(self, loader: Loader, stage: Stage, size: int | None, folder: Path) -> Measurement:
        database = f"bench_{loader.key}"
        own = folder / loader.key
        if stage is Stage.FIRST:
            shutil.rmtree(own, ignore_errors=True)
            own.mkdir()
            if loader.key == OURS.key:
                self.warehouse.migrated(database)
            else:
                self.warehouse.fresh(database)
        self.warehouse.settle()
        job = LoadJob(self.company.url, API_KEY, self.warehouse.database_url(database), size, str(own))
        return run_fresh(
            loader.module,
            job,
            server_cpu=self.warehouse.cpu_seconds,
            requests=self.company.requests_served,
        )

    def _check(self, loader: Loader, stage: Stage, truth: Truth, run: Measurement, changed: int) -> None:
        expect(loader.name, "records read", run.counts["read"], truth.installs)
        if loader.check is None:
            return
        database = f"bench_{loader.key}"
        found = tuple(int(value or 0) for value in self.warehouse.row(database, loader.check))
        wanted = (truth.installs, truth.id_sum, truth.status_sum)
        expect(loader.name, "count, sum of ids, sum of statuses", found, wanted)
        if loader.key == OURS.key:
            self._check_ours(database, stage, truth, run, changed)

    def _check_ours(self, database: str, stage: Stage, truth: Truth, run: Measurement, changed: int) -> None:
        applied = {Stage.FIRST: truth.installs, Stage.UNCHANGED: 0, Stage.CHANGED: changed}[stage]
        expect("ours", "run state", run.counts["state"], "ok")
        expect("ours", "records applied", run.counts["applied"], applied)
        expect("ours", "records unchanged", run.counts["unchanged"], truth.installs - applied)
        expect("ours", "requests", run.requests, run.counts["requests"])
        stored = self.warehouse.row(
            database,
            "select (select count(*) from enerflo.milestones where deleted_at is null),"
            " (select count(*) from enerflo.install_versions)",
        )
        expect("ours", "milestones and raw versions", stored, (truth.milestones, truth.installs + changed))

    def _failed(self, loader: Loader, why: str) -> None:
        self.result.failures.append(f"{loader.name}: {why}")
        self._say(f"NOT MEASURED: {loader.name}: {why}")

    @contextmanager
    def _folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
            yield Path(folder)
            for name in self._databases:
                self.warehouse.drop(name)
