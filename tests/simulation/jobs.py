"""The real jobs, each in a process of its own that may come to its end at any boundary."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg

from enerflo_sandbox.faults import FaultKind, Faults
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.jobs.columns import ColumnsReport
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.poll import PollOptions, poll
from enerflo_sync.warehouse.runs import RunReport, RunState
from tests.simulation.access import HalfOfTheInstalls, Keys
from tests.simulation.calls import session_of
from tests.simulation.clocks import Clocks
from tests.simulation.columns import Columns
from tests.simulation.data_team import DataTeam
from tests.simulation.files import WatchedDrop
from tests.simulation.plan import Plan
from tests.simulation.process import Boundary, End, Killed, Process
from tests.simulation.promises import Promises
from tests.simulation.selectors import ChosenPart
from tests.simulation.shapes import Shape
from tests.simulation.statements import Server
from tests.simulation.troubles import Trouble
from tests.simulation.watch import Transactions
from tests.simulation.writes import WritesApi

# Boundaries of a job of which nothing is known yet.
USUAL_LENGTH = 60

Job = Callable[[Process, Server], Any]


class Jobs:
    """Runs the jobs that read over one warehouse and one company.

    :ivar story: every job that ran, one line each.
    """

    plan: Plan
    shape: Shape
    clock: VirtualClock
    clocks: Clocks
    api: WritesApi
    faults: Faults
    keys: Keys
    half: HalfOfTheInstalls
    promises: Promises
    columns: Columns | None
    team: DataTeam | None
    warehouses: Sequence[Server]
    crms: Sequence[Server]

    def __init__(self, seed: int, crm: psycopg.Connection[Any]) -> None:
        self.story: list[str] = []
        self._rng = random.Random(f"{seed}/schedule")
        self._fates = random.Random(f"{seed}/fates")
        self._other_keys = random.Random(f"{seed}/keys")
        self._people_say = random.Random(f"{seed}/approvals")
        # What was chosen of each plan at its last approval, where that was a part.
        self._chosen: dict[str, ChosenPart] = {}
        self._takes_back = random.Random(f"{seed}/undos")
        self._crm = crm
        self._lengths: dict[str, int] = {}
        self._running: list[Process] = []
        self._names = itertools.count(1)
        self._quiet = False

    def poll(
        self, *, full: bool = False, end_at: int | None = None, end: End = End.KILLED
    ) -> RunReport | None:
        """Run a poll; return its report, None where it was killed or failed."""

        column = self.promises.column
        before = {} if column is None else column.there_is()

        def job(process: Process, warehouse: Server) -> RunReport:
            calls = CallCounter()
            return poll(
                self._client(process, calls),
                warehouse.engine,
                self.account,
                clock=process.clock,
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
                    accounts=self._accounts(),
                ),
            )

        report: RunReport | None = self._run("poll", job, end_at, end)
        if column is not None and report is not None and report.state is RunState.OK:
            column.has_brought(before)
        return report

    def ingest(self, *, end_at: int | None = None, end: End = End.KILLED) -> RunReport | None:
        """Run an ingest; return its report, None where it was killed or failed."""

        # At the end a person has looked at what is gone, as the poll's `--accept-shrink` says.
        hydration = HydrateOptions(
            **({"shrink_guard": 1.0} if self._quiet else {}), accounts=self._accounts()
        )

        def job(process: Process, warehouse: Server) -> RunReport:
            calls = CallCounter()
            return ingest(
                self._client(process, calls),
                warehouse.engine,
                self._drop_of(process),
                self.account,
                clock=process.clock,
                rng=self._rng,
                calls=calls,
                options=IngestOptions(hydration=hydration, read_ahead=0),
            )

        return self._run("ingest", job, end_at, end)

    def _drop_of(self, process: Process) -> WatchedDrop:
        raise NotImplementedError

    @property
    def account(self) -> str:
        """Return what the account is called now."""
        return self.shape.yaml.says.account

    def _accounts(self) -> frozenset[str] | None:
        """Return the names of all accounts that are configured, where one gets another name."""
        return frozenset({self.account}) if Trouble.OTHER_NAME in self.plan.troubles else None

    def configuration(self) -> SyncConfig:
        """Return what sync.yaml says now."""
        return self.shape.configuration(None if self.columns is None else self.columns.path)

    def migrate(self) -> ColumnsReport | None:
        """Let sync.yaml declare its column, and migrate; None where that was killed or failed."""
        columns = self.columns
        assert columns is not None
        columns.edit()
        job: Job = lambda *within: columns.migrate(*within, self._rng)  # noqa: E731
        report: ColumnsReport | None = self._run("migrate", job, None, End.KILLED)
        columns.waits = columns.waits and report is None
        return report

    def _process(self) -> Process:
        return self._running[-1]

    def _client(self, process: Process, calls: CallCounter) -> EnerfloClient:
        return EnerfloClient(
            session_of(self.api, process),
            "https://enerflo.io",
            self.keys.of_job(),
            budget=UnlimitedBudget(),
            clock=process.clock,
            rng=self._rng,
            on_call=calls.add,
        )

    def _rates(self) -> dict[FaultKind, float]:
        """Return the faults of one job: its own share of requests, or one for all of them."""
        if self._quiet:
            return {}
        if self._fates.random() < self.plan.down:
            return {FaultKind.UNAVAILABLE: 1.0}
        is_other = self._other_keys.random() < 0.3 * self.plan.rate(Trouble.OTHER_COMPANY)
        if is_other and self._knows_its_company():
            return {FaultKind.OTHER_COMPANY: 1.0}
        if self._other_keys.random() < 0.5 * self.plan.rate(Trouble.SHORT_PAGES):
            # Pages are short for a while, and so in two polls in a row.
            return {FaultKind.EMPTY_PAGE: 0.3, FaultKind.SHORT_PAGE: 0.3}
        return self.plan.faults

    def _seen_by(self, name: str) -> AbstractContextManager[None]:
        """Return within what a job runs: now and then a poll sees half of the installs."""
        alone = name == "poll" and len(self._running) == 1 and not self._quiet
        return self.half.now_and_then() if alone else nullcontext()

    def _mirrored_installs(self) -> list[int]:
        query = "select install_id from enerflo.installs where deleted_at is null order by 1"
        return [install_id for (install_id,) in self._crm.execute(query)]

    def _knows_its_company(self) -> bool:
        """Return whether the account has an install: the first key under a name is believed."""
        query = "select exists (select from enerflo.installs where account = %s)"
        row = self._crm.execute(query, (self.account,)).fetchone()
        return row is not None and bool(row[0])

    def _run(self, name: str, job: Job, end_at: int | None, end: End) -> Any:
        if end_at is None and name not in ("reject", "reopen"):
            end_at, end = self._drawn_end(name)
        clock = self.clocks.of_process()
        process = Process(f"{name} {next(self._names)}", self._passing, end_at, end, clock=clock)
        process.started_at = self.clock.now()
        if name == "apply":
            process.begins_at = Transactions(self.promises.watch)
        warehouse, crm = self.warehouses[len(self._running)], self.crms[len(self._running)]
        warehouse.begin(process)
        crm.begin(process)
        self._begins()
        self._running.append(process)
        rates, self.faults.rates = self.faults.rates, self._rates()
        began, outcome = self.clock.now(), "killed"
        try:
            with self._seen_by(name):
                report = job(process, warehouse)
        except Killed:
            report = None
        except EnerfloSyncError as error:
            outcome, report = f"failed: {type(error).__name__}: {error}", None
        else:
            outcome = str(getattr(report, "state", "done"))
            self._lengths[name] = process.passed
        finally:
            self.faults.rates = rates
            self._running.pop()
            warehouse.end()
            crm.end()
            harm = f" {process.end} {process.ended_at}" if process.ended_at else ""
            self.story.append(
                f"{began:%d %H:%M:%S} {process.name}: {outcome}{harm}, {process.passed} boundaries"
            )
        self.promises.after_a_job(nobody_writes=not self._running)
        return report

    def _begins(self) -> None:
        raise NotImplementedError

    def _passing(self, boundary: Boundary) -> None:
        raise NotImplementedError

    def _drawn_end(self, name: str) -> tuple[int | None, End]:
        """Return where a job comes to its end, any boundary being as likely as another."""
        if self._quiet:
            return None, End.KILLED
        roll, place = self._fates.random(), self._fates.random()
        at = 1 + int(place * self._lengths.get(name, USUAL_LENGTH))
        if roll < self.plan.killed:
            return at, End.KILLED
        return (at, End.WAREHOUSE_LOST) if roll < self.plan.killed + self.plan.lost else (None, End.KILLED)
