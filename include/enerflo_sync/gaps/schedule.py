"""When a job is due, by its cron expression in UTC: five fields, or a name such as ``@daily``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta

from enerflo_sync.errors import ConfigurationError

Due = Callable[[datetime], datetime]

_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
}
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
# The 29th of February on a certain day of the week comes once in so long at most.
_LONGEST = timedelta(days=366 * 40)


def every(minutes: float) -> Due:
    """Return the schedule of a job that is due so many minutes after it began."""
    interval = timedelta(minutes=minutes)
    return lambda after: after + interval


def cron(expression: str) -> Due:
    """Return the schedule of a cron expression: the first due time after a moment.

    :raises ConfigurationError: it is none, or it names no day that ever comes.
    """
    fields = _NAMED.get(expression.strip(), expression).lower().split()
    if len(fields) != 5:
        raise _wrong(expression)
    try:
        minutes = sorted(_values(fields[0], 0, 59))
        hours = sorted(_values(fields[1], 0, 23))
        days = _values(fields[2], 1, 31)
        months = _values(fields[3], 1, 12, _MONTHS)
        # Sunday is 0 and 7.
        weekdays = {day % 7 for day in _values(fields[4], 0, 7, _DAYS)}
    except ValueError:
        raise _wrong(expression) from None
    # Where both are restricted, either will do: that is cron's rule, as Airflow has it.
    either = len(days) < 31 and len(weekdays) < 7

    def falls_on(day: date) -> bool:
        if day.month not in months:
            return False
        of_month, of_week = day.day in days, day.isoweekday() % 7 in weekdays
        return of_month or of_week if either else of_month and of_week

    def due(after: datetime) -> datetime:
        after = after.astimezone(UTC)
        day = after.date()
        while day - after.date() < _LONGEST:
            if falls_on(day):
                for hour in hours:
                    for minute in minutes:
                        moment = datetime.combine(day, time(hour, minute), UTC)
                        if moment > after:
                            return moment
            day += timedelta(days=1)
        raise _wrong(expression)

    return due


def _values(field: str, low: int, high: int, names: list[str] | None = None) -> set[int]:
    """Return the numbers that one field stands for; raises ValueError where it is none."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        begin, dash, end = span.partition("-")
        if begin == "*":
            first, last = low, high
        else:
            first = _number(begin, low, names)
            last = _number(end, low, names) if dash else high if step else first
        if not low <= first <= last <= high or (step and int(step) < 1):
            raise ValueError(part)
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _number(text: str, low: int, names: list[str] | None) -> int:
    return names.index(text) + low if names and text in names else int(text)


def _wrong(expression: str) -> ConfigurationError:
    return ConfigurationError(
        f"'{expression}' is no schedule that ever comes.",
        where="accounts.schedule in sync.yaml",
        next_step="Write five cron fields, as in */15 * * * *.",
    )
