"""The figures of an account for a monitoring system: what is late, and what waits."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.notify.late import read_lists
from enerflo_sync.pages.waiting import oldest_waiting
from enerflo_sync.plan.parked import held_values
from enerflo_sync.plan.retry import PARKED
from enerflo_sync.warehouse.request_standing import standing

# A plan can be applied for at most 30 days (approval.expires_hours), so older plans have no queue.
_FIGURES = sa.text(f"""
/* enerflo-sync figures: what waits */
select
  (select max(received_at) from sync.webhook_events where account = :account) as webhook_at,
  (select count(*) from sync.webhook_events where account = :account and state = 'received') as events,
  (select min(received_at) from sync.webhook_events where account = :account and state = 'received')
    as event_at,
  (select count(*) from ({PARKED}) p) as parked,
  (select count(*) from sync.plans where account = :account and state = 'open' and needs_approval
     and mode <> 'report' and expires_at > :now) as plans,
  (select count(*) from sync.plans p join sync.plan_changes c using (account, plan_hash)
   where p.account = :account and p.state = 'approved' and p.created_at > :now - interval '31 days'
     and c.state in ('planned', 'sent')) as queued,
  (select count(*) from sync.crm_changes
   where account = :account and ended_at is null and state = 'open') as handed_over
""").bindparams(sa.bindparam("since", type_=sa.Interval), sa.bindparam("writes", type_=JSONB))  # noqa: S608


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures at one moment. Ages are in seconds; None if there is nothing to measure.

    :param lateness: age of the oldest of the newest complete reads of polled lists.
    :param webhook_age: age of the newest webhook.
    :param budget_used: the used share of the last minute's requests, of the key used last, from 0 to 1.
    :param budget_blocked: how many seconds that key must wait.
    :param events: webhook events that are not applied yet; ``event_age`` is the age of the oldest one.
    :param plans: plans that wait for an approval.
    :param parked: writes that could not be made.
    :param queued: approved writes that are not made yet.
    :param handed_over: writes that the CRM's copy does not show yet.
    :param inbox: entries that wait for a person; ``inbox_age`` is the age of the oldest one.
    """

    lateness: float | None
    webhook_age: float | None
    budget_used: float | None
    budget_blocked: float | None
    events: int
    event_age: float | None
    plans: int
    parked: int
    queued: int
    handed_over: int
    inbox: int
    inbox_age: float | None


def read_figures(connection: sa.Connection, config: SyncConfig, account: str, now: datetime) -> Figures:
    """Return the account's figures."""
    row = connection.execute(_FIGURES, {**held_values(config, account), "now": now}).one()
    oldest = min((one.at for one in read_lists(connection, config, account)), default=None)
    inbox, since = oldest_waiting(connection, account, config)
    keys = [one for one in standing(connection, account) if one.updated_at is not None]
    key = max(keys, key=lambda one: one.updated_at or now, default=None)

    def age(at: datetime | None) -> float | None:
        return None if at is None else max(0.0, (now - at).total_seconds())

    return Figures(
        lateness=age(oldest),
        webhook_age=age(row.webhook_at),
        budget_used=None if key is None else key.used_in_last_minute / max(1, key.limit_per_window),
        budget_blocked=None if key is None else key.blocked_seconds,
        events=row.events,
        event_age=age(row.event_at),
        plans=row.plans,
        parked=row.parked,
        queued=row.queued,
        handed_over=row.handed_over,
        inbox=inbox,
        inbox_age=age(since),
    )
