"""Plan and apply: over rows of which few changed, beside the reconciliation, and beside loops of UPDATEs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import rows
from benchmarks.jobs import ApplyJob, CompareJob, Job, PlanJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.warehouse.engine import SESSION_OPTIONS

Say = Callable[[str], None]
# One row in so many changes between two plans.
CHANGED_PER = 100
_WRONG = f"""
select count(*) from {rows.RIGHT} c join enerflo.installs e using ({rows.KEY})
where c.panel_count is distinct from e.panel_count
"""
_LONG_AGO = f"""
update {rows.RIGHT} set updated_at = timestamptz '2024-12-31 00:00:00+00'
where updated_at > now() - interval '1 day'
"""
_LEFT_BEHIND = """
select (select count(*) from sync.ledger where plan_hash = p.plan_hash and decision = 'applied'),
       (select count(*) from sync.agreed a join sync.plan_changes c using (account, table_name, key, field)
        where c.plan_hash = p.plan_hash and a.value = c.after and a.agreed_by = 'push'),
       p.state
from sync.plans p where p.plan_hash = '{}'
"""


@dataclass(frozen=True)
class Step:
    """One measured step of a round."""

    name: str
    module: str


RECONCILE = Step("reconcile, incremental", "benchmarks.peers.ours_reconcile")
PLAN = Step("plan", "benchmarks.peers.ours_plan")
NAIVE = Step("loop: UPDATE … WHERE key AND old value, commit", "benchmarks.peers.naive_apply")
NOTING = Step("the same loop, with state, ledger and agreed value of each", "benchmarks.peers.noting_apply")
APPLY = Step("apply", "benchmarks.peers.ours_apply")


@dataclass
class PlanRuns:
    """All measurements of this kind, by step."""

    runs: dict[str, list[Measurement]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, step: Step) -> list[Measurement]:
        """Return the runs of one step."""
        return self.runs.get(step.name, [])


class PlanBench:
    """Measures the steps one after the other, in rounds that each end with both sides alike.

    :param count: rows a side, a multiple of 1,000.
    """

    def __init__(self, warehouse: Warehouse, count: int, say: Say) -> None:
        self.warehouse = warehouse
        self.count = count
        self.changes = count // CHANGED_PER
        self.result = PlanRuns()
        self._say = say
        self._url = ""
        self._config = Path()

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Make the rows and carry a first plan out, after which the sides agree; remove all at the end."""
        self._say(f"making two tables of {self.count:,} rows")
        rows.plant(self.warehouse, self.count)
        self._url = self.warehouse.database_url(rows.DATABASE)
        with tempfile.TemporaryDirectory(prefix="bench-config-") as folder:
            self._config = Path(folder) / "sync.yaml"
            self._config.write_text(rows.WRITING_CONFIG)
            try:
                self._say("carrying a first plan out, so that it is known on what the sides agree")
                self._carry_first_plan()
                yield
            finally:
                self.warehouse.drop(rows.DATABASE)

    def _carry_first_plan(self) -> None:
        context = open_account("default", {"WAREHOUSE_URL": self._url}, self._config)
        run_apply(context, run_plan(context)[0].plan_hash, approved_by="the benchmark")
        context.close()
        # As if it had been long ago: neither of the measured steps looks back at its rows.
        self.warehouse.execute(rows.DATABASE, _LONG_AGO, "vacuum (analyze)")

    def round(self) -> None:
        """Measure every step once; what fails ends the round."""
        try:
            self._edit()
            found = self._measure(RECONCILE, CompareJob(self._url, str(self._config), full=False))
            expect(RECONCILE.name, "scope", found.counts["scope"], "incremental")
            expect(RECONCILE.name, "rows differing", found.counts["differing"], self.changes)
            job = PlanJob(self._url, str(self._config), found.counts["reconciliation_id"])
            plan = self._measure(PLAN, job)
            expect(PLAN.name, "changes", plan.counts["changes"], self.changes)
            expect(PLAN.name, "groups", plan.counts["groups"], [["installs", "to_crm", "update"]])
            self._apply(NAIVE, plan.counts["plan_hash"])
            # The same values again for the next one to find.
            self._edit()
            self._apply(NOTING, plan.counts["plan_hash"])
            self._edit()
            self._apply(APPLY, self._plan_again())
        except (CouldNotMeasureError, WrongResultError) as error:
            self.result.failures.append(str(error))
            self._say(f"NOT MEASURED: {error}")

    def _edit(self) -> None:
        self.warehouse.execute(rows.DATABASE, rows.change_statement(CHANGED_PER))

    def _plan_again(self) -> str:
        context = open_account("default", {"WAREHOUSE_URL": self._url}, self._config)
        plan = run_plan(context)[0]
        context.close()
        return plan.plan_hash

    def _apply(self, step: Step, plan_hash: str) -> None:
        found = self._measure(step, ApplyJob(self._url, str(self._config), plan_hash))
        expect(step.name, "changes made", found.counts["applied"], self.changes)
        expect(step.name, "rows that differ", self.warehouse.row(rows.DATABASE, _WRONG), (0,))
        if step is not NAIVE:
            left = self.warehouse.row(rows.DATABASE, _LEFT_BEHIND.format(plan_hash))
            expect(step.name, "ledger, agreed, state", left, (self.changes, self.changes, "applied"))

    def _measure(self, step: Step, job: Job) -> Measurement:
        self.warehouse.settle()
        # Every step gets the session settings that ours asks for by itself.
        environment = {"PGOPTIONS": SESSION_OPTIONS}
        run = run_fresh(step.module, job, server_cpu=self.warehouse.cpu_seconds, environment=environment)
        self.result.runs.setdefault(step.name, []).append(run)
        self._say(f"plan: {step.name}: {run.seconds:.2f} s, {run.peak_rss_mb:.0f} MB")
        return run
