"""When a job is due, by a cron expression in a time zone: five fields, or a name such as ``@daily``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterBadCronError, CroniterBadDateError, croniter

from enerflo_sync.errors import ConfigurationError

Due = Callable[[datetime], datetime]

_FIELDS = 5
# The 29th of February falls on a given day of the week at least once in this many years.
_MOST_YEARS = 40


def every(minutes: float) -> Due:
    """Return the schedule of a job that is due this many minutes after its last start."""
    interval = timedelta(minutes=minutes)
    return lambda after: after + interval


def cron(expression: str, time_zone: str = "UTC") -> Due:
    """Return the schedule of a cron expression: the first due time after a moment, in UTC.

    Evaluated like in Airflow: if a day of the month and a day of the week are both given, either one matches;
    a time that a clock change skips is due as late as the clock is put forward, and one that comes twice is
    due the second time.

    :raises ConfigurationError: the expression is invalid, or no such day ever comes.
    """
    text = expression.strip()
    # croniter would read more fields as seconds and years, which Airflow's schedules here do not have.
    if not text.startswith("@") and len(text.split()) != _FIELDS:
        raise _wrong(expression)

    daily, zone = _times_of_day(text), ZoneInfo(time_zone)

    def after_local(local: datetime) -> datetime:
        if daily is not None:
            return _next_of_day(daily, local)
        try:
            found: datetime = croniter(text, local, max_years_between_matches=_MOST_YEARS).get_next(datetime)
        except (CroniterBadCronError, CroniterBadDateError):
            raise _wrong(expression) from None
        return found

    def due(after: datetime) -> datetime:
        local = after.astimezone(zone).replace(tzinfo=None)
        found = after_local(local)
        if _is_due_every_hour(text):
            # Clock changes do not interrupt it.
            return after.astimezone(UTC) + (found - local)
        while (moment := _moment(found, zone)) <= after:
            found = after_local(found)
        return moment

    due(datetime(2026, 1, 1, tzinfo=UTC))
    return due


def _moment(local: datetime, zone: ZoneInfo) -> datetime:
    """Return the moment at which a clock shows this time: the second one, or the first after a gap."""
    moment = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    is_skipped = moment.astimezone(zone).replace(tzinfo=None) != local
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC) if is_skipped else moment


@lru_cache(maxsize=256)
def _is_due_every_hour(text: str) -> bool:
    hours: list[int | str] = croniter(text).expanded[1]
    return hours == ["*"]


@lru_cache(maxsize=256)
def _times_of_day(text: str) -> Sequence[timedelta] | None:
    """Return the times of a day at which a schedule is due that is the same every day; None for another one.

    croniter takes 100 µs for each answer, and thousands are asked for two weeks of a job that runs often.
    """
    try:
        minutes, hours, *days = croniter(text).expanded[:_FIELDS]
    except (CroniterBadCronError, CroniterBadDateError):
        return None
    if any(day != ["*"] for day in days):
        return None
    every_hour = range(24) if hours == ["*"] else hours
    every_minute = range(60) if minutes == ["*"] else minutes
    return sorted(timedelta(hours=hour, minutes=minute) for hour in every_hour for minute in every_minute)


def _next_of_day(times: Sequence[timedelta], after: datetime) -> datetime:
    midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
    at = bisect_right(times, after - midnight)
    return midnight + times[at] if at < len(times) else midnight + timedelta(days=1) + times[0]


def _wrong(expression: str) -> ConfigurationError:
    return ConfigurationError(
        f"'{expression}' is no schedule that ever comes.",
        where="accounts.schedule in sync.yaml",
        next_step="Write five cron fields, as in */15 * * * *.",
    )
