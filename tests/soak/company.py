"""A company, its CRM and its jobs, as they go on for years."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from enerflo_sandbox.adapter import SandboxAdapter
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.delivery import DropFormat
from enerflo_sandbox.emitter import Emitter, Mess
from enerflo_sandbox.world import World
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.prune import run_prune
from enerflo_sync.jobs.quality import run_quality
from tests.simulation.desk import Desk
from tests.simulation.files import Postbox
from tests.simulation.people import Edit, People
from tests.soak.clock import SharedClock, connect
from tests.soak.meter import Meter

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
# In the past: files and times of these years are older than the machine's clock.
START = datetime(2020, 3, 2, 6, tzinfo=UTC)
DAYS_A_YEAR = 360
# What differs from the shipped configuration: both sides are written, and the archive has a bound.
EDITS = (("mode: report", "mode: both"), ("# archive_days: 365", "archive_days: 365"))
# Installs come and go by themselves (``SoakCompany._turn_over``), so that the company's size stays.
_KINDS = (
    *(ChangeKind.STATUS_CHANGED, ChangeKind.MILESTONE_CHANGED, ChangeKind.NOTE_CREATED),
    *(ChangeKind.NOTE_EDITED, ChangeKind.NOTE_DELETED, ChangeKind.CHANGE_ORDER_SIGNED),
    *(ChangeKind.CUSTOMER_EDITED, ChangeKind.INSTALL_VOIDED, ChangeKind.INSTALL_RESUBMITTED),
)
_EDITED = (Edit.STATUS, Edit.MILESTONE, Edit.NOTE, Edit.NEW_LEAD, Edit.LEAD, Edit.NOT_THEIRS)
_PARTS = 4
_CHILDREN = ("milestones", "notes", "change_orders")
# What nobody can send is put right by people: left alone it would wait for ever, and be told of in each plan.
_MENDED = (
    "update crm.leads set mobile = '5125550100', updated_at = %(now)s where length(mobile) < 10",
    "update crm.leads set zip = '02139', updated_at = %(now)s where zip = 'none'",
    "update crm.leads set email = lead_id || '@example.com', updated_at = %(now)s where email is null",
    "update crm.installs set status = 'In progress', updated_at = %(now)s"
    " where status = 'Waiting for the utility'",
)


@dataclass(frozen=True)
class Pace:
    """How much happens.

    :param installs: of the company, of which there are always as many.
    :param step: days between two rounds of jobs.
    :param events: changes in Enerflo a day; ``edits`` in the CRM.
    :param turnover: installs a day that are signed, and as many that are deleted.
    """

    installs: int = 300
    step: float = 1.0
    events: float = 4.0
    edits: float = 3.0
    turnover: float = 0.25
    seed: int = 1


class SoakCompany:
    """One account with both of its sides, whose jobs run once in each step of time.

    :param url: a migrated, empty database of its own.
    :param folder: an empty folder for the drop and its archive.
    :param edits: texts of the shipped configuration that are replaced.
    """

    def __init__(
        self, url: str, folder: Path, pace: Pace, edits: tuple[tuple[str, str], ...] = EDITS
    ) -> None:
        self.pace = pace
        self.clock = SharedClock(START, url)
        self.meter = Meter(url)
        self.world = World(pace.installs, pace.seed, START, clock=self.clock)
        self.drop = folder / "drop"
        self.archive = folder / "archive"
        rng = random.Random(f"{pace.seed}/files")
        box = Postbox(self.drop, self.clock, rng, DropFormat.MIXED, 0.0)
        self.emitter = Emitter(self.world, pace.seed, Mess(loss=0.02, duplicate=0.1), box, self.clock)
        self.emitter.watch()
        self.api = SandboxApi(self.world, rate_limit=10**6)
        make_crm_tables(self.world, url, allow_duplicates=False)
        self._crm = connect(url, "people")
        self._desk = Desk(self._crm, self._crm, self.clock, random.Random(f"{pace.seed}/desk"))
        self._people = People(self._desk, self.clock, pace.seed)
        self._rng = random.Random(f"{pace.seed}/soak")
        self.context = self._open(url, folder, edits)
        self.meter.watch(self.context.engine, self.api)
        self.observed = min(self.world.install_id(number) for number in self.world.installs.live())
        self._due = {"events": 0.0, "edits": 0.0, "turnover": 0.0}
        self.steps = 0

    def _open(self, url: str, folder: Path, edits: tuple[tuple[str, str], ...]) -> AccountContext:
        text = SHIPPED.read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        path = folder / "sync.yaml"
        path.write_text(text)
        config = load_config(path, {"WEBHOOK_DROP_URI": str(self.drop)})
        session = requests.Session()
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", SandboxAdapter(self.api))
        context = AccountContext(
            "default",
            config,
            path,
            Credentials(lambda: "https://enerflo.io", lambda: DEFAULT_KEY, lambda: url),
            clock=self.clock,
            rng=random.Random(f"{self.pace.seed}/jobs"),
        )
        context.session = session
        return context

    def close(self) -> None:
        self.context.close()
        self._crm.close()
        self.meter.close()
        self.clock.close()

    # -- time passes ----------------------------------------------------------------------------------------

    def step(self) -> None:
        """Let the days of one step pass, and run every job once after them."""
        for _ in range(_PARTS):
            minutes = self.pace.step * 24 * 60 / _PARTS
            self.world.step(minutes, self._some("events", 1 / _PARTS), _KINDS)
            for _ in range(self._some("edits", 1 / _PARTS)):
                self._people.work(_EDITED)
        self._turn_over()
        self.emitter.drain()
        self.steps += 1
        self.work()
        self.tidy()

    def _some(self, what: str, share: float = 1.0) -> int:
        """Return how many of something happen in a share of a step; a fraction counts in a later one."""
        self._due[what] += getattr(self.pace, what) * self.pace.step * share
        whole = int(self._due[what])
        self._due[what] -= whole
        return whole

    def _turn_over(self) -> None:
        """Sign as many installs as are deleted; the CRM's people put the deleted ones away."""
        for _ in range(self._some("turnover")):
            self.world.create_install()
            live = list(self.world.installs.live())
            install = self.observed
            while install == self.observed:
                install = self.world.install_id(self._rng.choice(live))
            self.world.delete_install(install)
        self._desk.run(
            "delete from crm.installs where not enerflo_install_id = any(%(live)s)",
            live=[self.world.install_id(number) for number in self.world.installs.live()],
        )
        for table in _CHILDREN:
            self._desk.run(
                f"delete from crm.{table} t where enerflo_install_id is not null and not exists"
                " (select from crm.installs i where i.enerflo_install_id = t.enerflo_install_id)"
            )
        for statement in _MENDED:
            self._desk.run(statement)

    # -- jobs -----------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Run the jobs as their DAGs do, and approve whatever is planned."""
        context = self.context
        self.run("ingest", lambda: run_ingest(context, read_ahead=0))
        # As Airflow names it: the page of a run finds it by that.
        run_id = f"enerflo_poll/round {self.steps}"
        self.run("poll", lambda: run_poll(context, read_ahead=0, run_id=run_id))
        for plan in self.run("plan", lambda: run_plan(context)):
            if plan.change_count:
                self.run("apply", lambda: run_apply(context, plan.plan_hash, approved_by="Pat"))  # noqa: B023
        self.run("seal", lambda: run_seal(context))
        if self.steps % 7 == 0:
            self.run("quality", lambda: run_quality(context, with_expectations=False))
        self.run("prune", lambda: run_prune(context))

    def run(self, name: str, job: Callable[[], Any]) -> Any:
        """Run one job, a minute after the one before it; what it took counts under its name."""
        self.clock.advance(60)
        with self.meter.counting(name):
            return job()

    def tidy(self) -> None:
        """Do what autovacuum does within the days of a step, which last a second here."""
        self._crm.execute("vacuum (analyze)")
