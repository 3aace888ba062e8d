"""One simulated company and the jobs that follow it, on one virtual clock; one seed decides everything."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.inbox.local_drop import LocalDrop
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.poll import PollOptions, poll
from enerflo_sync.reconcile.run import reconcile
from enerflo_sync.sandbox.api import DEFAULT_KEY
from enerflo_sync.sandbox.bad_records import BadKind
from enerflo_sync.sandbox.changes import Change
from enerflo_sync.sandbox.emitter import Emitter
from enerflo_sync.sandbox.faults import FaultKind, Faults
from enerflo_sync.sandbox.virtual_clock import VirtualClock
from enerflo_sync.sandbox.world import World
from enerflo_sync.sync.apply import ApplyReport, apply_plan
from enerflo_sync.sync.plan import make_plan
from enerflo_sync.sync.plan_report import PlanReport
from enerflo_sync.warehouse.runs import RunReport
from tests.simulation.calls import session_of
from tests.simulation.files import Postbox, WatchedDrop
from tests.simulation.people import People
from tests.simulation.plan import Plan
from tests.simulation.process import Boundary, End, Killed, Process
from tests.simulation.statements import Warehouse
from tests.simulation.writes import WritesApi

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
ACCOUNT = "default"
# Boundaries of a job of which nothing is known yet.
USUAL_LENGTH = 60
# What happens during one job at most: more changes make more requests, and those more changes.
MOST_STIRS = 6
MOST_BESIDE = 2

APPROVER = "The simulation"
SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"

Job = Callable[[Process, Warehouse], Any]


@cache
def configuration() -> SyncConfig:
    """Return the shipped configuration with writing switched on in both directions."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sync.yaml"
        path.write_text(SHIPPED.read_text().replace("mode: report", "mode: both"))
        return load_config(path, {})


class SimulatedDay:
    """A company, its webhooks, its CRM, and the jobs that keep the three together.

    :param warehouses: two ways to one empty database: for a job, and for one that runs beside it.
    :param crm: the way of the CRM's people to the same database; it passes no boundary.
    :param folder: an empty folder for the drop and its archive.
    """

    def __init__(
        self,
        seed: int,
        plan: Plan,
        warehouses: tuple[Warehouse, Warehouse],
        crm: psycopg.Connection[Any],
        folder: Path,
    ) -> None:
        self.plan = plan
        self.clock = VirtualClock(START)
        self.world = World(plan.installs, seed, START, clock=self.clock)
        self.updated: dict[tuple[str, int], list[datetime]] = {}
        self.world.listeners.append(self._note_update)
        self._rng = random.Random(f"{seed}/schedule")
        self._fates = random.Random(f"{seed}/fates")
        self.drop = folder / "drop"
        self.archive = folder / "archive"
        formats, reused = plan.formats, plan.reused_names
        self.postbox = Postbox(self.drop, self.clock, random.Random(f"{seed}/files"), formats, reused)
        self.emitter = Emitter(self.world, seed, plan.mess, self.postbox, self.clock)
        self.emitter.watch()
        self.faults = Faults(rates=plan.faults, seed=seed, slow_seconds=40.0)
        self.api = WritesApi(
            self.world,
            clock=self.clock,
            faults=self.faults,
            lean_lists=plan.lean_lists,
            no_uuid_keys=(DEFAULT_KEY,) if plan.without_uuids else (),
        )
        self.api.begin(seed)
        self.api.refused, self.api.late, self.api.outbox = plan.refused, plan.late, self._is_sent
        self.warehouses = warehouses
        for warehouse in warehouses:
            warehouse.clock = self.clock
        self._crm = crm
        self.people = People(crm, self.clock, seed)
        self.story: list[str] = []
        self.ever_bad: set[int] = set()
        self._lengths: dict[str, int] = {}
        self._running: list[str] = []
        self._names = itertools.count(1)
        self._quiet = False
        self._stirs = self._others = 0

    # -- what the company does ------------------------------------------------------------------------------

    def _note_update(self, change: Change) -> None:
        world = self.world
        if (
            change.install_id is not None
            and (number := world.installs.number_of(change.install_id)) is not None
        ):
            row = world.truth.install_row(world.installs.get(number))
            self.updated.setdefault(("installs", change.install_id), []).append(row.updated_at or START)

    def live(self, minutes: float, events: int) -> None:
        """Let time pass with changes of the company, and what is due of its webhooks arrive."""
        self.world.step(minutes, events, self.plan.kinds or None)
        if self.plan.both_ways:
            for _ in range(int(self._rng.expovariate(1 / self.plan.edits) + 0.5)):
                self.people.work(self.plan.edit_kinds)
        if self.plan.spoilt and self._rng.random() < self.plan.spoilt:
            self._spoil()
        self.emitter.deliver_due()

    def _spoil(self) -> None:
        """Serve one install wrong from now on, or all of them right again."""
        if self.world.bad and self._rng.random() < 0.5:
            self.mend()
        elif len(self.world.installs):
            (number,) = self.world.installs.page(self._rng.randrange(len(self.world.installs)), 1)
            self.ever_bad.add(number)
            self.world.plant_bad(self.world.install_id(number), self._rng.choice(list(BadKind)))

    def mend(self) -> None:
        """Serve every install right again."""
        for number in list(self.world.bad):
            if self.world.installs.is_live(number):
                self.world.mend(self.world.install_id(number))

    # -- what the jobs do -----------------------------------------------------------------------------------

    def poll(
        self, *, full: bool = False, end_at: int | None = None, end: End = End.KILLED
    ) -> RunReport | None:
        """Run a poll; return its report, None where it was killed or failed."""

        def job(process: Process, warehouse: Warehouse) -> RunReport:
            calls = CallCounter()
            return poll(
                self._client(process, calls),
                warehouse.engine,
                ACCOUNT,
                clock=self.clock,
                rng=self._rng,
                calls=calls,
                options=PollOptions(
                    per_page=self.plan.per_page,
                    min_per_page=min(5, self.plan.per_page),
                    notes_lookback=self.plan.notes_lookback,
                    notes_sweep_every=self.plan.notes_sweep_every,
                    full=full,
                    accept_shrink=self._quiet,
                    read_ahead=0,
                ),
            )

        return self._run("poll", job, end_at, end)

    def ingest(self, *, end_at: int | None = None, end: End = End.KILLED) -> RunReport | None:
        """Run an ingest; return its report, None where it was killed or failed."""

        def job(process: Process, warehouse: Warehouse) -> RunReport:
            calls = CallCounter()
            failing = 0.0 if self._quiet else self.plan.failing
            drop = WatchedDrop(LocalDrop(str(self.drop), str(self.archive)), process, self._fates, failing)
            return ingest(
                self._client(process, calls),
                warehouse.engine,
                drop,
                ACCOUNT,
                clock=self.clock,
                rng=self._rng,
                calls=calls,
                options=IngestOptions(hydration=HydrateOptions(), read_ahead=0),
            )

        return self._run("ingest", job, end_at, end)

    def make_plan(self, *, end_at: int | None = None, end: End = End.KILLED) -> PlanReport | None:
        """Reconcile and plan; return the plan, None where that was killed or failed."""

        def job(_process: Process, warehouse: Warehouse) -> PlanReport:
            config = configuration()
            report = reconcile(warehouse.engine, config, ACCOUNT)
            return make_plan(warehouse.engine, config, ACCOUNT, report.reconciliation_id)

        return self._run("plan", job, end_at, end)

    def apply(self, *, end_at: int | None = None, end: End = End.KILLED) -> ApplyReport | None:
        """Approve and apply the plan that waits, or go on with it; None where there is none or it failed."""
        plan_hash = self.waiting_plan()
        if plan_hash is None:
            return None

        def job(process: Process, warehouse: Warehouse) -> ApplyReport:
            calls = CallCounter()
            return apply_plan(
                warehouse.engine,
                lambda: self._client(process, calls),
                configuration(),
                ACCOUNT,
                plan_hash,
                approved_by=APPROVER,
                clock=self.clock,
                rng=self._rng,
                calls=calls,
            )

        return self._run("apply", job, end_at, end)

    def waiting_plan(self) -> str | None:
        """Return the hash of the plan that is open or not yet applied to its end."""
        row = self._crm.execute(
            "select plan_hash from sync.plans where state in ('open', 'approved') order by created_at desc, part limit 1"
        ).fetchone()
        return None if row is None else row[0]

    def _is_sent(self, table: str) -> bool:
        query = "select from sync.plan_changes where state = 'sent' and table_name = %s limit 1"
        return self._crm.execute(query, [table]).fetchone() is not None

    def _client(self, process: Process, calls: CallCounter) -> EnerfloClient:
        return EnerfloClient(
            session_of(self.api, process),
            "https://enerflo.io",
            DEFAULT_KEY,
            budget=UnlimitedBudget(),
            clock=self.clock,
            rng=self._rng,
            on_call=calls.add,
        )

    def _run(self, name: str, job: Job, end_at: int | None, end: End) -> Any:
        if end_at is None:
            end_at, end = self._drawn_end(name)
        process = Process(f"{name} {next(self._names)}", self._passing, end_at, end)
        warehouse = self.warehouses[len(self._running)]
        warehouse.begin(process)
        if not self._running:
            self._stirs = self._others = 0
        self._running.append(name)
        down = not self._quiet and self._fates.random() < self.plan.down
        rates, self.faults.rates = (
            self.faults.rates,
            {FaultKind.UNAVAILABLE: 1.0} if down else self.faults.rates,
        )
        began, outcome = self.clock.now(), "killed"
        try:
            report = job(process, warehouse)
        except Killed:
            return None
        except EnerfloSyncError as error:
            outcome = f"failed: {type(error).__name__}: {error}"
            return None
        else:
            outcome = str(report.state)
            self._lengths[name] = process.passed
            return report
        finally:
            self.faults.rates = rates
            self._running.pop()
            warehouse.end()
            harm = f" {process.end} {process.ended_at}" if process.ended_at else ""
            self.story.append(
                f"{began:%d %H:%M:%S} {process.name}: {outcome}{harm}, {process.passed} boundaries"
            )

    def _drawn_end(self, name: str) -> tuple[int | None, End]:
        """Return where a job comes to its end, any boundary being as likely as another."""
        if self._quiet:
            return None, End.KILLED
        roll, place = self._fates.random(), self._fates.random()
        at = 1 + int(place * self._lengths.get(name, USUAL_LENGTH))
        if roll < self.plan.killed:
            return at, End.KILLED
        return (at, End.WAREHOUSE_LOST) if roll < self.plan.killed + self.plan.lost else (None, End.KILLED)

    def _passing(self, boundary: Boundary) -> None:
        """Let the rest of the world go on while a job stands at a boundary."""
        if boundary is Boundary.REQUEST:
            self.clock.advance(0.05 + self._fates.random() * 0.5)
        if self._quiet:
            return
        if self._stirs < MOST_STIRS and self._fates.random() < self.plan.restless:
            self._stirs += 1
            self.live(self._fates.choice((0, 0.01, 0.2)), self._fates.choice((1, 1, 2)))
        # A process that holds an answer holds no lock; what it does next rests on old knowledge.
        free = boundary in (Boundary.REQUEST, Boundary.ANSWER) and len(self._running) == 1
        if free and self._others < MOST_BESIDE and self._fates.random() < self.plan.beside:
            self._others += 1
            # Two ingests of one account take turns by themselves.
            others = [self.poll] if self._running == ["ingest"] else [self.poll, self.ingest]
            if self.plan.both_ways:
                others += [self.make_plan, self.apply]
            other = others[0] if len(others) == 1 else self._fates.choice(others)
            other()

    # -- a whole schedule -----------------------------------------------------------------------------------

    def pass_time(self, hours: float) -> None:
        """Live through ``hours`` as the plan has it."""
        ticks = max(1, round(hours * 60 / self.plan.tick))
        for tick in range(1, ticks + 1):
            self.live(self.plan.tick, self._events())
            jobs = []
            if tick % self.plan.ingest_every == 0:
                jobs.append(self.ingest)
            if tick % self.plan.poll_every == 0:
                jobs.append(self.poll)
            if self.plan.both_ways and tick % self.plan.sync_every == 0:
                jobs += [self.make_plan, self.apply]
            self._rng.shuffle(jobs)
            for job in jobs:
                job()

    def _events(self) -> int:
        """Return how many changes a tick has: often none, sometimes many."""
        return int(self._rng.expovariate(1 / self.plan.events) + 0.5)

    def calm_down(self) -> None:
        """End every trouble, and let everything that is under way arrive."""
        self._quiet = True
        self.faults.rates = {}
        self.api.refused = self.api.late = 0.0
        self.mend()
        self.emitter.drain()
