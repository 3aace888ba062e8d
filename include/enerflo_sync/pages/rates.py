"""The pass rate of each check over time, as a small line beside the check, with time to scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

DAYS: Final = 30
_NEWEST: Final = 6
# Runs of one job within this time become one point.
_AN_INSTANT: Final = timedelta(minutes=1)
# Possible lower ends of the axis; the highest one below all points is used.
_FEET: Final = (0.99, 0.95, 0.9, 0.75, 0.5, 0.0)


@dataclass(frozen=True)
class RatePoint:
    """The share of orders or installs that passed a check at the end of one run."""

    at: datetime
    rate: float


@dataclass(frozen=True)
class RateLine:
    """A check's rates as a line in a box of 100 by 20, time from left to right.

    :param points: as in ``points`` of an SVG polyline.
    :param foot: the rate at the lower edge of the box; the upper edge is 100 %.
    """

    points: str
    last: str
    foot: float
    rates: Sequence[RatePoint]


def _points_of(table: str, columns: str) -> sa.TextClause:
    return sa.text(f"""
/* enerflo-sync pages: the last run of each day, and the newest ones */
select finished_at, {columns} from (
  (select r.run_id, {columns}, finished_at from generate_series(
      date_trunc('day', :now, 'UTC') - make_interval(days => :days), date_trunc('day', :now, 'UTC'),
      interval '1 day') d (day)
    cross join lateral (
      select run_id, {columns}, finished_at from sync.{table} where account = :account
        and started_at >= d.day and started_at < d.day + interval '1 day'
      order by started_at desc limit 1) r)
  union
  (select run_id, {columns}, finished_at from sync.{table} where account = :account
    order by started_at desc limit :newest)
) r order by finished_at
""")  # noqa: S608 - constants


_ORDERS = _points_of("quality_runs", "checks")
_INSTALLS = _points_of("life_cycle_runs", "checks, installs")


def order_rates(connection: sa.Connection, account: str, now: datetime) -> dict[str, list[RatePoint]]:
    """Return by check the rates of change orders: the last run of each of 30 days, and the newest runs."""
    rates: dict[str, list[RatePoint]] = {}
    for row in connection.execute(_ORDERS, _values(account, now)):
        for check, count in row.checks.items():
            if count["checked"]:
                rate = 1 - count["failed"] / count["checked"]
                rates.setdefault(check, []).append(RatePoint(row.finished_at, rate))
    return rates


def install_rates(
    connection: sa.Connection, account: str, now: datetime, checks: Sequence[str]
) -> dict[str, list[RatePoint]]:
    """Return by check the rates of installs' life cycles, as :func:`order_rates`."""
    rates: dict[str, list[RatePoint]] = {}
    for row in connection.execute(_INSTALLS, _values(account, now)):
        for check in checks if row.installs else ():
            failed = row.checks.get(check, {}).get("installs", 0)
            rates.setdefault(check, []).append(RatePoint(row.finished_at, 1 - failed / row.installs))
    return rates


def _values(account: str, now: datetime) -> dict[str, Any]:
    return {"account": account, "now": now, "days": DAYS - 1, "newest": _NEWEST}


def rate_lines(rates: Mapping[str, Sequence[RatePoint]]) -> dict[str, RateLine]:
    """Return the lines of several checks, all on one axis of time."""
    times = [point.at for points in rates.values() for point in points]
    if not times:
        return {}
    start, span = min(times), max(times) - min(times)
    return {check: _line(points, start, span) for check, points in rates.items()}


def _line(points: Sequence[RatePoint], start: datetime, span: timedelta) -> RateLine:
    foot = next(foot for foot in _FEET if min(point.rate for point in points) >= foot)
    places = [
        f"{100 * ((point.at - start) / span) if span > _AN_INSTANT else 100:.0f},"
        f"{20 - 20 * (point.rate - foot) / (1 - foot):.0f}"
        for point in points
    ]
    # Only the first and the last of several points of the same height are corners.
    corners = [
        place
        for at, place in enumerate(places)
        if at in (0, len(points) - 1) or not points[at - 1].rate == points[at].rate == points[at + 1].rate
    ]
    return RateLine(" ".join(corners), places[-1], foot, points)
