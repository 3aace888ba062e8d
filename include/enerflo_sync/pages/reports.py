"""All reports of an account: days, each with the verdict of its last run; and the runs of a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.days import DAYS, Day, day_chart, read_days
from enerflo_sync.pages.verdicts import verdict_of_row
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.stored_verdict import StoredVerdict
from enerflo_sync.reconcile.report import Scope
from enerflo_sync.warehouse.engine import transaction_time

PAGE = 50
_DAY = timedelta(days=1)

_RUNS = sa.text("""
/* enerflo-sync pages: the reconciliations of a day */
select r.reconciliation_id, r.started_at, r.finished_at, r.scope, r.summary,
  case when r.summary is null then r.report end as report
from sync.reconciliations r
where r.account = :account and r.started_at >= :start and r.started_at < :until
  and (r.started_at, r.reconciliation_id) < (:after_at, :after_id)
order by r.started_at desc, r.reconciliation_id desc limit :most
""")


@dataclass(frozen=True)
class ReportsPage:
    """Days with reports, newest first.

    :param before: the day before which the next page begins; None on the last one.
    """

    account: str
    days: Sequence[Day]
    before: date | None
    first: bool
    now: datetime


def read_reports(connection: sa.Connection, account: str, before: date | None) -> ReportsPage:
    """Return a page of days.

    :param before: only days before this one; None begins with the newest.
    """
    now = transaction_time(connection)
    until = now + _DAY if before is None else _midnight(before)
    days = read_days(connection, account, until, most=DAYS + 1)
    shown, more = days[:DAYS], days[DAYS:]
    return ReportsPage(account, shown, shown[-1].start.date() if more else None, before is None, now)


@dataclass(frozen=True)
class RunLine:
    """One reconciliation of a day."""

    reconciliation_id: str
    started_at: datetime
    finished_at: datetime
    scope: Scope
    verdict: StoredVerdict


@dataclass(frozen=True)
class DayPage:
    """A day's reconciliations, newest first.

    :param after: the position after which the next page begins; None on the last one.
    """

    account: str
    day: date
    runs: Sequence[RunLine]
    after: str | None
    first: bool


def read_day(
    connection: sa.Connection, account: str, day: date, after: tuple[datetime, str] | None
) -> DayPage:
    """Return a page of a day's reconciliations."""
    start = _midnight(day)
    at, id_ = after or (start + _DAY, "")
    values = {"account": account, "start": start, "until": start + _DAY, "after_at": at, "after_id": id_}
    rows = connection.execute(_RUNS, {**values, "most": PAGE + 1}).mappings().all()
    runs = [
        RunLine(
            row["reconciliation_id"],
            row["started_at"],
            row["finished_at"] or row["started_at"],
            Scope(row["scope"]),
            verdict_of_row(row["summary"], row["report"]),
        )
        for row in rows[:PAGE]
    ]
    last = runs[-1] if len(rows) > PAGE else None
    position = None if last is None else f"{last.started_at.isoformat()} {last.reconciliation_id}"
    return DayPage(account, day, runs, position, after is None)


def day_in(text: str, name: str) -> date:
    """Return the day in an address.

    :raises ConfigurationError: the text is not a day.
    """
    try:
        found = date.fromisoformat(text)
        _midnight(found) + _DAY
    except (ValueError, OverflowError):
        raise _unreadable(name, "is no day", "Write it as 2026-03-02.") from None
    return found


def position_in(text: str) -> tuple[datetime, str]:
    """Return a position within a day's reconciliations from an address.

    :raises ConfigurationError: the text is not a position.
    """
    moment, _, id_ = text.replace("\0", "").partition(" ")
    try:
        at = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _unreadable("after", "is no position", "Begin at the day's first page.") from None
    return at, id_


def _unreadable(name: str, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"{name} {what}.", where="the address", next_step=next_step)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(0), UTC)


def render_reports(page: ReportsPage, frame: Frame) -> str:
    """Return the page of days."""
    here = frame.to.of(Place.REPORTS, page.account)
    return render_page(
        "reports.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        here=here,
        chart=day_chart(page.days, page.days[0].start) if page.days else None,
        next=None if page.before is None else f"{here}?{urlencode({'before': page.before.isoformat()})}",
        report_of=lambda id_: frame.to.report(page.account, id_),
        day_at=lambda day: f"{here}?{urlencode({'day': day.start.date().isoformat()})}",
    )


def render_day(page: DayPage, frame: Frame) -> str:
    """Return the page of one day."""
    here = frame.to.of(Place.REPORTS, page.account)
    query = {"day": page.day.isoformat()}
    return render_page(
        "report_day.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        here=here,
        own=f"{here}?{urlencode(query)}",
        next=None if page.after is None else f"{here}?{urlencode({**query, 'after': page.after})}",
        report_of=lambda id_: frame.to.report(page.account, id_),
    )
