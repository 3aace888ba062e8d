"""When a job is due: cron expressions as croniter reads them, which Airflow's schedules use as well."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.gaps.schedule import cron, every

# A Friday.
START = datetime(2026, 2, 27, 22, 41, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("*/15 * * * *", "2026-02-27 22:45"),
        ("0 5 * * *", "2026-02-28 05:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        # A day of the month or a day of the week: either will do.
        ("30 4 1,15 * 6", "2026-02-28 04:30"),
        ("30 4 1,15 * 3", "2026-03-01 04:30"),
        ("0 9-17/2 * * mon-fri", "2026-03-02 09:00"),
        ("5 4 * * sun", "2026-03-01 04:05"),
        ("0 12 * * 7", "2026-03-01 12:00"),
        ("0 0 1 jan,jul *", "2026-07-01 00:00"),
        ("@hourly", "2026-02-27 23:00"),
        ("@daily", "2026-02-28 00:00"),
        ("@weekly", "2026-03-01 00:00"),
        ("@monthly", "2026-03-01 00:00"),
        ("0 0 31 * *", "2026-03-31 00:00"),
    ],
)
def test_it_is_due_for_the_first_time_after_a_moment(expression: str, due: str) -> None:
    expected = datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert cron(expression)(START) == expected
    assert cron(expression)(expected) > expected


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "60 * * * *", "*/0 * * * *", "x * * * *", "@never"],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="no schedule"):
        cron(expression)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ever comes"):
        cron("0 0 30 2 *")(START)


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    there = START.astimezone(ZoneInfo("America/Denver"))
    assert cron("0 * * * *")(there) == cron("0 * * * *")(START)


def test_so_many_minutes_after() -> None:
    assert every(90)(START) == START + timedelta(minutes=90)


@pytest.mark.parametrize(
    "expression",
    [
        "*/5 * * * *",
        "* * * * *",
        "7 * * * *",
        "0,59 0,23 * * *",
        "3-50/7 */5 * * *",
        "@hourly",
        "30 9 * * 6",
        "0 0 1 * *",
    ],
)
def test_every_answer_is_that_of_croniter(expression: str) -> None:
    due, rng = cron(expression), random.Random(expression)
    for _ in range(200):
        moment = START + timedelta(seconds=rng.randrange(40 * 86_400), microseconds=rng.randrange(2))
        moment = moment.replace(second=0, microsecond=0) if rng.random() < 0.3 else moment
        assert due(moment) == croniter(expression, moment).get_next(datetime), moment
