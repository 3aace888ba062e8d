"""What one push did, in counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PushReport:
    """How the changes of one push ended.

    :param applied: made and read back, or found to be so already.
    :param moved: Enerflo says something else than when the plan was made: left alone.
    :param parked: Enerflo refused or did not keep them, or they cannot be sent: a person has to look.
    :param refused: there is no way to make them.
    :param waiting: neither made nor given up; the next push takes them up.
    :param stopped: why the rest was not tried, None where all were.
    :param reasons: how often each reason was given, by decision. None of them holds a value.
    """

    applied: int = 0
    moved: int = 0
    parked: int = 0
    refused: int = 0
    waiting: int = 0
    stopped: str | None = None
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Return how many changes there were to make."""
        return self.applied + self.moved + self.parked + self.refused + self.waiting

    def count(self, decision: str, number: int, reason: str | None) -> None:
        """Take down that ``number`` changes ended this way."""
        setattr(self, decision, getattr(self, decision) + number)
        if reason and number:
            self.reasons.setdefault(decision, Counter())[reason] += number

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        counts = {name: getattr(self, name) for name in ("applied", "moved", "parked", "refused", "waiting")}
        reasons = {decision: dict(found) for decision, found in self.reasons.items()}
        return {**counts, "stopped": self.stopped, "reasons": reasons}
