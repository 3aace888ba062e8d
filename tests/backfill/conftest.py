"""A simulated company, the warehouse that mirrors it, and backfills of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import World
from enerflo_sync.backfill.backfills import Backfills
from enerflo_sync.backfill.context import BackfillOptions, Context
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.request import (
    ALL_PARTS,
    BackfillRequest,
    Part,
    named_request,
    whole_request,
    window_request,
)
from enerflo_sync.enerflo.budget import RequestBudget
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs.context import key_fingerprint
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane
from tests.mirror.conftest import START, Company

_SEEN = "to_jsonb(t) - 'account' - 'observed_at' - 'observed_by'"
# What the mirror says of records, without who saw them when.
CONTENT = {
    "installs": "to_jsonb(t) - 'account' - 'observed_at' - 'observed_by' - 'detail_read_at'",
    "milestones": _SEEN,
    **dict.fromkeys(("notes", "change_orders", "change_order_adders"), _SEEN),
    "install_versions": "jsonb_build_array(install_id, content_hash, raw)",
}


@dataclass
class Desk(Company):
    """One simulated company, the engine that polls it, and backfills in their own lane."""

    key: str = DEFAULT_KEY

    def budget_of(self, key: str, lane: Lane) -> RequestBudget:
        assert self.limit is not None
        return WarehouseRequestBudget(
            self.warehouse, self.account, key_fingerprint(key), self.clock, limit=self.limit, lane=lane
        )

    def backfills(self, **options: Any) -> Backfills:
        calls = CallCounter()
        client: EnerfloClient = self.client(calls, self.key)
        if self.limit is not None:
            client._budget = self.budget_of(self.key, Lane.BACKFILL)
        options = {"per_page": 20, "min_per_page": 5} | options
        return Backfills(
            Context(
                client, self.warehouse, self.account, self.clock, self.rng, calls, BackfillOptions(**options)
            )
        )

    def backfill(self, request: BackfillRequest, **options: Any) -> BackfillReport:
        report = self.backfills(**options).backfill(request)
        self.clock.advance(60)
        return report

    def window(
        self, start: str | None, end: str | None, parts: frozenset[Part] = ALL_PARTS
    ) -> BackfillRequest:
        return window_request(start, end, now=self.clock.now(), parts=parts)

    def everything(self, parts: frozenset[Part] = ALL_PARTS) -> BackfillRequest:
        return whole_request(parts=parts)

    def named(self, *ids: int, deals: tuple[str, ...] = ()) -> BackfillRequest:
        return named_request(ids, deals)

    def day(self, days_ago: float) -> str:
        """Return a day of the company's history as it is given on the command line."""
        return (START - timedelta(days=days_ago)).date().isoformat()

    def created(self) -> dict[int, datetime]:
        return {row.install_id: row.created_at for row in self.world.truth.installs()}

    def of_window(self, request: BackfillRequest) -> set[int]:
        return {install_id for install_id, at in self.created().items() if request.holds(at)}

    def mirrored(self) -> set[int]:
        return {
            row[0] for row in self.rows("select install_id from enerflo.installs where deleted_at is null")
        }

    def content(self, *tables: str) -> dict[str, list[Any]]:
        return {
            table: self.rows(
                f"select {CONTENT[table]} as c from enerflo.{table} t where account = :account order by c",
                account=self.account,
            )
            for table in tables or CONTENT
        }


def assert_identity(report: BackfillReport) -> None:
    counted = report.new + report.changed + report.unchanged + report.quarantined + report.skipped
    assert report.read == counted, report


def desk_of(warehouse: sa.Engine, installs: int = 200, **options: Any) -> Desk:
    clock = VirtualClock(START)
    return Desk(warehouse, World(installs, seed=3, start=START, clock=clock), clock, **options)


@pytest.fixture
def desk(warehouse: sa.Engine) -> Desk:
    return desk_of(warehouse)
