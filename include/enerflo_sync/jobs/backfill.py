"""Backfills: read windows of dates, named installs, or everything, at lower priority than other work."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from enerflo_sync.backfill.backfills import Backfills
from enerflo_sync.backfill.context import BackfillOptions, Context, PlannedTable
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import MIRROR_TABLES, Side, SourceOfTruth
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.request_lanes import Lane
from enerflo_sync.warehouse.revision import require_migrated


def open_backfills(
    context: AccountContext, *, progress: Progress | None = None, workers: int = 1
) -> Backfills:
    """Return the account's backfills (:mod:`enerflo_sync.backfill.backfills`), which yield to all other work.

    :param workers: chunks read in parallel.
    """
    require_migrated(context.engine)
    settings = context.config.poll
    options = BackfillOptions(
        mapping_hash=mapping_hash(context.config, context.account),
        per_page=settings.per_page,
        min_per_page=settings.min_per_page,
        notes_lookback=timedelta(minutes=settings.lookback_minutes),
        shrink_guard=settings.shrink_guard_percent / 100,
        component_keys=ComponentKeys(**context.config.change_orders.model_dump()),
        workers=workers,
        planned=planned_tables(context.config, context.account),
        accounts=frozenset(context.config.names),
    )
    return Backfills(
        Context(
            context.client_in(Lane.BACKFILL),
            context.engine,
            context.account,
            context.clock,
            context.rng,
            context.calls,
            options,
            progress or (lambda *_: None),
        )
    )


def mapping_hash(config: SyncConfig, account: str) -> str:
    """Return the sha-256 of the configuration that reads and compares an account's records."""
    keys = config.change_orders.model_dump_json()
    return hashlib.sha256(f"{config.hash(account)}|{keys}".encode()).hexdigest()


def planned_tables(config: SyncConfig, account: str) -> dict[str, PlannedTable]:
    """Return, by table of ``sync.yaml``, the mirror columns that a plan may write to the CRM."""
    return {
        name: PlannedTable(
            frozenset(
                field.enerflo
                for field in table.fields.values()
                if field.source_of_truth is not SourceOfTruth.CRM
            ),
            Side.CRM in table.create_in,
            MIRROR_TABLES[table.kind(name)],
        )
        for name, table in config.tables_for(account).items()
    }
