"""The report of one push, in counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class PushReport:
    """The outcomes of the changes of one push.

    :param applied: changes that were made and read back, or whose value Enerflo already had.
    :param moved: changes that were not made because Enerflo's value differs from the one that the plan saw.
    :param parked: changes that Enerflo refused or did not store, or that cannot be sent: a person has to
        look.
    :param refused: changes that cannot be made at Enerflo, such as a status that the company does not have.
    :param waiting: changes without an outcome; the next push tries them again.
    :param stopped: why the remaining changes were not tried; None if all were tried.
    :param reasons: how often each reason was given, by decision. A reason never contains a value.
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
        """Count ``number`` changes with this outcome and reason."""
        setattr(self, decision, getattr(self, decision) + number)
        if reason and number:
            self.reasons.setdefault(decision, Counter())[reason] += number

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        counts = {name: getattr(self, name) for name in ("applied", "moved", "parked", "refused", "waiting")}
        reasons = {decision: dict(found) for decision, found in self.reasons.items()}
        return {**counts, "stopped": self.stopped, "reasons": reasons}
