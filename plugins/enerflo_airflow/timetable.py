"""The timetable of months for Airflow's own backfill."""

from __future__ import annotations

from datetime import time, timedelta
from typing import Any

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pendulum import DateTime

# Maximum offset by which a day begins earlier in the east than in UTC; in the west it begins up to 12 hours
# later.
_FURTHEST_EAST = timedelta(hours=14)


class BackfillMonths(CronDataIntervalTimetable):
    """One run per UTC month that Airflow's own backfill requests, and none by the clock.

    A run by the clock would occupy its month, and a backfill skips months that have a run.
    """

    def __init__(self) -> None:
        super().__init__("0 0 1 * *", "UTC")
        self.description = "A run for each month that a backfill asks for; nothing starts by the clock"

    @property
    def summary(self) -> str:
        """Return the text for the list of DAGs."""
        return "by hand, or by a backfill"

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """Return the next month for a backfill, which requests catchup, and None for the scheduler."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval,
            restriction=TimeRestriction(_chosen(restriction.earliest), _chosen(restriction.latest), True),
        )

    def serialize(self) -> dict[str, Any]:
        """Return the timetable's parameters: none."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> BackfillMonths:
        """Return the timetable."""
        return cls()


def _chosen(moment: DateTime | None) -> DateTime | None:
    """Move a bound of the range so that it keeps the months whose first day was chosen.

    The UI sends days by the browser's time zone: May in Los Angeles is from 1 May, 07:00 UTC, to 1 June,
    06:59 UTC, which contains only the beginning of June.
    """
    if moment is None or moment.in_timezone("UTC").time() == time(0):
        return moment
    return moment - _FURTHEST_EAST


# One for the DAGs of all accounts: making it takes as long as a task.
MONTHS = BackfillMonths()
