"""The bounds of retrying a request: how often and for how long. No other module decides this."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """The fault of one attempt that may be repeated."""

    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    TIMED_OUT = "timed_out"
    DROPPED = "dropped"
    UNREACHABLE = "unreachable"
    TRUNCATED = "truncated"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of retrying one request. Waits for the request budget do not count.

    :param attempts: total tries for 429, 5xx, dropped connections and time-outs.
    :param unreachable_attempts: tries for a host that has no address or refuses the connection.
    :param unreadable_attempts: tries for a 200 whose body is cut off or not JSON.
    :param total_seconds: no further try starts after this much trying and waiting.
    :param base_seconds: upper bound of the first wait; doubles with each try.
    :param cap_seconds: upper bound of any wait that the vendor did not ask for.
    """

    attempts: int = 6
    unreachable_attempts: int = 3
    unreadable_attempts: int = 3
    total_seconds: float = 300.0
    base_seconds: float = 1.0
    cap_seconds: float = 30.0

    def tries_for(self, fault: Fault) -> int:
        """Return the total number of tries for a request that ends in ``fault``."""
        if fault is Fault.UNREACHABLE:
            return min(self.attempts, self.unreachable_attempts)
        if fault in (Fault.TRUNCATED, Fault.NOT_JSON):
            return min(self.attempts, self.unreadable_attempts)
        if fault is Fault.TOO_LARGE:
            return 1
        return self.attempts

    def wait(
        self, fault: Fault, tried: int, spent: float, retry_after: float | None, rng: random.Random
    ) -> float | None:
        """Return the seconds to wait before the next try, or None if there is no next try.

        A vendor's ``retry-after`` is never shortened. Without one, the wait is drawn from 0 to an
        exponentially growing bound (full jitter).

        :param tried: tries made so far, at least 1.
        :param spent: seconds spent trying and waiting so far.
        """
        if tried >= self.tries_for(fault):
            return None
        jitter = rng.uniform(0.0, min(self.cap_seconds, self.base_seconds * 2.0 ** (tried - 1)))
        wait = jitter if retry_after is None else retry_after + rng.uniform(0.0, min(1.0, self.base_seconds))
        return wait if spent + wait <= self.total_seconds else None
