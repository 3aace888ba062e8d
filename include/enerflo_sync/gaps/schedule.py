"""When a job is due, by a cron expression in UTC: five fields, or a name such as ``@daily``."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

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


def cron(expression: str) -> Due:
    """Return the schedule of a cron expression: the first due time after a moment.

    Evaluated by croniter, like in Airflow: if a day of the month and a day of the week are both given, either
    one matches.

    :raises ConfigurationError: the expression is invalid, or no such day ever comes.
    """
    text = expression.strip()
    # croniter would read more fields as seconds and years, which Airflow's schedules here do not have.
    if not text.startswith("@") and len(text.split()) != _FIELDS:
        raise _wrong(expression)

    daily = _times_of_day(text)

    def due(after: datetime) -> datetime:
        if daily is not None:
            return _next_of_day(daily, after.astimezone(UTC))
        try:
            found: datetime = croniter(
                text, after.astimezone(UTC), max_years_between_matches=_MOST_YEARS
            ).get_next(datetime)
        except (CroniterBadCronError, CroniterBadDateError):
            raise _wrong(expression) from None
        return found

    due(datetime(2026, 1, 1, tzinfo=UTC))
    return due


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
