"""A simulated company in process, and polls of it into a real PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from enerflo_sandbox.adapter import SandboxAdapter
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.exchange import Request
from enerflo_sandbox.faults import Faults, parse_script
from enerflo_sandbox.truth import Truth
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.enerflo.budget import RequestBudget, UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs.context import key_fingerprint
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.poll import PollOptions, poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.runs import RunReport

START = datetime(2026, 3, 2, 8, tzinfo=UTC)


@dataclass
class Company:
    """One simulated company, and the engine that polls it."""

    warehouse: sa.Engine
    world: World
    clock: VirtualClock
    before_request: Callable[[Request, World], None] | None = None
    faults: list[str] = field(default_factory=list)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    largest_page: int | None = None
    lean_lists: bool = False
    # Requests a minute, of the vendor's limit and of our budget alike; no limit on our side where None.
    limit: int | None = None
    account: str = "default"
    api: SandboxApi | None = None
    # Where several pollers ask one vendor.
    api_of: SandboxApi | None = None

    def client(self, calls: CallCounter, key: str = DEFAULT_KEY) -> EnerfloClient:
        self.api = self.api_of or SandboxApi(
            self.world,
            clock=self.clock,
            faults=Faults(script=[parse_script(text) for text in self.faults]),
            before_request=self.before_request,
            largest_page=self.largest_page,
            lean_lists=self.lean_lists,
            rate_limit=self.limit or 300,
        )
        session = requests.Session()
        session.mount("https://enerflo.io", SandboxAdapter(self.api))
        return EnerfloClient(
            session,
            "https://enerflo.io",
            key,
            budget=self._budget(key),
            clock=self.clock,
            rng=self.rng,
            on_call=calls.add,
        )

    def _budget(self, key: str) -> RequestBudget:
        if self.limit is None:
            return UnlimitedBudget()
        fingerprint = key_fingerprint(key)
        return WarehouseRequestBudget(self.warehouse, self.account, fingerprint, self.clock, limit=self.limit)

    def poll(self, *resources: PollResource, key: str = DEFAULT_KEY, **options: Any) -> RunReport:
        calls = CallCounter()
        options = {"per_page": 20, "min_per_page": 5, "read_ahead": 0} | options
        if resources:
            options["resources"] = frozenset(resources)
        report = poll(
            self.client(calls, key),
            self.warehouse,
            self.account,
            clock=self.clock,
            rng=self.rng,
            calls=calls,
            options=PollOptions(**options),
        )
        self.clock.advance(60)
        return report

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), values)]

    def mirror(self, table: str, columns: Iterable[str], where: str = "deleted_at is null") -> set[Any]:
        return mirrored(self.warehouse, table, columns, where)

    def assert_mirror_is_true(self) -> None:
        assert_mirror_is_true(self.warehouse, self.world.truth)


def mirrored(
    warehouse: sa.Engine, table: str, columns: Iterable[str], where: str = "deleted_at is null"
) -> set[Any]:
    query = sa.text(f"select {', '.join(columns)} from enerflo.{table} where {where}")
    with warehouse.connect() as connection:
        return {tuple(row) for row in connection.execute(query)}


def assert_mirror_is_true(warehouse: sa.Engine, truth: Truth) -> None:
    """The mirror equals what the company knows, row by row and column by column."""
    for table, rows in [
        ("installs", truth.installs()),
        ("milestones", truth.milestones()),
        ("customers", truth.customers()),
        ("change_orders", truth.change_orders()),
        ("change_order_adders", truth.adders()),
        ("install_statuses", truth.statuses()),
        ("notes", truth.notes(deleted=False)),
    ]:
        expected = [tuple(_stored(row)) for row in rows]
        columns = expected_columns(table)
        assert mirrored(warehouse, table, columns) == set(expected), table
        assert expected or table != "installs"


def expected_columns(table: str) -> list[str]:
    from enerflo_sandbox import truth

    row = {
        "installs": truth.InstallRow,
        "milestones": truth.MilestoneRow,
        "customers": truth.CustomerRow,
        "change_orders": truth.ChangeOrderRow,
        "change_order_adders": truth.AdderRow,
        "install_statuses": truth.StatusRow,
        "notes": truth.NoteRow,
    }[table]
    return list(row._fields)


def _stored(row: Any) -> list[Any]:
    """What PostgreSQL gives back for a row of the truth."""
    text_ids = {"survey_id", "adder_id"}
    return [
        str(value) if name in text_ids and value is not None else value
        for name, value in zip(row._fields, row, strict=True)
    ]


@pytest.fixture
def company(warehouse: sa.Engine) -> Company:
    clock = VirtualClock(START)
    return Company(warehouse, World(60, seed=3, start=START, clock=clock), clock)
