"""Count HTTP calls by endpoint, for ``sync.api_calls`` and a run's number of requests."""

from __future__ import annotations

import threading

from enerflo_sync.enerflo.calls import Call

Counts = dict[str, dict[str, float]]


class CallCounter:
    """Counts calls from any thread until a run takes them. Pass :meth:`add` to the client as ``on_call``."""

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
        """Return the duration of the calls since the last :meth:`take`, without waits for the budget."""
        with self._lock:
            return sum(counts["seconds"] for counts in self._counts.values())

    def take(self) -> Counts:
        """Return the counts since the last call of this method, and reset them."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts
