"""Backfills in the vendor's limit: how much of it they use, what polls feel of them, what a kill costs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.company import API_KEY, OTHER_KEY, Company, running_company
from benchmarks.jobs import BackfillJob, LiveJob
from benchmarks.measure import ROOT, CouldNotMeasureError, Measurement, run_fresh
from benchmarks.peers.ours_backfill import ESTIMATED
from benchmarks.pushes import LIMIT_A_MINUTE
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sandbox.seeded import HISTORY_DAYS
from enerflo_sandbox.world import DEFAULT_START
from enerflo_sync.backfill.request import Part, window_request
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.context import open_account

Say = Callable[[str], None]
DATABASE = "bench_backfill"
CONFIG = ROOT / "include" / "config" / "sync.yaml"
KEYS = (API_KEY, OTHER_KEY)
# What Enerflo takes for a page of the largest size, and how long a poll waits for the next.
ANSWER_SECONDS = 0.2
PAUSE_SECONDS = 1.0
# Days before the end of the company's history at which the months begin and end that are looked for.
MONTHS = ((400, 370), (729, 700), (45, 15))
_UNDER_WAY = "select count(*) from sync.backfill_chunks where state = 'reading'"
_STORED = "select count(*) from enerflo.installs where deleted_at is null"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    :param many: installs of the company that is searched for a month.
    :param live_seconds: how long live polls run, first alone and then beside a backfill.
    """

    installs: int
    many: int
    live_seconds: float
    per_page: int = 500


QUICK = Plan(200_000, 1_000_000, 65.0)
FULL = Plan(500_000, 1_000_000, 130.0)


@dataclass(frozen=True)
class Request:
    """One answered request of a backfill's journal: when it was sent, by the clock on the wall."""

    sent: float
    seconds: float
    status: int
    url: str


@dataclass
class ReadRound:
    """What the reads of one round came to; None where it was not measured.

    :param alone: the backfill that had the key for itself, into an empty database.
    :param reads: its requests after the estimate.
    :param lives: what live polls told, without a backfill beside them and with one.
    :param beside: most requests of a backfill in any minute in which live polls ran.
    :param repeated: pages that were read twice because of a kill, while so many chunks were ``under_way``;
        ``in_vain`` counts the requests that were on their way then, and live ones that ended beside them.
    """

    alone: Measurement | None = None
    reads: Sequence[Request] = ()
    lives: dict[str, Measurement] = field(default_factory=dict)
    beside: int | None = None
    repeated: int | None = None
    in_vain: int = 0
    under_way: int | None = None
    refused: int | None = None


@dataclass
class BackfillRuns:
    """All rounds.

    :param searches: requests until a month was found, by month, of one round after the other.
    """

    plan: Plan
    rounds: list[ReadRound] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def most_in_a_minute(moments: Sequence[float]) -> int:
    """Return the most of the moments, in seconds and ascending, that lie in any minute."""
    return max((bisect_left(moments, one + 60) - at for at, one in enumerate(moments)), default=0)


def share_of_limit(moments: Sequence[float]) -> float | None:
    """Return the share of the limit that requests used from the first to the last; None within a minute.

    :param moments: when each was sent, in seconds, ascending.
    """
    if len(moments) < 2 or moments[-1] - moments[0] < 60:
        return None
    return (len(moments) - 1) / (moments[-1] - moments[0]) * 60 / LIMIT_A_MINUTE


def journal_of(path: Path) -> tuple[list[Request], list[Request]]:
    """Return a backfill's requests until its estimate was made, and those that read."""
    before, _, after = path.read_text().rpartition(f"{ESTIMATED}\n")
    return _requests(before), _requests(after)


def _requests(text: str) -> list[Request]:
    lines = [line.split(" ", 3) for line in text.splitlines()]
    found = [Request(float(sent), float(took), int(status), url) for sent, took, status, url in lines]
    return sorted(found, key=lambda one: one.sent)


class BackfillBench:
    """Backfills one company in rounds: alone, beside live polls, and after a kill."""

    def __init__(self, warehouse: Warehouse, plan: Plan, say: Say) -> None:
        self.result = BackfillRuns(plan)
        self._warehouse = warehouse
        self._plan = plan
        self._say = say
        self._round = ReadRound()

    def run(self, repeat: int) -> BackfillRuns:
        """Measure everything; what fails is told in ``failures``, and the rest still measured."""
        for what in (self._searches, self._reads):
            try:
                what(repeat)
            except (CouldNotMeasureError, WrongResultError) as error:
                self.result.failures.append(f"backfill: {error}")
                self._say(f"NOT MEASURED: {self.result.failures[-1]}")
            finally:
                self._warehouse.drop(DATABASE)
        return self.result

    # -- a month among many ------------------------------------------------------------------------------

    def _searches(self, repeat: int) -> None:
        self._say(f"backfill: a company of {self._plan.many:,} installs, three months to be found")
        with running_company(self._plan.many, kept=1_000) as company:
            for _ in range(repeat):
                self._search(company)
        self._say(f"backfill: requests until a month was found: {self.result.searches}")

    def _search(self, company: Company) -> None:
        url = self._warehouse.migrated(DATABASE)
        environ = {
            "ENERFLO_BASE_URL": company.url,
            "ENERFLO_API_KEY": OTHER_KEY,
            "WAREHOUSE_URL": url,
        }
        context = open_account("default", environ, CONFIG)
        try:
            now = datetime.now(UTC)
            for start, end in MONTHS:
                days = [(DEFAULT_START - timedelta(days=one)).date().isoformat() for one in (start, end)]
                request = window_request(*days, now=now, parts=frozenset({Part.INSTALLS}))
                report = open_backfills(context).estimate(request)
                found = report.estimate.records if report.estimate else 0
                there = self._plan.many * (start - end + 1) // HISTORY_DAYS
                expect(f"month {days[0]}", "installs as many as there", round(found / there, 1), 1.0)
                self.result.searches.append(report.requests)
        finally:
            context.close()

    # -- reads -------------------------------------------------------------------------------------------

    def _reads(self, repeat: int) -> None:
        plan = self._plan
        self._say(f"backfill: making a company of {plan.installs:,} installs")
        with running_company(plan.installs, LIMIT_A_MINUTE, ANSWER_SECONDS) as company:
            for number in range(repeat):
                self._say(f"backfill: round {number + 1} of {repeat}")
                # A new database does not know what the former round sent in this minute: keys take turns.
                self._read(company, KEYS[number % len(KEYS)])

    def _read(self, company: Company, key: str) -> None:
        self._round = ReadRound()
        self.result.rounds.append(self._round)
        url = self._warehouse.migrated(DATABASE)
        refused = company.accepted_and_refused()[1]
        with tempfile.TemporaryDirectory() as folder:
            config = _config(Path(folder), self._plan.per_page)
            job = BackfillJob(company.url, key, url, str(config), str(Path(folder) / "alone"))
            try:
                self._alone(job)
                self._beside(job, company, Path(folder))
            finally:
                self._round.refused = company.accepted_and_refused()[1] - refused
            self._check(company)

    def _alone(self, job: BackfillJob) -> None:
        run = self._backfill(job)
        expect("backfill", "installs stored", self._warehouse.row(DATABASE, _STORED), (self._plan.installs,))
        self._round.alone, self._round.reads = run, journal_of(Path(job.journal))[1]
        self._say(f"backfill: alone: {run.seconds:.1f} s, {run.peak_rss_mb:.0f} MB")

    def _backfill(self, job: BackfillJob) -> Measurement:
        run = run_fresh("benchmarks.peers.ours_backfill", job, server_cpu=self._warehouse.cpu_seconds)
        found = (run.counts["state"], run.counts["read"])
        expect("backfill", "state and installs read", found, ("finished", self._plan.installs))
        return run

    def _live(self, job: BackfillJob) -> Measurement:
        live = LiveJob(
            job.base_url,
            job.api_key,
            job.database_url,
            job.config_path,
            self._plan.live_seconds,
            PAUSE_SECONDS,
        )
        return run_fresh("benchmarks.peers.ours_live", live, server_cpu=self._warehouse.cpu_seconds)

    def _beside(self, alone: BackfillJob, company: Company, folder: Path) -> None:
        """Poll alone and beside a second backfill, which is killed when the polls end, and gone on with."""
        self._round.lives["alone"] = self._live(alone)
        job = msgspec.structs.replace(alone, journal=str(folder / "killed"))
        before = sum(company.accepted_and_refused())
        with ThreadPoolExecutor(1) as pool:
            live = pool.submit(self._live, job)
            # Once a live request has been sent, whatever the backfill sends is sent beside live work.
            time.sleep(min(5.0, self._plan.live_seconds / 3))
            self._killed(job, live)
        run = self._round.lives["beside"] = live.result()
        search, reads = journal_of(folder / "killed")
        answered = len(search) + len(reads) + len(run.counts["waits"])
        self._round.in_vain = sum(company.accepted_and_refused()) - before - answered
        until = run.counts["ended"]
        sent = sorted(one.sent for one in (*search, *reads) if run.counts["began"] < one.sent < until)
        self._round.beside = most_in_a_minute(sent)
        resumed = msgspec.structs.replace(job, journal=str(folder / "resumed"), resume=True)
        self._backfill(resumed)
        again = {one.url for one in reads} & {one.url for one in journal_of(folder / "resumed")[1]}
        self._round.repeated = len(again)
        self._say(
            f"backfill: {self._round.under_way} parts under way at the kill, {len(again)} pages read twice,"
            f" {self._round.in_vain} on their way"
        )

    def _killed(self, job: BackfillJob, live: Future[Measurement]) -> None:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "include")))}
        with tempfile.TemporaryDirectory(prefix="bench-killed-") as folder:
            command = [sys.executable, "-m", "benchmarks.worker", "benchmarks.peers.ours_backfill"]
            process = subprocess.Popen(
                [*command, str(Path(folder) / "outcome.json")],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
            )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(job))
            process.stdin.close()
            try:
                live.result()
                if process.poll() is not None:
                    raise CouldNotMeasureError("the backfill ended before it could be killed")
            finally:
                process.kill()
                process.wait()
        # The server notices a moment later that nobody is at the other end of its locks.
        time.sleep(2)
        (self._round.under_way,) = self._warehouse.row(DATABASE, _UNDER_WAY)

    def _check(self, company: Company) -> None:
        expect("backfill", "installs stored", self._warehouse.row(DATABASE, _STORED), (company.installs,))


def _config(folder: Path, per_page: int) -> Path:
    text = CONFIG.read_text().replace("per_page: 500", f"per_page: {per_page}", 1)
    if per_page < 25:
        text = text.replace("min_per_page: 25", "min_per_page: 1")
    path = folder / "sync.yaml"
    path.write_text(text)
    return path
