"""The receiver's counters since its start, in Prometheus format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from enerflo_sync.receiver.outcomes import PostOutcome

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PREFIX = "enerflo_receiver"


class Metrics:
    """Counts posts. Used from one thread, the server's event loop.

    :param accounts: the served accounts; each has series from the start, with zeros. A post with a wrong
        account or secret counts under an empty account, so that invented names cannot fill the memory.
    """

    def __init__(self, accounts: Iterable[str]) -> None:
        # A separate registry, so that several receivers in one process count separately.
        self._registry = CollectorRegistry()
        self._received = Counter(
            f"{_PREFIX}_received",
            "Posts by account and outcome; account is empty when wrong.",
            ["account", "outcome"],
            registry=self._registry,
        )
        self._bytes = Counter(
            f"{_PREFIX}_bytes", "Bytes of stored bodies, as sent.", ["account"], registry=self._registry
        )
        self._seconds = Histogram(
            f"{_PREFIX}_seconds",
            "From a post's headers to its answer.",
            buckets=_BOUNDS,
            registry=self._registry,
        )
        self._free = Gauge(
            f"{_PREFIX}_drop_free_bytes",
            "Room in the drop's file system.",
            ["account"],
            registry=self._registry,
        )
        for account in accounts:
            self._bytes.labels(account)
            for outcome in PostOutcome:
                self._received.labels(account, outcome)
        self._received.labels("", PostOutcome.UNKNOWN_HOOK)

    def add(self, account: str, outcome: PostOutcome, size: int, seconds: float) -> None:
        """Count one post.

        :param size: bytes of its body; 0 unless it was stored.
        :param seconds: from its headers to its answer.
        """
        self._received.labels(account, outcome).inc()
        if size:
            self._bytes.labels(account).inc(size)
        self._seconds.observe(seconds)

    def rendered(self, free_bytes: Mapping[str, int | None]) -> str:
        """Return all series as text.

        :param free_bytes: free space of each account's drop; None if unknown, which yields no series.
        """
        self._free.clear()
        for account, free in free_bytes.items():
            if free is not None:
                self._free.labels(account).set(free)
        return generate_latest(self._registry).decode()
