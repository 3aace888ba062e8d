"""Shared parts of every backfill step."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.request_lanes import backfill_rate

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

Progress = Callable[[str, int, int | None], None]

# Default number of chunks read in parallel: enough to use the whole budget while a page takes at most a third
# of a second, storing included. Each parallel chunk holds one page and its rows in memory.
WORKERS = 2


@dataclass(frozen=True)
class PlannedTable:
    """A mirror table whose changes a plan would write to the CRM.

    :param columns: mirror columns that are written to the CRM.
    :param creates: a record that the CRM lacks is created there.
    :param mirror: the mirror table, where the CRM's has another name.
    """

    columns: frozenset[str]
    creates: bool
    mirror: str = ""


@dataclass(frozen=True)
class BackfillOptions:
    """How a backfill reads.

    :param mapping_hash: of the configuration that reads and writes records; a resume requires the same.
    :param limit: requests that the key may send in ``window_seconds``.
    :param workers: chunks read in parallel in one process; 1 in a simulation.
    :param chunk_seconds: minimum duration of a chunk.
    :param most_chunks: maximum chunks per resource, so that an orchestrator can run each as a task.
    :param samples: pages that the estimate reads.
    :param planned: by the name of the CRM's table in ``sync.yaml``.
    The others are as in :class:`enerflo_sync.mirror.poll.PollOptions`.
    """

    mapping_hash: str = ""
    per_page: int = 500
    min_per_page: int = 25
    notes_lookback: timedelta = timedelta(minutes=15)
    shrink_guard: float = 0.2
    confirmations: int = 50
    component_keys: ComponentKeys = ComponentKeys()  # noqa: RUF009 - frozen
    limit: int = 300
    window_seconds: float = 62.0
    workers: int = 1
    chunk_seconds: float = 30.0
    most_chunks: int = 50
    samples: int = 3
    planned: Mapping[str, PlannedTable] = field(default_factory=dict)
    accounts: frozenset[str] | None = None

    def rate(self, *, beside_live: bool = False) -> float:
        """Return the requests per second that a backfill gets in the long run."""
        return backfill_rate(self.limit, self.window_seconds, beside_live=beside_live)


@dataclass(frozen=True)
class Context:
    """One account during a backfill.

    :param client: sends in the budget's backfill lane and counts its calls in ``calls``.
    """

    client: EnerfloClient
    engine: sa.Engine
    account: str
    clock: Clock
    rng: random.Random
    calls: CallCounter
    options: BackfillOptions = field(default_factory=BackfillOptions)
    progress: Progress = field(default=lambda *_: None)

    @cached_property
    def company(self) -> CompanyGuard:
        """Return the guard that refuses another company's answers."""
        return CompanyGuard(self.client, self.engine, self.account, configured=self.options.accounts)

    def observation(self, backfill_id: str, observed_at: datetime) -> Observation:
        """Return the observation for records requested at that moment."""
        return Observation(self.account, observed_at, "backfill", f"backfill:{backfill_id}")
