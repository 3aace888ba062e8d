"""A clock that moves only when it is told to, so that a simulated week takes seconds and repeats exactly."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Time that stands still until ``sleep`` or ``advance`` moves it; a ``enerflo_sync.clock.Clock``.

    Thread-safe. Nothing ever blocks: a sleeper returns at once with the time moved on.

    :param start: the first moment, aware.
    """

    def __init__(self, start: datetime) -> None:
        if start.tzinfo is None:
            raise ValueError("VirtualClock needs an aware start, got a naive one: add tzinfo=UTC")
        self._start = start.astimezone(UTC)
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        """Return the present virtual moment as an aware UTC datetime."""
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the virtual seconds passed since the start."""
        return self._elapsed

    def sleep(self, seconds: float) -> None:
        """Move the clock on by ``seconds`` and return at once; a negative value moves nothing."""
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock on by ``seconds``; a negative value moves nothing."""
        with self._lock:
            self._elapsed += max(0.0, seconds)
