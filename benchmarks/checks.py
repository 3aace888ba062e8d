"""The checks of change orders: all of them, what is new, nothing, and beside the same suite on pandas."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.jobs import ChecksJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.orders import CONFIG, DATABASE, Orders
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sync.quality.suite import SUITE_FILE

Say = Callable[[str], None]

OURS = "benchmarks.peers.ours_quality"
PANDAS = "benchmarks.peers.gx_pandas"
_UNCOUNTED = "update sync.quality_runs set validated_by = null"
# What was found, by check; every key that fails a holding check stands in quarantine.
_FAILING = """
select (select jsonb_object_agg(check_id, n) from (
          select check_id, count(*) as n from sync.change_order_facts, unnest(failing) check_id
          group by 1) f),
       (select count(*) from sync.quarantine where kind = 'change_order' and state = 'open'),
       (select count(*) from sync.change_order_facts where item_id is not null)
"""
_NONE_CHECKED = (
    "truncate sync.change_order_facts, sync.quality_results, sync.quality_runs, sync.quarantine,"
    " sync.watermarks",
    "vacuum (analyze)",
)


@dataclass(frozen=True)
class Step:
    """One measured step of a round."""

    name: str
    module: str = OURS


ALL = Step("all orders: facts, judgement, gate, and counted by Great Expectations")
COUNTED = Step("of it, counted by Great Expectations in SQL")
ON_PANDAS = Step("the same rows and suite: Great Expectations on a pandas batch", PANDAS)
NOTHING = Step("nothing new")
FEW = Step("1 % new orders")
STEPS = (ALL, COUNTED, ON_PANDAS, NOTHING, FEW)


@dataclass
class ChecksRuns:
    """All measurements of this kind, by step."""

    orders: Orders
    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, step: Step) -> list[Measurement]:
        """Return the runs of one step."""
        return self.runs.get(step.name, [])


class ChecksBench:
    """Measures the steps one after the other, in rounds that each begin with orders that nobody checked.

    :param count: change orders, a multiple of 1,000.
    """

    def __init__(self, warehouse: Warehouse, count: int, say: Say) -> None:
        self.warehouse = warehouse
        self.result = ChecksRuns(Orders(count))
        self._say = say
        self._config = Path()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the orders; remove all at the end."""
        self._say(f"making {self.result.orders.count:,} change orders")
        self.result.orders.plant(self.warehouse)
        with tempfile.TemporaryDirectory(prefix="bench-config-") as folder:
            self._config = Path(folder) / "sync.yaml"
            self._config.write_text(CONFIG)
            shipped = Path(__file__).parents[1] / "include" / "config" / SUITE_FILE.name
            (Path(folder) / SUITE_FILE.name).write_text(shipped.read_text())
            try:
                yield
            finally:
                self.warehouse.drop(DATABASE)

    def round(self) -> None:
        """Measure every step once; what fails ends the round."""
        orders = self.result.orders
        try:
            orders.remove_added(self.warehouse)
            self.warehouse.execute(DATABASE, *_NONE_CHECKED)
            expect(ALL.name, "orders checked", self._measure(ALL).counts["checked"], orders.count)
            failing, held, named = self.warehouse.row(DATABASE, _FAILING)
            expect(ALL.name, "orders held", held, named)
            self.warehouse.execute(DATABASE, _UNCOUNTED)
            counted = self._measure(COUNTED).counts
            expect(
                COUNTED.name, "checked, not validated", (counted["checked"], counted["not_validated"]), (0, 0)
            )
            on_pandas = self._measure(ON_PANDAS).counts
            expect(ON_PANDAS.name, "failing by check", on_pandas["failing"], failing)
            expect(NOTHING.name, "orders checked", self._measure(NOTHING).counts["checked"], 0)
            orders.add(self.warehouse)
            expect(FEW.name, "orders checked", self._measure(FEW).counts["checked"], orders.new)
        except (CouldNotMeasureError, WrongResultError) as error:
            self.result.failures.append(str(error))
            self._say(f"NOT MEASURED: {error}")

    def _measure(self, step: Step) -> Measurement:
        self.warehouse.settle()
        job = ChecksJob(self.warehouse.database_url(DATABASE), str(self._config))
        run = run_fresh(step.module, job, server_cpu=self.warehouse.cpu_seconds)
        self.result.runs.setdefault(step.name, []).append(run)
        self._say(f"checks: {step.name}: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")
        return run
