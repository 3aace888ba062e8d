"""What is late: lists that polls did not read, old copies of the CRM, reconciliations, the first webhook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.gaps.unheard import unheard
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.schema import webhook_events

# The identity of an old copy is this and its table's name.
COPY_OF = "copy of "
# The identity of the one late reconciliation of an account.
RECONCILIATION = "reconciliation"

# A list that was never read whole counts from the first poll that asked for it. One that no poll asked for
# yet counts from the last poll that ended without it, if any: sync.yaml names it only since then.
_LISTS = sa.text("""
/* enerflo-sync notify: when each list was read whole */
select n.name, w.recorded_at is not null as was_read,
  coalesce(w.recorded_at, asked.at, without.at, first.at) as at,
  w.recorded_at is null and asked.at is null and without.at is not null as is_new
from unnest(cast(:names as text[])) n(name)
left join sync.watermarks w on w.account = :account and w.name = n.name
left join lateral (select started_at as at from sync.runs
  where w.name is null and account = :account and job = 'poll' and resources ? n.name
  order by started_at limit 1) asked on true
left join lateral (select started_at as at from sync.runs
  where w.name is null and account = :account and job = 'poll' and state in ('ok', 'partial')
  order by started_at desc limit 1) without on true
left join lateral (select started_at as at from sync.runs
  where w.name is null and account = :account and job = 'poll' order by started_at limit 1) first on true
order by n.name
""")

_COPIES = sa.text("""
/* enerflo-sync notify: when each copy of a CRM table was brought up to date */
select table_name as name, read_at as at from sync.crm_copies
where account = :account and table_name = any(cast(:names as text[])) order by table_name
""")

_RECONCILED = sa.text("""
/* enerflo-sync notify: when the newest reconciliation that ended began */
select max(started_at) from sync.reconciliations where account = :account and finished_at is not null
""")

_TOLD = sa.text("""
/* enerflo-sync notify: facts that people were told of */
select key, told_at from sync.told where account = :account and event = :event
""")

_SILENT = sa.text("""
/* enerflo-sync notify: copies of which no row arrived in time when they were last compared */
select t ->> 'table_name' as name, coalesce((t #>> '{late_copy,since}')::timestamptz, r.started_at) as at
from (
  select started_at, report from sync.reconciliations where account = :account and finished_at is not null
  order by started_at desc limit 1
) r cross join lateral jsonb_array_elements(r.report -> 'tables') t
where jsonb_typeof(t -> 'late_copy') = 'object' and t ->> 'table_name' = any(cast(:names as text[]))
order by 1
""")


@dataclass(frozen=True)
class UnreadDrop:
    """Webhooks lie in a drop, and no run ever looked into it: ``enerflo_webhooks`` was never switched on.

    :param since: when the first of the files was written; None where the drop could not be listed.
    """

    since: datetime | None
    files: int = 0


def polled_lists(config: SyncConfig) -> list[str]:
    """Return the lists that polls read and of which it is known when they were read whole."""
    polled = {str(name) for name in config.poll.resources}
    return [one.name for one in ALL if one.listing is not None and one.name in polled]


def read_lists(connection: sa.Connection, config: SyncConfig, account: str) -> Sequence[sa.Row[Any]]:
    """Return the account's polled lists with the time of the last whole read, or of the first poll."""
    names = {"account": account, "names": polled_lists(config)}
    return [row for row in connection.execute(_LISTS, names) if row.at is not None]


def stale_lists(
    connection: sa.Connection, config: SyncConfig, account: str, now: datetime
) -> list[dict[str, Any]]:
    """Return the lists that were not read whole although a poll was due, with the time of the last read.

    An account that was never polled has none. A list that people were told of is stale until it is read
    whole, whatever the limit is by then; a poll that asked for it and did not get all of it is no such read.
    """
    schedule = config.account(account).schedule
    due = cron(schedule.poll, schedule.time_zone)
    limit = timedelta(hours=config.notify.stale_hours)
    told = _told(connection, account, NotifyEvent.MIRROR_STALE)
    return [
        {"name": row.name, "at": row.at.isoformat(), "was_read": row.was_read, "is_new": row.is_new}
        for row in read_lists(connection, config, account)
        if due(row.at) + limit < now or (row.name in told and (not row.was_read or row.at < told[row.name]))
    ]


def late_reconciliation(
    connection: sa.Connection, config: SyncConfig, account: str, now: datetime
) -> list[dict[str, Any]]:
    """Return the newest reconciliation's time if none ended since although one was due; else nothing.

    An account that was never reconciled has none. If people were told, it is late until one ends, whatever
    the limit is by then.
    """
    at: datetime | None = connection.scalar(_RECONCILED, {"account": account})
    if at is None or not config.tables_for(account):
        return []
    schedule = config.account(account).schedule
    due = cron(schedule.reconcile, schedule.time_zone)
    told = _told(connection, account, NotifyEvent.RECONCILE_LATE).get(RECONCILIATION)
    is_late = due(at) + timedelta(hours=config.notify.stale_hours) < now or (told is not None and at < told)
    return [{"name": RECONCILIATION, "at": at.isoformat()}] if is_late else []


def first_webhook(
    connection: sa.Connection, config: SyncConfig, account: str, now: datetime, unread: UnreadDrop | None
) -> list[dict[str, Any]]:
    """Return since when the account waits for its first webhook, if one is overdue; else nothing.

    Files that lie in a drop which nobody looks into are overdue after as many hours. Of a drop that cannot be
    listed nothing is known, so what was told of it stands.
    """
    if not config.account(account).has_drop:
        return []
    is_told = bool(_told(connection, account, NotifyEvent.WEBHOOKS_SILENT))
    if unread is not None:
        limit = now - timedelta(hours=config.notify.silent_hours)
        if is_told or (unread.since is not None and unread.since <= limit):
            return [
                {"at": (unread.since or now).isoformat(), "unread": unread.files or None, "not_looked": True}
            ]
        return []
    found = unheard(connection, account, now, hours=config.notify.silent_hours, is_told=is_told)
    if found is None:
        return []
    return [{"at": found.since.isoformat(), "changes": found.changes or None, "files": found.files or None}]


def heard(connection: sa.Connection, account: str) -> bool:
    """Return whether a webhook of the account was ever ingested."""
    events = sa.select(webhook_events.c.event_id).where(webhook_events.c.account == account)
    return bool(connection.scalar(sa.select(sa.exists(events))))


def _told(connection: sa.Connection, account: str, event: NotifyEvent) -> dict[str, datetime]:
    found = connection.execute(_TOLD, {"account": account, "event": str(event)})
    return dict(found.tuples().all())


def late_copies(
    connection: sa.Connection, config: SyncConfig, account: str, now: datetime
) -> list[dict[str, Any]]:
    """Return the copies of CRM tables that are old, with the time as of which each is.

    A copy is old if no reconciliation brought it up to date although one was due, or if the newest
    reconciliation found that no row arrived in it for ``arrives_within_hours``. A copy that people were told
    of is old until a reconciliation brings it up to date, whatever ``stale_hours`` is by then.
    """
    settings = config.account(account)
    named = {"account": account, "names": list(config.tables_for(account))}
    old: dict[str, datetime] = {}
    if any(table.arrives_within_hours is not None for table in config.tables_for(account).values()):
        old = {row.name: row.at for row in connection.execute(_SILENT, named)}
    if settings.crm is not None:
        due = cron(settings.schedule.reconcile, settings.schedule.time_zone)
        limit = timedelta(hours=config.notify.stale_hours)
        told = _told(connection, account, NotifyEvent.CRM_COPY_LATE)
        old |= {
            row.name: row.at
            for row in connection.execute(_COPIES, named)
            if due(row.at) + limit < now or row.at < told.get(COPY_OF + row.name, row.at)
        }
    return [{"name": name, "at": at.isoformat()} for name, at in sorted(old.items())]


def is_watched(config: SyncConfig, account: str, event: NotifyEvent, key: str) -> bool:
    """Return whether the configuration still has a fact looked at; if not, its end says nothing of it.

    :param key: the identity of the fact, as people were told of it.
    """
    if event is NotifyEvent.MIRROR_STALE:
        return key in polled_lists(config)
    if event is NotifyEvent.WEBHOOKS_SILENT:
        return config.account(account).has_drop
    if event is NotifyEvent.RECONCILE_LATE:
        return bool(config.tables_for(account))
    if event is not NotifyEvent.CRM_COPY_LATE:
        return True
    tables = {str(name): table for name, table in config.tables_for(account).items()}
    if key in tables:
        return tables[key].handed_to is not None
    table = tables.get(key.removeprefix(COPY_OF))
    if table is None:
        return False
    arrives = table.arrives_within_hours is not None and table.reconcile
    return arrives or config.account(account).crm is not None


def handed_over(config: SyncConfig, account: str) -> Sequence[dict[str, Any]]:
    """Return the tables whose changes are handed over, with the hours after which a change is late."""
    return [
        {"table_name": str(name), "late_hours": float(table.handed_to.late_hours)}
        for name, table in config.tables_for(account).items()
        if table.handed_to is not None
    ]
