"""A simulated company in process, a drop folder, and ingests of it into a real PostgreSQL."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.faults import Faults, parse_script
from enerflo_sandbox.payloads import events_of
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.drop.drop import Drop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.inbox.batch import MEGABYTE, Limits
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.warehouse.runs import RunReport
from tests.inbox.kept import KeptInbox, keep_inbox
from tests.mirror.conftest import START, Company

SAMPLES = Path(__file__).parent / "samples"
LIMITS = Limits(32 * MEGABYTE, 4 * MEGABYTE)
NOTE = {"webhook_event": "new_note", "id": 1}


def sample(name: str) -> dict[str, Any]:
    """One payload of the vendor, as its own documents or a real account show it."""
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_bytes())
    return found


def update_install(install_id: int, **more: Any) -> dict[str, Any]:
    """The shortest event that makes the inbox read an install again."""
    return {"webhook_event": "update_install", "id": install_id, **more}


def ignored(number: int) -> dict[str, Any]:
    """An event that is taken in and asks for no read: one of many that differ."""
    return {"webhook_event": "new_note", "id": number}


def digest_of(body: Any) -> str:
    """The contract's ``content_hash`` of a body without text beyond ASCII, by other code than ours."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@dataclass
class Inbox:
    """One account's drop and archive beside it, its mirror, and the company that it is about."""

    company: Company
    folder: Path
    runs: list[RunReport] = field(default_factory=list)
    key: str = DEFAULT_KEY
    account: str = "default"

    @property
    def warehouse(self) -> sa.Engine:
        return self.company.warehouse

    @property
    def world(self) -> World:
        return self.company.world

    @property
    def clock(self) -> VirtualClock:
        return self.company.clock

    @property
    def api(self) -> SandboxApi:
        assert self.company.api_of is not None
        return self.company.api_of

    @property
    def archive(self) -> Path:
        return self.folder.parent / "archive"

    @property
    def place(self) -> Drop:
        return open_drop(str(self.folder))

    def drop(self, content: Any, name: str | None = None) -> Path:
        """Write a file as a finished upload would be found; anything but bytes becomes JSON."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path = self.folder / (name or f"{hashlib.sha256(data).hexdigest()[:16]}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        moment = self.clock.now().timestamp()
        os.utime(path, (moment, moment))
        return path

    def drop_changes(self, since: int = 0, seed: int = 1) -> list[str]:
        """Drop what Enerflo would send for the company's changes from the n-th on; return the event names."""
        rng = random.Random(seed)
        names = []
        for change in self.world.changes[since:]:
            for at, event in enumerate(events_of(self.world, change, rng)):
                names.append(event.name)
                self.drop(event.body, f"{len(names):04}-{at}-{event.name}.json")
        return names

    def ingest(self, *, pause: float = 60, reads: bool = True, **options: Any) -> RunReport:
        """Ingest once, in this process and its only thread, and let a minute pass.

        :param reads: whether Enerflo is asked for the records.
        """
        hydration = {
            name: options.pop(name) for name in ("most", "not_found_for") if options.get(name) is not None
        }
        options = {"limits": LIMITS, "read_ahead": 0} | options
        drop = options.pop("drop", None) or self.place
        calls = CallCounter()
        client = self.company.client(calls, self.key) if reads else None
        try:
            report = ingest(
                client,
                self.warehouse,
                drop,
                self.account,
                clock=self.clock,
                rng=self.company.rng,
                calls=calls,
                options=IngestOptions(hydration=HydrateOptions(**hydration), **options),
            )
        finally:
            self.clock.advance(pause)
        self.runs.append(report)
        return report

    def load(self, **options: Any) -> RunReport:
        """Ingest without reading any record."""
        return self.ingest(reads=False, **options)

    def later(self, minutes: float = 20) -> None:
        self.clock.advance(minutes * 60)

    def fault(self, *scripts: str) -> None:
        """Let exactly these requests fail from now on; without any, none."""
        self.api.faults = Faults(script=[parse_script(text) for text in scripts])

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.company.rows(statement, **values)

    def one(self, statement: str, **values: Any) -> Any:
        ((found,),) = self.rows(statement, **values)
        return found

    def states(self) -> dict[str, int]:
        """How many events stand in each state."""
        return dict(self.rows("select state, count(*) from sync.webhook_events group by 1"))  # type: ignore[arg-type]

    def copies(self) -> list[int]:
        return [one for (one,) in self.rows("select copies from sync.webhook_events order by 1")]

    def reasons(self) -> dict[str, int]:
        """The reasons of what lies in quarantine, each with how often it was met."""
        return dict(self.rows("select reason, sum(count)::int from sync.quarantine group by 1"))  # type: ignore[arg-type]

    def waiting(self) -> list[str]:
        return _files(self.folder)

    def archived(self) -> list[str]:
        """The archived files without their dates."""
        return sorted(name.split("/", 3)[3] for name in _files(self.archive))

    def asked(self, path: str) -> int:
        """How many requests a path had."""
        return sum(count for (_, asked), count in self.api.requests.items() if asked == path)

    def install(self, install_id: int, *columns: str) -> tuple[Any, ...]:
        (row,) = self.rows(
            f"select {', '.join(columns)} from enerflo.installs where install_id = :i", i=install_id
        )
        return row

    def last_run(self) -> tuple[str, dict[str, Any]]:
        (row,) = self.rows(
            "select state, reasons from sync.runs order by started_at desc, run_id desc limit 1"
        )
        return row[0], row[1]


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def answering(inbox: Inbox, path: str, answer: Response) -> None:
    """Let one path answer this from now on, whatever the company holds."""
    real = inbox.api._route

    def route(request: Request, asked: str, key: str) -> Response:
        return answer if asked == path else real(request, asked, key)

    inbox.api._route = route  # type: ignore[method-assign]


NewInbox = Callable[..., Inbox]


def new_company(warehouse: sa.Engine, folder: Path, installs: int = 12, seed: int = 3, **api: Any) -> Inbox:
    """Return the inbox of a company that nobody has read; keyword arguments go to its API."""
    clock = VirtualClock(START)
    world = World(installs, seed=seed, start=START, clock=clock)
    company = Company(warehouse, world, clock, api_of=SandboxApi(world, clock=clock, **api))
    clock.advance(timedelta(minutes=1).total_seconds())
    drop = folder / "drop"
    drop.mkdir(exist_ok=True)
    return Inbox(company, drop)


@pytest.fixture
def new_inbox(warehouse: sa.Engine, tmp_path: Path) -> NewInbox:
    """Make an inbox of a company; keyword arguments go to its API."""
    return partial(new_company, warehouse, tmp_path)


@pytest.fixture
def inbox(new_inbox: NewInbox) -> Inbox:
    """A company of twelve installs whose mirror is empty."""
    return new_inbox()


@pytest.fixture(scope="session")
def kept_polled(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> KeptInbox:
    """A company of twelve installs, all of them in the mirror, to be copied."""

    def live(warehouse: sa.Engine) -> Inbox:
        inbox = new_company(warehouse, tmp_path_factory.mktemp("polled"))
        inbox.company.poll()
        return inbox

    return keep_inbox(postgres_url, live)


@pytest.fixture
def polled(kept_polled: KeptInbox, tmp_path: Path) -> Iterator[Inbox]:
    """A company of twelve installs, all of them in the mirror."""
    with kept_polled.copied(tmp_path) as found:
        yield found


@pytest.fixture
def again(polled: Inbox) -> Any:
    """Replay what stands in quarantine of ``polled``."""
    # It imports this module.
    from tests.inbox.replaying import Again

    return Again(polled)
