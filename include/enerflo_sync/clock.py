"""Time as a part that is handed in, so that a simulated week runs in seconds and repeats exactly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from enerflo_sync.errors import EnerfloSyncError


class Clock(Protocol):
    """What the engine may ask of time. Tests and the simulation hand in a virtual one."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` seconds of this clock have passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment as an aware UTC datetime."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never go backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block the thread for ``seconds`` seconds."""
        time.sleep(seconds)


# Seconds after which the database is asked again: good clocks drift apart by a few milliseconds meanwhile.
_TRUSTED_SECONDS = 900.0


class DatabaseClock:
    """The database's clock, as far as a worker can follow it: every stamp of every worker is in one order.

    A worker's own clock may be wrong by any amount in either direction. It is compared with the database's
    at the first stamp, and again every quarter of an hour; between two comparisons time goes on by the
    worker's ``monotonic``. Waiting and timing stay the worker's own. Thread-safe.

    :param worker: the worker's clock.
    :param ask: returns the present moment by the database's clock; may raise what a lost database raises.
    """

    def __init__(self, worker: Clock, ask: Callable[[], datetime]) -> None:
        self._worker = worker
        self._ask = ask
        self._lock = threading.Lock()
        # A moment of the database's clock, and the worker's monotonic seconds at that moment.
        self._known: tuple[datetime, float] | None = None
        self._skew = timedelta()

    def now(self) -> datetime:
        """Return the present moment by the database's clock.

        Raises as ``ask`` where the database was never reached; one that is lost later changes nothing.
        """
        return self._moment()

    @property
    def skew(self) -> timedelta:
        """Return by how much the worker's clock is ahead of the database's; negative where it is behind."""
        self._moment()
        return self._skew

    def monotonic(self) -> float:
        """Return the worker's seconds from an arbitrary start."""
        return self._worker.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait by the worker's clock."""
        self._worker.sleep(seconds)

    def _moment(self) -> datetime:
        with self._lock:
            known, seconds = self._known, self._worker.monotonic()
            if known is not None and seconds - known[1] < _TRUSTED_SECONDS:
                return known[0] + timedelta(seconds=seconds - known[1])
            try:
                self._compare()
            except EnerfloSyncError:
                if known is None:
                    raise
                # Asked again after the next quarter of an hour.
                self._known = (known[0] + timedelta(seconds=seconds - known[1]), seconds)
            assert self._known is not None  # noqa: S101 - a defect of ours
            moment, at = self._known
            return moment + timedelta(seconds=self._worker.monotonic() - at)

    def _compare(self) -> None:
        before = self._worker.monotonic()
        there = self._ask()
        here, after = self._worker.now(), self._worker.monotonic()
        # The answer is taken for half as old as the question took.
        self._known = (there, (before + after) / 2)
        self._skew = here - there - timedelta(seconds=(after - before) / 2)


def skew_of(clock: Clock) -> timedelta | None:
    """Return by how much the worker's own clock is ahead of the database's; None where it is not known."""
    return clock.skew if isinstance(clock, DatabaseClock) else None


# Data that is deleted by age does not come back: a clock that is wrong by more keeps it.
MOST_SKEW = timedelta(days=1)


def days_apart(clock: Clock) -> float | None:
    """Return how many days the two clocks are apart; None where they agree enough to delete by age."""
    skew = skew_of(clock)
    return abs(skew) / timedelta(days=1) if skew is not None and abs(skew) > MOST_SKEW else None
