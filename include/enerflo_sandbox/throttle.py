"""The vendor's rate limit: a fixed window per key that starts with its first request (REFERENCE.md §2)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW_SECONDS = 60


@dataclass
class Usage:
    """What one key has used.

    ``windows`` holds (start as epoch seconds, accepted requests) of every window, the open one last.
    """

    windows: list[tuple[float, int]] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0

    @property
    def most_in_a_window(self) -> int:
        """Return the most requests accepted in any one window."""
        return max((count for _, count in self.windows), default=0)


@dataclass(frozen=True)
class Allowance:
    """Whether a request may pass, what is left of its window, and when the window ends (epoch seconds)."""

    allowed: bool
    remaining: int
    retry_after: int
    reset: int


class FixedWindow:
    """Counts the requests of each key and refuses what goes over ``limit`` in a window of 60 s.

    As in Laravel, a refused request does not count, and the next window starts with the first request after
    the last one ended.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.usage: dict[str, Usage] = {}

    def admit(self, key: str, now: float) -> Allowance:
        """Count one request of ``key`` at epoch second ``now`` and return the verdict."""
        usage = self.usage.setdefault(key, Usage())
        if not usage.windows or now >= usage.windows[-1][0] + WINDOW_SECONDS:
            usage.windows.append((now, 0))
        start, count = usage.windows[-1]
        retry_after = max(1, math.ceil(start + WINDOW_SECONDS - now))
        reset = math.ceil(now) + retry_after
        if count >= self.limit:
            usage.refused += 1
            return Allowance(False, 0, retry_after, reset)
        usage.windows[-1] = (start, count + 1)
        usage.accepted += 1
        return Allowance(True, self.limit - count - 1, retry_after, reset)
