"""Ingest: turn the drop's webhook payloads into events and mirror rows."""

from __future__ import annotations

from datetime import date, timedelta

from enerflo_sync.crm.kept_days import option_of
from enerflo_sync.crm.retention import Kept
from enerflo_sync.crm.webhook_places import require_own_archive, require_own_drop
from enerflo_sync.drop.drop import Drop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.inbox.archive_again import archive_again
from enerflo_sync.inbox.batch import MEGABYTE, Limits
from enerflo_sync.inbox.hydrate import HydrateOptions
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.inbox.kinds import not_asked_for
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated
from enerflo_sync.warehouse.runs import RunReport


def run_ingest(
    context: AccountContext,
    *,
    run_id: str | None = None,
    progress: Progress | None = None,
    read_ahead: int = 1,
    archive_since: date | None = None,
) -> RunReport:
    """Load dropped webhook payloads into the mirror (:func:`enerflo_sync.inbox.ingest.ingest`).

    :param archive_since: instead of the drop, read the archive's files from this day on that the warehouse
        does not know: after it was set back to an earlier moment.
    :raises ConfigurationError: another account has a part in the drop, or, where it is read, in the archive.
    """
    require_migrated(context.engine)
    drop: Drop = open_account_drop(context)
    require_own_drop(context.config, context.account)
    if archive_since is not None:
        require_own_archive(context.config, context.account)
        with warehouse_errors("ingest"), context.engine.connect() as connection:
            drop = archive_again(connection, drop, context.account, archive_since)
    return ingest(
        context.client,
        context.engine,
        drop,
        context.account,
        clock=context.clock,
        rng=context.rng,
        calls=context.calls,
        options=ingest_options(context, read_ahead),
        run_id=run_id,
        progress=progress,
    )


def open_account_drop(context: AccountContext) -> Drop:
    """Return the account's drop for webhook payloads, without accessing it.

    :raises ConfigurationError: no drop is configured, its storage library is not installed, or Airflow has no
        connection for it.
    """
    return open_drop(
        context.settings.need("webhook_drop_uri"),
        context.settings.webhook_archive_uri,
        context.config.webhooks.settle_seconds,
        context.credentials.storage,
    )


def ingest_options(context: AccountContext, read_ahead: int = 1) -> IngestOptions:
    """Return the account's options for ingesting webhook payloads."""
    settings = context.config.webhooks
    _, archive_days = option_of(context.config, Kept.ARCHIVE)
    return IngestOptions(
        limits=Limits(
            file=settings.max_file_mb * MEGABYTE,
            event=settings.max_event_mb * MEGABYTE,
            ignored=not_asked_for(context.config.poll.resources) | frozenset(settings.ignored_events),
        ),
        hydration=HydrateOptions(
            most=settings.max_records,
            not_found_for=timedelta(minutes=settings.not_found_minutes),
            shrink_guard=context.config.poll.shrink_guard_percent / 100,
            component_keys=ComponentKeys(**context.config.change_orders.model_dump()),
            accounts=frozenset(context.config.names),
        ),
        keep_archive=None if archive_days is None else timedelta(days=archive_days),
        read_ahead=read_ahead,
    )
