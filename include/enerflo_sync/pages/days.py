"""Reconciliations by day, each with the verdict of the day's last run; and a chart of the days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from enerflo_sync.pages.verdicts import verdict_of_row
from enerflo_sync.reconcile.render.cause_texts import CAUSE_ORDER
from enerflo_sync.reconcile.render.chart import round_up
from enerflo_sync.reconcile.render.stored_verdict import StoredVerdict
from enerflo_sync.reconcile.report import Cause

DAYS: Final = 30
_DAY = timedelta(days=1)
# The least height of a part, so that one difference among a million is visible.
_LEAST: Final = 1.5

# Jumps from day to day by the index, so that a day takes the same time however many runs it has.
_BY_DAY = sa.text("""
/* enerflo-sync pages: reconciliations by day */
with recursive days (started_at, nth) as (
  select max(started_at), 1 from sync.reconciliations
  where account = :account and started_at < :before and started_at >= :from
  union all
  select (select max(r.started_at) from sync.reconciliations r where r.account = :account
      and r.started_at < date_trunc('day', d.started_at, 'UTC') and r.started_at >= :from), d.nth + 1
  from days d where d.started_at is not null and d.nth < :most
)
select r.reconciliation_id, r.started_at, r.finished_at, r.summary,
  case when r.summary is null then r.report end as report,
  (select count(*) from sync.reconciliations o where o.account = :account
     and o.started_at >= date_trunc('day', d.started_at, 'UTC')
     and o.started_at < date_trunc('day', d.started_at, 'UTC') + interval '1 day') as runs
from days d
join lateral (
  select * from sync.reconciliations c where c.account = :account and c.started_at = d.started_at
  order by c.compared_until desc limit 1
) r on true
order by r.started_at desc
""")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Day:
    """A day of UTC with reconciliations.

    :param start: its midnight; :param runs: how many there were.
    :param verdict: that of the last one.
    """

    start: datetime
    runs: int
    reconciliation_id: str
    started_at: datetime
    finished_at: datetime
    verdict: StoredVerdict


def day_of(moment: datetime) -> datetime:
    """Return the start of a moment's day in UTC."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def read_days(
    connection: sa.Connection,
    account: str,
    before: datetime,
    *,
    since: datetime = _EARLIEST,
    most: int = DAYS,
) -> list[Day]:
    """Return days with reconciliations, newest first.

    :param before: only runs that began before this; :param since: only runs that began at or after this.
    """
    values = {"account": account, "before": before, "from": since, "most": most}
    rows = connection.execute(_BY_DAY, values).mappings()
    return [
        Day(
            start=day_of(row["started_at"]),
            runs=row["runs"],
            reconciliation_id=row["reconciliation_id"],
            started_at=row["started_at"],
            finished_at=row["finished_at"] or row["started_at"],
            verdict=verdict_of_row(row["summary"], row["report"]),
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Part:
    """One cause's part of a day's column, from ``top`` downwards over ``height``, in per cent."""

    cause: Cause
    count: int
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class DayColumn:
    """One day's column from ``start`` over ``width``, in per cent of the drawn period."""

    day: Day
    start: float
    width: float
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class DayChart:
    """Differences by day, the gravest cause at the bottom.

    :param top: the upper end of the axis.
    :param marks: the days that are named below the axis, with their start in per cent.
    """

    columns: Sequence[DayColumn]
    causes: Sequence[Cause]
    top: int
    marks: Mapping[datetime, float]

    def outline(self, cause: Cause) -> str:
        """Return the parts of a cause over all days as one SVG path, which is shorter than rectangles."""
        return "".join(
            f"M{column.start:g} {part.top:g}h{column.width:g}v{part.height:g}h-{column.width:g}z"
            for column in self.columns
            for part in column.parts
            if part.cause is cause
        )


def day_chart(days: Sequence[Day], until: datetime, length: int = DAYS) -> DayChart | None:
    """Return the chart of the ``length`` days up to ``until``; a day without a run stays empty.

    :return: None if no day has a run.
    """
    last = day_of(until)
    first = last - (length - 1) * _DAY
    shown = [day for day in reversed(days) if first <= day.start <= last]
    if not shown:
        return None
    top = round_up(max(1, *(day.verdict.differences for day in shown)))
    slot = 100 / length
    columns = [
        DayColumn(
            day=day,
            start=round((day.start - first) / _DAY * slot + slot * 0.12, 2),
            width=round(slot * 0.76, 2),
            parts=_parts(day.verdict.causes, top),
        )
        for day in shown
    ]
    present = {part.cause for column in columns for part in column.parts}
    steps = (0, length // 3, 2 * length // 3, length - 1)
    return DayChart(
        columns=columns,
        causes=[cause for cause in CAUSE_ORDER if cause in present],
        top=top,
        marks={first + step * _DAY: round(step * slot, 3) for step in steps},
    )


def _parts(causes: Mapping[Cause, int], top: int) -> list[Part]:
    """Return the parts from the bottom upwards; small parts are drawn taller than they are."""
    parts, bottom = [], 100.0
    for cause in CAUSE_ORDER:
        if count := causes.get(cause, 0):
            height = min(max(100 * count / top, _LEAST), bottom)
            bottom -= height
            parts.append(Part(cause, count, round(bottom, 2), round(height, 2)))
    return parts
