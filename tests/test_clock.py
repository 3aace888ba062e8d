"""A worker's own clock may be wrong: what is stored carries the database's time, and the skew is shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sync.clock import DatabaseClock, skew_of
from enerflo_sync.errors import RetriableError

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(minutes=-20), timedelta()])
def test_stamps_are_the_database_s_whatever_the_worker_s_clock_says(ahead: timedelta) -> None:
    server = VirtualClock(START)
    worker = VirtualClock(START + ahead)
    clock = DatabaseClock(worker, server.now)
    assert clock.now() == START
    assert skew_of(clock) == ahead
    clock.sleep(12)
    assert clock.now() == START + timedelta(seconds=12)


def test_a_clock_that_drifts_is_compared_again() -> None:
    server, worker = VirtualClock(START), VirtualClock(START)
    clock = DatabaseClock(worker, server.now)
    assert clock.now() == START
    worker.advance(3600)
    server.advance(3000)
    assert clock.now() == START + timedelta(seconds=3000)
    assert clock.skew == timedelta(seconds=600)


def test_a_database_that_is_lost_does_not_stop_the_clock_that_knows_it() -> None:
    worker, answers = VirtualClock(START), [START]

    def ask() -> datetime:
        if not answers:
            raise RetriableError("it is away.", where="here", next_step="Wait.")
        return answers.pop()

    clock = DatabaseClock(worker, ask)
    clock.now()
    worker.advance(3600)
    assert clock.now() == START + timedelta(hours=1)
    with pytest.raises(RetriableError):
        DatabaseClock(worker, ask).now()


def test_a_clock_that_nobody_compares_has_no_skew() -> None:
    assert skew_of(VirtualClock(START)) is None
