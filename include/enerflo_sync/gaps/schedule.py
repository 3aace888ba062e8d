"""When a job is due, by a cron expression in UTC: five fields, or a name such as ``@daily``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

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
    """Return the schedule of a cron expression: the first due time after a moment. For one thread.

    Evaluated by croniter, like in Airflow: if a day of the month and a day of the week are both given, either
    one matches.

    :raises ConfigurationError: the expression is invalid, or no such day ever comes.
    """
    text = expression.strip()
    # croniter would read more fields as seconds and years, which Airflow's schedules here do not have.
    if not text.startswith("@") and len(text.split()) != _FIELDS:
        raise _wrong(expression)

    try:
        # Parsed once: a gap of a year asks for thousands of times.
        times = croniter(text, max_years_between_matches=_MOST_YEARS)
    except (CroniterBadCronError, CroniterBadDateError):
        raise _wrong(expression) from None

    def due(after: datetime) -> datetime:
        try:
            times.set_current(after.astimezone(UTC), force=True)
            found: datetime = times.get_next(datetime)
        except (CroniterBadCronError, CroniterBadDateError):
            raise _wrong(expression) from None
        return found

    due(datetime(2026, 1, 1, tzinfo=UTC))
    return due


def _wrong(expression: str) -> ConfigurationError:
    return ConfigurationError(
        f"'{expression}' is no schedule that ever comes.",
        where="accounts.schedule in sync.yaml",
        next_step="Write five cron fields, as in */15 * * * *.",
    )
