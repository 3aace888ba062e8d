"""The outcome of a replay for each item."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class ReplayOutcome(StrEnum):
    """The actual or expected outcome of an item."""

    WOULD_REPLAY = "would_replay"
    REPLAYED = "replayed"
    # The record could not be read now; the next ingest, or another replay, retries.
    WAITING = "waiting"
    STILL_FAILING = "still_failing"
    NOT_FOUND = "not_found"
    NOT_REPLAYABLE = "not_replayable"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """An outcome with its reason or action, in words without personal data.

    :param closes: the item is closed: it was loaded, or its record no longer exists.
    """

    outcome: ReplayOutcome
    detail: str
    closes: bool = False


# By item id.
Outcomes = dict[str, ItemOutcome]


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one item."""

    item_id: str
    kind: str
    reason: str
    outcome: ReplayOutcome
    detail: str


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did, or, if dry, would do.

    :param run_id: its row in ``sync.runs``; None for a dry replay, which writes nothing.
    """

    run_id: str | None
    account: str
    dry: bool
    results: list[ReplayResult]

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of items per outcome, in the order of :class:`ReplayOutcome`, without zeros."""
        found = [result.outcome for result in self.results]
        return {str(outcome): found.count(outcome) for outcome in ReplayOutcome if outcome in found}

    @property
    def needs_a_person(self) -> bool:
        """Return whether any item is still not replayed."""
        return any(result.outcome is not ReplayOutcome.REPLAYED for result in self.results)
