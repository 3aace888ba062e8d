"""When a cron expression is due, beside the library that Airflow asks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.gaps.schedule import cron, every

START = datetime(2026, 2, 27, 22, 41, 17, tzinfo=UTC)
WRITTEN = [
    *("*/15 * * * *", "0 5 * * *", "*/5 * * * *", "0 0 29 2 *", "30 4 1,15 * 5", "0 9-17/2 * * mon-fri"),
    *(
        "5 4 * * sun",
        "0 0 1 jan,jul *",
        "@hourly",
        "@daily",
        "@weekly",
        "@monthly",
        "0 12 * * 7",
        "7/20 3 * * *",
    ),
    *("0 0 31 * *", "15 10 */2 * 1"),
]


def drawn(rng: random.Random) -> str:
    def field(low: int, high: int) -> str:
        one, two = sorted(rng.sample(range(low, high + 1), 2))
        return rng.choice(
            ["*", str(one), f"{one},{two}", f"{one}-{two}", f"*/{rng.randint(2, 9)}", f"{one}-{two}/2"]
        )

    return " ".join([field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)])


@pytest.mark.parametrize("expression", [*WRITTEN, *(drawn(random.Random(seed)) for seed in range(60))])
def test_it_is_due_when_airflow_would_say_so(expression: str) -> None:
    due, theirs, moment = cron(expression), croniter(expression, START), START
    for _ in range(20):
        moment = due(moment)
        assert moment == theirs.get_next(datetime)


@pytest.mark.parametrize(
    "expression",
    ["", "* * * *", "* * * * * *", "60 * * * *", "*/0 * * * *", "5-1 * * * *", "x * * * *", "@never"],
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    with pytest.raises(ConfigurationError, match="no schedule"):
        cron(expression)


def test_a_day_that_never_comes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ever comes"):
        cron("0 0 30 2 *")(START)


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    there = START.astimezone(__import__("zoneinfo").ZoneInfo("America/Denver"))
    assert cron("0 * * * *")(there) == cron("0 * * * *")(START)


def test_so_many_minutes_after() -> None:
    assert every(90)(START) == START + timedelta(minutes=90)
