"""Counting HTTP calls by endpoint, for ``sync.api_calls`` and a run's number of requests."""

from __future__ import annotations

import threading

from enerflo_sync.enerflo.client import Call

Counts = dict[str, dict[str, float]]


class CallCounter:
    """Add up calls from any thread until a run takes them. Give :meth:`add` to the client as ``on_call``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counts = {}

    def add(self, call: Call) -> None:
        """Count one HTTP attempt."""
        with self._lock:
            counts = self._counts.setdefault(
                call.endpoint, {"calls": 0, "throttled": 0, "failed": 0, "bytes": 0, "seconds": 0.0}
            )
            counts["calls"] += 1
            counts["throttled"] += call.throttled
            counts["failed"] += call.failed
            counts["bytes"] += call.bytes
            counts["seconds"] += call.seconds

    @property
    def seconds(self) -> float:
        """Return how long the calls since the last take took, waits for the budget not among it."""
        with self._lock:
            return sum(counts["seconds"] for counts in self._counts.values())

    def take(self) -> Counts:
        """Return the counts since the last take, and start again from nothing."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts
