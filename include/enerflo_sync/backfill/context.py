"""What every step of a backfill works with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.company import CompanyGuard
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.request_lanes import backfill_rate

Progress = Callable[[str, int, int | None], None]

# Chunks that are read at once unless somebody says otherwise: enough for the whole budget while a page takes
# no longer than a third of a second with its storing, and each one holds a page and what is made of it.
WORKERS = 2


@dataclass(frozen=True)
class PlannedTable:
    """What a plan would make of a mirror table's changes.

    :param columns: the mirror's columns that are written to the CRM.
    :param creates: whether a record that the CRM lacks is created there.
    :param mirror: the mirror's table, where the CRM's has another name.
    """

    columns: frozenset[str]
    creates: bool
    mirror: str = ""


@dataclass(frozen=True)
class BackfillOptions:
    """How a backfill reads.

    :param mapping_hash: of the configuration by which records are read and written; a resume needs the same.
    :param limit: requests that the key may send in ``window_seconds``.
    :param workers: chunks read at once in one process; 1 in a simulation.
    :param chunk_seconds: what a chunk is worth at least.
    :param most_chunks: chunks of a resource at most, so that an orchestrator can take each as a task.
    :param samples: pages that the estimate reads.
    :param planned: by the name of the CRM's table in ``sync.yaml``.
    The others are as :class:`enerflo_sync.mirror.poll.PollOptions` has them.
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

    def rate(self, *, beside_live: bool = False) -> float:
        """Return the requests a second that a backfill gets in the long run."""
        return backfill_rate(self.limit, self.window_seconds, beside_live=beside_live)


@dataclass(frozen=True)
class Context:
    """One account, as a backfill sees it.

    :param client: sends in the backfill lane and counts its calls in ``calls``.
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
        """Return what refuses another company's answers."""
        return CompanyGuard(self.client, self.engine, self.account)

    def observation(self, backfill_id: str, observed_at: datetime) -> Observation:
        """Return who saw what was asked for at that moment."""
        return Observation(self.account, observed_at, "backfill", f"backfill:{backfill_id}")
