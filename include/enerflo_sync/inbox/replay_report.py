"""What a replay says of each item."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """What became of an item, or would."""

    WOULD_REPLAY = "would_replay"
    REPLAYED = "replayed"
    # Its record could not be read now; the next ingest, or another replay, tries it again.
    WAITING = "waiting"
    STILL_FAILING = "still_failing"
    NOT_FOUND = "not_found"
    NOT_REPLAYABLE = "not_replayable"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, and why or what is done, in words without personal data.

    :param settles: whether the item is closed: it was taken in, or nothing is left that it is about.
    """

    outcome: Outcome
    detail: str
    settles: bool = False


# By item id.
Verdicts = dict[str, Verdict]


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item."""

    item_id: str
    kind: str
    reason: str
    outcome: Outcome
    detail: str


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did, or, dry, would do.

    :param run_id: its row in ``sync.runs``; None of a dry one, which leaves no trace.
    """

    run_id: str | None
    account: str
    dry: bool
    results: list[ReplayResult]

    @property
    def counts(self) -> dict[str, int]:
        """Return how many items had each outcome, in the order of :class:`Outcome`; none that is zero."""
        found = [result.outcome for result in self.results]
        return {str(outcome): found.count(outcome) for outcome in Outcome if outcome in found}

    @property
    def needs_a_person(self) -> bool:
        """Return whether something still waits: an item that is not replayed."""
        return any(result.outcome is not Outcome.REPLAYED for result in self.results)
