"""An account's requests to Enerflo by hour and lane, and the forecast for the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from enerflo_sync.reconcile.render.chart import round_up
from enerflo_sync.warehouse.request_lanes import backfill_rate
from enerflo_sync.warehouse.request_standing import Standing, standing

HOURS: Final = 24
_HOUR: Final = timedelta(hours=1)
_WINDOW_SECONDS: Final = 60

_CALLS = sa.text("""
/* enerflo-sync pages: requests by hour */
select hour, sum(calls)::bigint as calls, sum(throttled)::bigint as throttled, sum(failed)::bigint as failed
from sync.api_calls where account = :account and hour >= :since group by hour
""")

# A chunk stores its requests and its time; an estimate sends its requests when it is made.
_BACKFILLS = sa.text("""
/* enerflo-sync pages: requests of backfills, with their time */
select b.created_at as start, b.created_at as until, b.requests, 0::bigint as left
from sync.backfills b where b.account = :account and b.created_at >= :since
union all
select c.started_at, coalesce(c.finished_at, b.touched_at), c.requests, 0
from sync.backfills b join sync.backfill_chunks c using (account, backfill_id)
where b.account = :account and b.touched_at >= :since and c.started_at is not null
  and coalesce(c.finished_at, b.touched_at) >= :since
union all
select null, null, 0, greatest(0,
  coalesce((b.estimate ->> 'install_requests')::bigint, 0)
  + coalesce((b.estimate ->> 'detail_requests')::bigint, 0)
  + coalesce((select sum(v.value::bigint) from jsonb_each_text(b.estimate -> 'list_requests') v), 0)
  - (select coalesce(sum(c.requests), 0) from sync.backfill_chunks c
     where c.account = b.account and c.backfill_id = b.backfill_id))::bigint
from sync.backfills b where b.account = :account and b.state = 'reading'
""")


@dataclass(frozen=True)
class HourOfCalls:
    """The requests of one hour, by lane."""

    at: datetime
    live: int
    backfill: int
    refused: int

    @property
    def calls(self) -> int:
        """Return all requests of the hour."""
        return self.live + self.backfill


@dataclass(frozen=True)
class Forecast:
    """The requests of a UTC day: those until now, and the expected rest.

    :param live: expected for the rest: the same hours of yesterday, or the mean hour if unknown.
    :param backfill: expected for the rest: what running backfills still have to read, at their pace beside
        live work.
    :param days_limit: the most requests that the key may send in a whole day.
    """

    until_now: int
    live: int
    backfill: int
    days_limit: int

    @property
    def total(self) -> int:
        """Return the expected requests of the whole day."""
        return self.until_now + self.live + self.backfill


@dataclass(frozen=True)
class ApiBudget:
    """The state of an account's request budget.

    :param hours: the last 24 hours, oldest first; the last one is the present hour.
    :param keys: the budget of each key that was ever used.
    :param top: the upper end of the chart's axis.
    """

    keys: Sequence[Standing]
    hours: Sequence[HourOfCalls]
    forecast: Forecast | None
    top: int

    @property
    def live(self) -> int:
        """Return the requests of live work."""
        return sum(hour.live for hour in self.hours)

    @property
    def backfill(self) -> int:
        """Return the requests of backfills."""
        return sum(hour.backfill for hour in self.hours)

    @property
    def refused(self) -> int:
        """Return the answers of 429, and the other failures."""
        return sum(hour.refused for hour in self.hours)

    @property
    def newest(self) -> Standing | None:
        """Return the budget of the key that was used last."""
        never = datetime.min.replace(tzinfo=UTC)
        return max(self.keys, key=lambda one: one.updated_at or never, default=None)


def read_api_budget(connection: sa.Connection, account: str, now: datetime) -> ApiBudget:
    """Return the account's requests of the last 24 hours by lane, and the forecast for the day.

    Requests are counted by hour. A backfill counts its requests by chunk; these are spread over the chunk's
    time, and all other requests are live work.
    """
    this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    since = this_hour - (HOURS - 1) * _HOUR
    keys = standing(connection, account)
    # One more hour than is shown: at 14:20, the remaining hours of yesterday begin at 14:00.
    values = {"account": account, "since": since - _HOUR}
    calls = {row.hour: row for row in connection.execute(_CALLS, values)}
    rows = connection.execute(_BACKFILLS, values).all()
    hours = [_hour(since + at * _HOUR, calls, rows) for at in range(-1, HOURS)]
    shown = hours[1:]
    newest = ApiBudget(keys, shown, None, 1).newest
    return ApiBudget(
        keys=keys,
        hours=shown,
        forecast=None if newest is None else _forecast(hours, newest.limit_per_window, rows, now),
        top=round_up(max(1, *(hour.calls for hour in shown))),
    )


def _hour(at: datetime, calls: dict[datetime, Any], rows: Sequence[Any]) -> HourOfCalls:
    found = calls.get(at)
    total = found.calls if found else 0
    backfill = min(total, round(sum(_share(row, at) for row in rows if row.start is not None)))
    refused = found.throttled + found.failed if found else 0
    return HourOfCalls(at, total - backfill, backfill, refused)


def _share(row: Any, at: datetime) -> float:
    """Return how many requests of a chunk fall into an hour."""
    if row.until - row.start < timedelta(seconds=1):
        return float(row.requests) if at <= row.start < at + _HOUR else 0.0
    inside = min(row.until, at + _HOUR) - max(row.start, at)
    return max(0.0, float(row.requests * (inside / (row.until - row.start))))


def _forecast(
    hours: Sequence[HourOfCalls], limit: int, rows: Sequence[Any], now: datetime
) -> Forecast | None:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = [hour for hour in hours if hour.at >= midnight]
    yesterday = [hour for hour in hours if hour.at < midnight]
    seconds_left = (midnight + timedelta(days=1) - now).total_seconds()
    begun = next((hour for hour in hours if hour.calls), None)
    if begun is None:
        return None
    if begun.at <= hours[1].at:
        # Of yesterday's hour at the present time, only the remaining part is expected.
        first, *others = yesterday or [hours[0]]
        part = 1 - (now - hours[-1].at) / _HOUR
        live = first.live * part + sum(hour.live for hour in others)
    else:
        live = sum(hour.live for hour in hours) / max((now - begun.at) / _HOUR, 1) * seconds_left / 3600
    rate = backfill_rate(limit, _WINDOW_SECONDS, beside_live=True)
    left = sum(row.left for row in rows)
    return Forecast(
        until_now=sum(hour.calls for hour in today),
        live=round(live),
        backfill=round(min(left, rate * seconds_left)),
        days_limit=limit * 60 * 24,
    )
