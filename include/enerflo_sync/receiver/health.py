"""Whether the drops accept files now, with a cached result to spare the storage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from enerflo_sync.clock import Clock
from enerflo_sync.drop.writer import LEAST_FREE_BYTES, DropWriter
from enerflo_sync.errors import RetriableError

# Several monitors request the health route every few seconds, and each trial is a write.
TRIAL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Finding:
    at: float
    reason: str


class Health:
    """Caches the result of a trial write for a few seconds. Safe to call from many threads."""

    def __init__(self, drops: Mapping[str, DropWriter], clock: Clock) -> None:
        self._drops = drops
        self._clock = clock
        self._found: dict[str, _Finding] = {}

    def reasons(self) -> dict[str, str]:
        """Return why each unusable drop is unusable, by account, without its address; empty if all work."""
        found = {name: self._reason(name, drop) for name, drop in self._drops.items()}
        return {name: reason for name, reason in found.items() if reason}

    def free_bytes(self) -> dict[str, int | None]:
        """Return the free space of each account's drop; None if unknown."""
        return {name: drop.free_bytes() for name, drop in self._drops.items()}

    def _reason(self, name: str, drop: DropWriter) -> str:
        now = self._clock.monotonic()
        known = self._found.get(name)
        if known is None or now - known.at >= TRIAL_SECONDS:
            known = _Finding(now, _trial(drop))
            self._found[name] = known
        return known.reason


def _trial(drop: DropWriter) -> str:
    try:
        drop.check()
    except RetriableError as error:
        return error.what
    free = drop.free_bytes()
    if free is not None and free < LEAST_FREE_BYTES:
        return f"only {free} bytes are free; {LEAST_FREE_BYTES} are the least."
    return ""
