"""Reconciliation of two tables: ours in full and incremental, datacompy on pandas, reladiff in join mode."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import rows
from benchmarks.jobs import CompareJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from benchmarks.ways import Way
from enerflo_sync.warehouse.engine import SESSION_OPTIONS

Say = Callable[[str], None]
OURS_DATABASE = "bench_ours_reconcile"


OURS_FULL = Way("ours, full", "benchmarks.peers.ours_reconcile")
OURS_SOON = Way("ours, incremental, 0.1 % changed since", "benchmarks.peers.ours_reconcile")
OURS_LATER = Way("ours, incremental, 1 % changed since", "benchmarks.peers.ours_reconcile")
INCREMENTAL = {OURS_SOON: 1000, OURS_LATER: 100}
DATACOMPY = Way("datacompy on pandas, read_sql", "benchmarks.peers.datacompy_pandas", needs=("datacompy",))
RELADIFF = Way("reladiff, join mode", "benchmarks.peers.reladiff_join", needs=("reladiff", "psycopg2"))
PEERS = (DATACOMPY, RELADIFF)


@dataclass
class CompareRuns:
    """All measurements of this kind, by way."""

    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, way: Way) -> list[Measurement]:
        """Return the runs of one way."""
        return self.runs.get(way.name, [])


class CompareBench:
    """Measures the ways side by side on the same planted rows.

    :param count: rows a side, a multiple of 1,000.
    """

    def __init__(self, warehouse: Warehouse, count: int, say: Say, peers: tuple[Way, ...] = PEERS) -> None:
        self.warehouse = warehouse
        self.count = count
        self.result = CompareRuns()
        self._say = say
        self._left_out: set[Way] = set()
        self._peers = peers
        for peer in peers:
            if peer.missing:
                self._failed(peer, peer.not_installed)

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the rows, and remove them at the end."""
        self._say(f"making two tables of {self.count:,} rows")
        rows.plant(self.warehouse, self.count)
        try:
            yield
        finally:
            self.warehouse.drop(OURS_DATABASE)
            self.warehouse.drop(rows.DATABASE)

    def round(self) -> None:
        """Measure every way once, ours on a copy of its own."""
        with tempfile.TemporaryDirectory(prefix="bench-config-") as folder:
            config = Path(folder) / "sync.yaml"
            config.write_text(rows.CONFIG)
            url = self.warehouse.fresh(OURS_DATABASE, template=rows.DATABASE)
            rows.warm(self.warehouse, OURS_DATABASE)
            self._measure(OURS_FULL, CompareJob(url, str(config)), rows.Planted.of(self.count))
            for peer in self._peers:
                job = CompareJob(self.warehouse.database_url(rows.DATABASE), "")
                self._measure(peer, job, rows.Planted.of(self.count))
            for way, per in INCREMENTAL.items():
                if OURS_FULL in self._left_out:
                    self._failed(way, "it stands on the full one, which failed")
                    continue
                self.warehouse.execute(OURS_DATABASE, rows.change_statement(per))
                planted = rows.Planted.of(self.count, changed_per=per)
                self._measure(way, CompareJob(url, str(config), full=False), planted)

    def _measure(self, way: Way, job: CompareJob, planted: rows.Planted) -> None:
        if way in self._left_out:
            return
        try:
            self.warehouse.settle()
            # Every way gets the session settings that ours asks for by itself.
            run = run_fresh(
                way.module,
                job,
                server_cpu=self.warehouse.cpu_seconds,
                environment={"PGOPTIONS": SESSION_OPTIONS},
            )
            self._check(way, run, planted)
        except (CouldNotMeasureError, WrongResultError) as error:
            return self._failed(way, str(error))
        self.result.runs.setdefault(way.name, []).append(run)
        self._say(f"reconcile: {way.name}: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")

    def _check(self, way: Way, run: Measurement, planted: rows.Planted) -> None:
        for name in ("only_left", "only_right", "differing"):
            expect(way.name, f"rows {name}", run.counts[name], getattr(planted, name))
        if way in PEERS:
            return
        expect(way.name, "differences by cause", run.counts["by_cause"], planted.by_cause)
        scope = "full" if way is OURS_FULL else "incremental"
        expect(way.name, "scope", run.counts["scope"], scope)
        stored = self.warehouse.row(
            OURS_DATABASE,
            "select count(*) from sync.differences where reconciliation_id = (select reconciliation_id"
            " from sync.reconciliations order by compared_until desc limit 1)",
        )
        expect(way.name, "stored differences", stored[0], sum(planted.by_cause.values()))

    def _failed(self, way: Way, why: str) -> None:
        self._left_out.add(way)
        self.result.failures.append(f"{way.name}: {why}")
        self._say(f"NOT MEASURED: {way.name}: {why}")
