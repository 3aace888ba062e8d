"""What was seen of vendor records, and what is to be done with it: one page, or several with few changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import Block

SEEN = ("account", "observed_at", "observed_by")


@dataclass(frozen=True)
class Observation:
    """Who saw the records, when, and by which evidence.

    :param observed_at: when the request was sent: content cannot be older than that.
    :param observed_by: poll, webhook, backfill or push.
    :param evidence: what to look up to see it again: ``poll:<run id>``, a file's URI.
    :param arrived_at: when the webhook about these records arrived; None where none did.
    """

    account: str
    observed_at: datetime
    observed_by: str
    evidence: str
    arrived_at: datetime | None = None

    @cached_property
    def columns(self) -> tuple[str, str, str]:
        """Return the values of :data:`SEEN`; the time as text, which is written once and not for each row."""
        return self.account, self.observed_at.isoformat(), self.observed_by


@dataclass
class Batch:
    """Records sorted by what is to be done with them, as ``Intake.prepare`` does with a page."""

    observation: Observation
    # As its records were read: with the columns that the account had declared then.
    resource: Resource
    tally: Tally = field(default_factory=Tally)
    # Every id that the page names, also of records that are unchanged or put aside.
    ids: list[int] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    # Each with the time at which its page was asked for.
    changed: dict[int, datetime] = field(default_factory=dict)
    # Those of the changed that were not in the mirror when the page was prepared.
    new: list[int] = field(default_factory=list)
    # None of the page's records was in the mirror when it was prepared.
    all_new: bool = False
    # Changed records that did not tell what belongs to them: it has to be read from the record itself.
    untold: list[int] = field(default_factory=list)
    # Of a list's changed records, when the mirror's rows were observed as the page was prepared.
    observed: dict[int, datetime | None] = field(default_factory=dict)
    # Listed in a version that is older than the mirror's, and left as they are.
    held: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rows: list[list[Row]] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    # The two above, ready to be sent.
    blocks: list[Block] = field(default_factory=list)
    # Read directly, where the list by which the mirror knows them tells less, or has another form.
    own_answer: bool = False

    def goes_with(self, other: Batch) -> bool:
        """Return whether both can be stored as one: nothing is put aside, and no record changed in both."""
        alike = self.resource is other.resource and not self.rejected and not other.rejected
        return alike and self.changed.keys().isdisjoint(other.changed)


def together(batches: Sequence[Batch]) -> Batch:
    """Return prepared pages of one walk, each of which goes with the others, as one batch."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    whole = Batch(first.observation, first.resource, all_new=all(batch.all_new for batch in batches))
    for batch in batches:
        whole.tally.add(batch.tally)
        whole.changed |= batch.changed
        whole.observed |= batch.observed
        for name in ("ids", "good", "new", "untold", "held"):
            getattr(whole, name).extend(getattr(batch, name))
    whole.blocks = [Block.joined(blocks) for blocks in zip(*(batch.blocks for batch in batches), strict=True)]
    return whole
