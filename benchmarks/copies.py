"""A CRM table in another database: its first copy, what changed since, and reladiff across databases."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import rows
from benchmarks.jobs import CopyJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.shops import SHOPS, Shop, StartShop
from benchmarks.warehouse import Warehouse
from benchmarks.ways import Way
from enerflo_sync.crm.copies import COPIES_SCHEMA
from enerflo_sync.warehouse.engine import SESSION_OPTIONS

Say = Callable[[str], None]
OURS_DATABASE = "bench_ours_copy"
# One row in so many is edited before a re-check.
EDITED_PER = 1000
CONFIG = rows.CONFIG.replace("${WAREHOUSE_URL}", '${WAREHOUSE_URL}\n    crm: {url: "${CRM_URL}"}')


OURS_FIRST = Way("ours, first copy", "benchmarks.peers.ours_copy")
BULK = Way("the driver's bulk read alone", "benchmarks.peers.bulk_read")
OURS_AGAIN = Way("ours, re-check, 0.1 % changed", "benchmarks.peers.ours_copy")
RELADIFF = Way(
    "reladiff, hash mode, warehouse against CRM",
    "benchmarks.peers.reladiff_hash",
    needs=("reladiff", "psycopg2", "mysql"),
)
WAYS = (OURS_FIRST, BULK, OURS_AGAIN, RELADIFF)


@dataclass
class CopyRuns:
    """All measurements of this kind, by database and way."""

    runs: dict[tuple[str, str], list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, shop: str, way: Way) -> list[Measurement]:
        """Return the runs of one way with one database."""
        return self.runs.get((shop, way.name), [])


class CopyBench:
    """Measures the ways side by side on the same planted rows.

    :param count: rows a side, a multiple of 1,000.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        count: int,
        say: Say,
        ways: tuple[Way, ...] = WAYS,
        shops: Sequence[StartShop] = SHOPS,
    ) -> None:
        self.warehouse = warehouse
        self.count = count
        self.result = CopyRuns()
        self._say = say
        self._shops = shops
        self._ways = [way for way in ways if not way.missing]
        for way in ways:
            if way.missing:
                self._failed(way.name, way.not_installed)

    def run(self, repeat: int) -> CopyRuns:
        """Measure every way with every database, ``repeat`` times."""
        self._say(f"making two tables of {self.count:,} rows")
        rows.plant(self.warehouse, self.count)
        try:
            for start in self._shops:
                with (
                    self._told(getattr(start, "__name__", "CRM")),
                    tempfile.TemporaryDirectory(prefix="bench-crm-") as folder,
                ):
                    # A server may run as somebody else, who has to get through.
                    Path(folder).chmod(0o755)
                    with start(Path(folder)) as shop:
                        shop.fill(self.warehouse)
                        for number in range(repeat):
                            self._say(f"copies: {shop.title}: round {number + 1} of {repeat}")
                            self._round(shop)
        finally:
            self.warehouse.drop(OURS_DATABASE)
            self.warehouse.drop(rows.DATABASE)
        return self.result

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Note the failure of a database, and go on with the next one."""
        try:
            yield
        except (CouldNotMeasureError, WrongResultError) as error:
            self._failed(what, str(error))

    def _round(self, shop: Shop) -> None:
        config = shop.folder / "sync.yaml"
        config.write_text(CONFIG)
        ours = CopyJob(self.warehouse.fresh(OURS_DATABASE, template=rows.DATABASE), shop.url, str(config))
        peers = CopyJob(self.warehouse.database_url(rows.DATABASE), shop.url, "")
        there = self.count - self.count // 1000
        first = self._measure(shop, OURS_FIRST, ours)
        expect(OURS_FIRST.name, "rows", first["rows"], there)
        expect(BULK.name, "rows", self._measure(shop, BULK, peers)["rows"], there)
        shop.edit(EDITED_PER)
        self._measure(shop, OURS_AGAIN, ours)
        self._same(shop)
        if RELADIFF in self._ways:
            planted = rows.Planted.of(self.count, changed_per=EDITED_PER)
            differing = planted.only_left + planted.only_right + planted.differing
            with self._told(RELADIFF.name):
                expect(RELADIFF.name, "keys", self._measure(shop, RELADIFF, peers)["keys"], differing)

    def _same(self, shop: Shop) -> None:
        """Check that the copy has what the CRM has, by count and sum of what was edited."""
        query = "select count(*), sum(panel_count) from {}"
        copy = f'{COPIES_SCHEMA}."default.installs"'
        here = self.warehouse.row(OURS_DATABASE, query.format(copy))
        expect(OURS_AGAIN.name, "rows and panels", tuple(map(int, here)), shop.counted(query))

    def _measure(self, shop: Shop, way: Way, job: CopyJob) -> dict[str, int]:
        self.warehouse.settle()
        run = run_fresh(
            way.module,
            job,
            server_cpu=lambda: self.warehouse.cpu_seconds() + shop.cpu_seconds(),
            environment={"PGOPTIONS": SESSION_OPTIONS},
        )
        self.result.runs.setdefault((shop.title, way.name), []).append(run)
        self._say(f"copies: {shop.title}: {way.name}: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")
        return run.counts

    def _failed(self, what: str, why: str) -> None:
        self.result.failures.append(f"{what}: {why}")
        self._say(f"NOT MEASURED: {what}: {why}")
