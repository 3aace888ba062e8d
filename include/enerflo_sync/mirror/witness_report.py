"""Compare poll and webhooks: which of them saw the changes of the last days, per event and day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

# After this time, a change that only the poll saw counts as missed, and a webhook's change that the next
# complete poll did not find counts as unconfirmed.
GRACE = timedelta(hours=1)
DAYS = 14


class WitnessFigures(msgspec.Struct, frozen=True):
    """Number of changes by who saw them; ``event`` and ``day`` are None in a total.

    Each change counts in exactly one of ``both``, ``missed``, ``unconfirmed``, ``replaced`` and ``waiting``.

    :param event: the event that Enerflo should send for such a change.
    :param day: the UTC day on which the change was first seen.
    :param told: changes with a webhook, whoever else saw them.
    :param both: poll and webhook saw the change.
    :param late: of ``both``: the webhook arrived after the poll had seen the change.
    :param missed: the poll saw the change, and no webhook came within an hour.
    :param unconfirmed: a webhook reported the change, and a complete poll an hour later did not find it.
    :param replaced: a webhook reported the change, and the record changed again before a poll came.
    :param waiting: the other witness still has time.
    :param delay_p50: median seconds from the change to its webhook; None if the source has no time for its
        changes and no webhook was late.
    """

    event: str | None
    day: date | None
    changes: int
    told: int
    both: int
    late: int
    missed: int
    unconfirmed: int
    replaced: int
    waiting: int
    delay_p50: float | None
    delay_p95: float | None
    delay_max: float | None


class WitnessReport(msgspec.Struct, frozen=True):
    """The figures of one account.

    :param webhooks_since: when the account's first webhook arrived; None without any. Earlier changes are in
        no figure, because no webhook could report them.
    """

    account: str
    since: datetime
    until: datetime
    webhooks_since: datetime | None
    total: WitnessFigures
    by_event: Sequence[WitnessFigures]
    by_day: Sequence[WitnessFigures]


_FIRST_WEBHOOK = sa.text("""
/* enerflo-sync witnesses: the account's first webhook */
select min(received_at) from sync.webhook_events where account = :account
""")

_FIGURES = sa.text("""
/* enerflo-sync witnesses: figures per event and day */
with told as (
  select w.event, (least(w.poll_seen_at, w.webhook_seen_at) at time zone 'UTC')::date as day,
    w.webhook_seen_at is not null as by_webhook,
    w.webhook_seen_at > w.poll_seen_at as late,
    case
      when w.poll_seen_at is not null and w.webhook_seen_at is not null then 'both'
      when w.webhook_seen_at is null and w.poll_seen_at <= :now - :grace then 'missed'
      when w.webhook_seen_at is null then 'waiting'
      when exists (
        select from sync.witnesses n
        where n.account = w.account and n.record = w.record and n.content_hash <> w.content_hash
          and least(n.poll_seen_at, n.webhook_seen_at) > w.webhook_seen_at
      ) then 'replaced'
      when p.value >= w.webhook_seen_at + :grace then 'unconfirmed'
      else 'waiting'
    end as outcome,
    extract(epoch from case
      when w.webhook_seen_at is null then null
      when w.changed_at is not null then greatest(w.webhook_seen_at - w.changed_at, interval '0')
      when w.webhook_seen_at > w.poll_seen_at then w.webhook_seen_at - w.poll_seen_at
    end)::float8 as delay
  from sync.witnesses w
  left join sync.watermarks p on p.account = w.account and p.name = split_part(w.record, '/', 1)
  where w.account = :account and least(w.poll_seen_at, w.webhook_seen_at) between :since and :now
)
select event, day,
  count(*) as changes,
  count(*) filter (where by_webhook) as told,
  count(*) filter (where outcome = 'both') as both,
  count(*) filter (where late) as late,
  count(*) filter (where outcome = 'missed') as missed,
  count(*) filter (where outcome = 'unconfirmed') as unconfirmed,
  count(*) filter (where outcome = 'replaced') as replaced,
  count(*) filter (where outcome = 'waiting') as waiting,
  percentile_cont(0.5) within group (order by delay) as delay_p50,
  percentile_cont(0.95) within group (order by delay) as delay_p95,
  max(delay) as delay_max
from told
group by grouping sets ((event, day), (event), ())
order by day desc nulls last, event
""")


def witness_report(
    connection: sa.Connection, account: str, now: datetime, *, days: int = DAYS
) -> WitnessReport:
    """Return the figures of the last ``days`` UTC calendar days including today, with one statement.

    :param days: at least 1; rows older than :data:`enerflo_sync.mirror.witnesses.RETENTION` are deleted.
    """
    first: datetime | None = connection.scalar(_FIRST_WEBHOOK, {"account": account})
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = midnight - timedelta(days=days - 1)
    # Without any webhook ever received, no change can be missed, so count nothing.
    values = {"account": account, "now": now, "grace": GRACE, "since": max(since, first) if first else now}
    rows: list[Any] = list(connection.execute(_FIGURES, values)) if first else []
    figures = [WitnessFigures(**row._mapping) for row in rows]
    return WitnessReport(
        account=account,
        since=since,
        until=now,
        webhooks_since=first,
        total=next((one for one in figures if one.event is None), _NOTHING),
        by_event=[one for one in figures if one.event is not None and one.day is None],
        by_day=[one for one in figures if one.day is not None],
    )


_NOTHING = WitnessFigures(None, None, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)
