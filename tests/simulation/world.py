"""One simulated company and what happens to it, on one virtual clock; one seed decides everything."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from enerflo_sandbox.api import DEFAULT_KEY
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.changes import Change
from enerflo_sandbox.emitter import Emitter
from enerflo_sandbox.faults import Faults
from enerflo_sandbox.spelling import Spelling
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.drop.local import LocalDrop
from tests.simulation.access import HalfOfTheInstalls, Keys
from tests.simulation.both_change import change_both
from tests.simulation.clocks import Clocks
from tests.simulation.columns import Columns
from tests.simulation.copied import Courier
from tests.simulation.data_team import DataTeam
from tests.simulation.database import Database
from tests.simulation.declared import FilledColumn, Lending, LendingWorld
from tests.simulation.desk import Desk
from tests.simulation.files import Postbox, WatchedDrop
from tests.simulation.jobs_both_ways import JobsBothWays
from tests.simulation.mapped import SyncYaml
from tests.simulation.meddling import Meddling
from tests.simulation.owners import NewOwners
from tests.simulation.people import People
from tests.simulation.plan import Plan
from tests.simulation.process import Boundary, Process
from tests.simulation.promises import Promises
from tests.simulation.resync import Resyncs
from tests.simulation.salesforce import Salesforce
from tests.simulation.spelled import Spelled
from tests.simulation.titles import Renaming, TitledWorld
from tests.simulation.troubles import OF_SYNC_YAML, Trouble
from tests.simulation.wide import Wide
from tests.simulation.writes import WritesApi

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
# What happens during one job at most: more changes make more requests, and those more changes.
MOST_STIRS = 6
MOST_BESIDE = 2
MOST_MEDDLED = 4
_LAGS = (20, 120, 600)


class SimulatedDay(JobsBothWays):
    """A company, its webhooks, its CRM, and the jobs that keep the three together.

    :param database: an empty database whose CRM has the plan's shape.
    :param folder: an empty folder for the drop and its archive.
    """

    def __init__(self, seed: int, plan: Plan, database: Database, folder: Path) -> None:
        super().__init__(seed, database.people)
        self.plan, self.shape = plan, replace(plan.shape, yaml=SyncYaml())
        self.clock = VirtualClock(START)
        self.clocks = Clocks(self.clock, seed, plan.rate(Trouble.SKEWED_CLOCKS))
        self.columns, self.lending, self.renaming = None, None, None
        if Trouble.DECLARED_COLUMN in plan.troubles:
            self.world = LendingWorld(plan.installs, seed, START, clock=self.clock)
            self.columns = Columns(self.world, self.shape, seed)
            self.lending = Lending(self.world, seed, plan.rate(Trouble.DECLARED_COLUMN))
        elif self.shape.wide_table:
            self.world = TitledWorld(plan.installs, seed, START, clock=self.clock)
            self.renaming = Renaming(self.world, seed, plan.rate(Trouble.WIDE))
        else:
            self.world = World(plan.installs, seed, START, clock=self.clock)
        self.owners = NewOwners(self.world, seed, plan.rate(Trouble.NEW_OWNERS))
        self.updated: dict[tuple[str, int], list[datetime]] = {}
        self.world.listeners.append(self._note_update)
        self.drop = folder / "drop"
        self.archive = folder / "archive"
        formats, reused = plan.formats, plan.reused_names
        self.postbox = Postbox(self.drop, self.clock, random.Random(f"{seed}/files"), formats, reused)
        self.emitter = Emitter(self.world, seed, plan.mess, self.postbox, self.clock)
        self.emitter.watch()
        self.faults = Faults(rates=plan.faults, seed=seed, slow_seconds=40.0)
        self.api = self._api(seed)
        self.keys = Keys(self.api, self.clock, seed, plan.rate(Trouble.KEY_ROTATION))
        self.half = self.api.half = HalfOfTheInstalls(
            self.api, seed, plan.rate(Trouble.HALF_SEEN), self._mirrored_installs
        )
        self.warehouses, self.crms = database.warehouses, database.crms
        for server in (*self.warehouses, *self.crms):
            server.clock = self.clock
        self.ever_bad: set[int] = set()
        self.promises = Promises(
            database.people,
            self.api,
            self.shape,
            self.ever_bad,
            self.clock,
            sources=Trouble.MEDDLING in plan.troubles,
            newest=not self.shape.wide_table
            and bool(plan.troubles.keys() & {Trouble.BOTH_CHANGE, Trouble.RENUMBERED}),
        )
        if isinstance(self.world, LendingWorld):
            self.promises.column = FilledColumn(
                database.people,
                self.world,
                lists_lag=bool(plan.troubles.keys() & {Trouble.LAGGING_LIST, Trouble.HALF_SEEN}),
            )
        late = plan.rate(Trouble.LATE_ROWS)
        self.desk = Desk(
            database.people,
            database.slow_people,
            self.clock,
            random.Random(f"{seed}/desk"),
            late=0.7 * late,
            unmoved=0.0 if self.shape.keeps_times else 0.5 * plan.rate(Trouble.UNMOVED_TIMES),
            slow=0.2 * late,
            tells_time=self.shape.salesforce,
            schema="office" if self.shape.copied else self.shape.seen,
            done=self.promises.watch.look,
        )
        odd = Trouble.RESPELLING in plan.troubles
        self.people = People(
            self.desk,
            self.clock,
            seed,
            odd=odd,
            days=self.shape.dates == "text",
            marks=self.shape.marks,
            lender=self.shape.lender,
        )
        self.team = None
        if plan.both_ways and plan.troubles.keys() & OF_SYNC_YAML:
            self.team = DataTeam(self.shape, plan, seed, database.people, self.promises.watch)
            self.people.word_of = self.team.word_of
            self.promises.are_edited(lambda: self.team is not None and self.team.fits)
        if (self.shape.spelled or self.shape.chosen) and plan.both_ways:
            self.promises.spelled = Spelled(
                self.desk, database.people, self.shape, self.promises.watch, self.world, seed
            )
            self.promises.watch.listeners.append(self.promises.spelled.written)
        copies = Desk(
            database.people,
            database.slow_people,
            self.clock,
            random.Random(f"{seed}/copies"),
            tells_time=self.shape.salesforce,
            done=self.promises.watch.look,
        )
        self.courier = self.wide = None
        if self.shape.wide_table:
            self.wide = Wide(
                self.desk, self.shape, self.clock, self.promises.watch, self.world, self.api, seed
            )
            self.promises.are_wide(self.wide)
        if self.shape.copied and plan.both_ways:
            rate = plan.rate(Trouble.HANDED_OVER)
            self.courier = Courier(copies, self.shape, self.clock, seed, rate)
            self.promises.are_handed_over(self.courier)
        self.salesforce = None
        if self.shape.salesforce and plan.both_ways:
            rate = plan.rate(Trouble.SALESFORCE)
            self.salesforce = Salesforce(copies, self.shape, self.clock, self.promises.watch, seed, rate)
        if Trouble.RESYNCED in plan.troubles and plan.both_ways:
            rate = plan.rate(Trouble.RESYNCED)
            self.promises.resyncs = Resyncs(copies, self.shape, self.clock, self.promises.watch, seed, rate)
        self.loads = None
        # A copy is loaded from its CRM, which gets our writes; under other names nothing is known of the rows.
        copied = self.shape.copied or bool(self.shape.wide_table)
        if Trouble.RELOADED in plan.troubles and plan.both_ways and not (copied or self.team is not None):
            self.loads = self.promises.are_loaded(copies, seed, plan.rate(Trouble.RELOADED))
        self.meddling = Meddling(self.desk, self.shape, seed)
        self._meddles = random.Random(f"{seed}/when meddled")
        self._stirs = self._others = self._meddled = 0

    def _api(self, seed: int) -> WritesApi:
        plan, rng = self.plan, random.Random(f"{seed}/vendor")
        spelling = Spelling(
            share=max(plan.rate(Trouble.RESPELLING), plan.rate(Trouble.DAYS_KEPT)) or 1.0, seed=seed
        )
        cut, echo, zone = (
            rng.choice((None, 24, 40)),
            rng.random() < 0.3,
            rng.choice(("UTC", "America/Denver")),
        )
        kinds = [name for name in ("html", "blanks", "emoji") if rng.random() < 0.5]
        if Trouble.RESPELLING in plan.troubles:
            spelling.cut = cut
            for name in kinds or ("html",):
                setattr(spelling, name, True)
            spelling.keys = seed % 2 == 0
        if Trouble.DAYS_KEPT in plan.troubles:
            spelling.days, spelling.zone = True, zone
        spelling.echo = echo and (spelling.days or Trouble.RESPELLING in plan.troubles)
        api = WritesApi(
            self.world,
            clock=self.clock,
            faults=self.faults,
            spelling=spelling,
            lean_lists=plan.lean_lists,
            no_uuid_keys=(DEFAULT_KEY,) if plan.without_uuids else (),
        )
        api.begin(seed)
        api.refused, api.late, api.outbox, api.process = plan.refused, plan.late, self._sent, self._process
        if Trouble.LAGGING_LIST in plan.troubles:
            api.lag_list(rng.choice(_LAGS))
        return api

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
        self.owners.now_and_then()
        if self.lending is not None:
            self.lending.now_and_then()
        if self.plan.both_ways:
            for _ in range(int(self._rng.expovariate(1 / self.plan.edits) + 0.5)):
                self.people.work(self.plan.edit_kinds)
            self._work_oddly()
            for one in (self.promises.resyncs, self.loads):
                if one is not None:
                    one.now_and_then()
            if self.promises.spelled is not None:
                kinds = (Trouble.NEAR_KEYS, Trouble.TYPED_KEYS, Trouble.CHOSEN_ROWS, Trouble.NARROWED)
                self.promises.spelled.work(max(map(self.plan.rate, kinds)))
            if self.wide is not None:
                self.wide.work(self.plan.rate(Trouble.WIDE))
            # A title that changes between the read before a write and the write is nobody's to see.
            if self.renaming is not None and not self._running:
                self.renaming.now_and_then()
            self.copies_follow()
        if self.plan.spoilt and self._rng.random() < self.plan.spoilt:
            self._spoil()
        self.emitter.deliver_due()

    def copies_follow(self, *, at_once: bool = False) -> None:
        """Let a courier carry what was handed over, and the copy follow the CRM.

        :param at_once: all of it.
        """
        if self.courier is None:
            return
        resyncs = self.promises.resyncs
        self.courier.held = {one.table for one in resyncs.gone} if resyncs is not None else set()
        if at_once:
            self.courier.end()
        else:
            self.courier.now_and_then()

    def _work_oddly(self) -> None:
        """Let links change, rows go to the other branch, and twins come and go."""
        for trouble, act in self.meddling.oddities.items():
            if rate := self.plan.rate(trouble):
                for _ in range(int(self._meddles.expovariate(1 / (2 * rate)) + 0.5)):
                    act()
        if self._meddles.random() < self.plan.rate(Trouble.BOTH_CHANGE):
            change_both(self.world, self.clock, self.meddling, self._meddles)

    def _meddle(self, rate: float) -> None:
        """Let somebody work on what a plan is about to write."""
        if self._meddled < MOST_MEDDLED and self._meddles.random() < rate * self.plan.rate(Trouble.MEDDLING):
            self._meddled += 1
            self.meddling.before_it_is_written()

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

    # -- what happens while a job runs ----------------------------------------------------------------------

    def _drop_of(self, process: Process) -> WatchedDrop:
        failing = 0.0 if self._quiet else self.plan.failing
        return WatchedDrop(LocalDrop(str(self.drop), str(self.archive)), process, self._fates, failing)

    def _begins(self) -> None:
        if not self._running:
            self._stirs = self._others = self._meddled = 0

    def _passing(self, boundary: Boundary) -> None:
        """Let the rest of the world go on while a job stands at a boundary."""
        if boundary is Boundary.REQUEST:
            self.clock.advance(0.05 + self._fates.random() * 0.5)
        if self._quiet:
            return
        if boundary is Boundary.REQUEST:
            self.keys.before_a_request()
        if self._stirs < MOST_STIRS and self._fates.random() < self.plan.restless:
            self._stirs += 1
            self.live(self._fates.choice((0, 0.01, 0.2)), self._fates.choice((1, 1, 2)))
        if self._running[-1].name.startswith("apply"):
            self._meddle(0.05)
        # A process that holds an answer holds no lock; what it does next rests on old knowledge.
        free = boundary in (Boundary.REQUEST, Boundary.ANSWER) and len(self._running) == 1
        # What the key does not see just now another job would see.
        free = free and not self.half.hidden
        reads = self._running[0].name.startswith(("poll", "ingest"))
        if free and reads and self.columns is not None and self.columns.comes_beside():
            self.migrate()
        elif free and self._others < MOST_BESIDE and self._fates.random() < self.plan.beside:
            self._others += 1
            # Two ingests of one account take turns by themselves.
            ingests = self._running[0].name.startswith("ingest")
            others = [self.poll] if ingests else [self.poll, self.ingest]
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
                jobs += [self.carry] if self.salesforce is not None else []
            self._rng.shuffle(jobs)
            if self.columns is not None:
                self.columns.day_passes(tick / ticks)
            for job in jobs:
                if self.team is not None:
                    self.team.now_and_then()
                if self.plan.both_ways:
                    self._meddled = 0
                    self._meddle(0.5)
                job()
            if self.columns is not None and self.columns.comes_again():
                self.migrate()

    def _events(self) -> int:
        """Return how many changes a tick has: often none, sometimes many."""
        return int(self._rng.expovariate(1 / self.plan.events) + 0.5)

    def calm_down(self) -> None:
        """End every trouble, and let everything that is under way arrive."""
        self._quiet = True
        self.faults.rates = {}
        self.api.refused = self.api.late = 0.0
        self.api.lag_list(0)
        self.keys.configure()
        self.desk.close_due(all_of_it=True)
        if self.team is not None:
            self.team.end()
        if self.promises.resyncs is not None:
            self.promises.resyncs.end(everything=self.courier is not None)
        if self.salesforce is not None:
            self.salesforce.quiet = True
        self.copies_follow(at_once=True)
        if self.renaming is not None:
            self.renaming.end()
        self.mend()
        self.emitter.drain()
