"""Count the outcome of each record read, so that a run can prove that it lost none."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from enerflo_sync.errors import EnerfloSyncError

# A row without a readable id may be any record of the list.
NAMELESS = "rows without an id that can be read: nothing of their list counts as missing"


@dataclass
class Tally:
    """Outcomes of the records read: ``read = applied + unchanged + quarantined + skipped``.

    :param reasons: count per reason, grouped by ``quarantined``, ``skipped``, ``notice`` (stored and
        reported: an unknown field, a removed NUL) and ``incomplete``.
    """

    read: int = 0
    applied: int = 0
    unchanged: int = 0
    quarantined: int = 0
    skipped: int = 0
    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def because(self, group: str, reason: str, count: int = 1) -> None:
        """Add ``count`` to ``reason`` in ``group``."""
        self.reasons.setdefault(group, Counter())[reason] += count

    @property
    def nameless(self) -> int:
        """Return the number of records without a readable id, which could be any records."""
        return self.reasons.get("notice", Counter())[NAMELESS]

    def add(self, other: Tally) -> None:
        """Add another tally's counts to this one."""
        self.read += other.read
        self.applied += other.applied
        self.unchanged += other.unchanged
        self.quarantined += other.quarantined
        self.skipped += other.skipped
        for group, counts in other.reasons.items():
            self.reasons.setdefault(group, Counter()).update(counts)

    def check(self, where: str) -> None:
        """Return if every record read has an outcome.

        :raises EnerfloSyncError: one has none: a defect of this program, never of the data.
        """
        accounted = self.applied + self.unchanged + self.quarantined + self.skipped
        if accounted != self.read:
            raise EnerfloSyncError(
                f"{self.read} records were read and {accounted} accounted for.",
                where=where,
                next_step="This is a defect: please report it. What was committed before is right.",
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the counts and reasons as JSON values."""
        return {
            "read": self.read,
            "applied": self.applied,
            "unchanged": self.unchanged,
            "quarantined": self.quarantined,
            "skipped": self.skipped,
            "reasons": {group: dict(counts) for group, counts in self.reasons.items()},
        }
