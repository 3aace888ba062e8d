"""Observed vendor records, sorted by what happens to them: one page, or several pages with few changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from enerflo_sync.mirror.forgotten import NOBODY, Forgotten
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import Block

# An implausible size for a record: it is quarantined unparsed, so that memory stays bounded.
RECORD_LIMIT = 1_000_000
SEEN = ("account", "observed_at", "observed_by")


@dataclass(frozen=True)
class Observation:
    """Who saw the records, when, and by which evidence.

    :param observed_at: when the request was sent: the content is at least that new.
    :param observed_by: poll, webhook, backfill or push.
    :param evidence: where to find the source again: ``poll:<run id>``, a file's URI.
    :param arrived_at: when the webhook about these records arrived; None without a webhook.
    """

    account: str
    observed_at: datetime
    observed_by: str
    evidence: str
    arrived_at: datetime | None = None

    @cached_property
    def columns(self) -> tuple[str, str, str]:
        """Return the values of :data:`SEEN`. The time is text, formatted once instead of once per row."""
        return self.account, self.observed_at.isoformat(), self.observed_by


@dataclass
class Batch:
    """Records sorted by what happens to them; ``Intake.prepare`` makes a batch from a page."""

    observation: Observation
    # Includes the columns that the account had declared when the records were read.
    resource: Resource
    tally: Tally = field(default_factory=Tally)
    # Whose records are stored without personal data.
    forgotten: Forgotten = NOBODY
    # Every id on the page, also of unchanged and quarantined records.
    ids: list[int] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    # By id, when the record's page was requested.
    changed: dict[int, datetime] = field(default_factory=dict)
    # Those of ``changed`` that were not in the mirror when the page was prepared.
    new: list[int] = field(default_factory=list)
    # The mirror had none of the page's records when the page was prepared.
    all_new: bool = False
    # Changed records whose child rows are missing from the list: a direct read has to fetch them.
    untold: list[int] = field(default_factory=list)
    # For changed records from a list: ``observed_at`` of the mirror's row when the page was prepared.
    observed: dict[int, datetime | None] = field(default_factory=dict)
    # Records listed in an older version than the mirror's; their rows stay unchanged.
    held: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rows: list[list[Row]] = field(default_factory=list)
    versions: list[Row] = field(default_factory=list)
    # ``rows`` and ``versions``, encoded for COPY.
    blocks: list[Block] = field(default_factory=list)
    # Direct reads of records whose list omits fields or has another form.
    own_answer: bool = False

    def goes_with(self, other: Batch) -> bool:
        """Return whether both can be stored as one batch.

        They were read by the same rules, nothing is quarantined, and no record changed in both.
        """
        alike = self.resource is other.resource and self.forgotten == other.forgotten
        good = not self.rejected and not other.rejected
        return alike and good and self.changed.keys().isdisjoint(other.changed)


def together(batches: Sequence[Batch]) -> Batch:
    """Combine prepared pages of one walk, each compatible with the others, into one batch."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    whole = Batch(first.observation, first.resource, all_new=all(batch.all_new for batch in batches))
    whole.forgotten = first.forgotten
    for batch in batches:
        whole.tally.add(batch.tally)
        whole.changed |= batch.changed
        whole.observed |= batch.observed
        for name in ("ids", "good", "new", "untold", "held"):
            getattr(whole, name).extend(getattr(batch, name))
    whole.blocks = [Block.joined(blocks) for blocks in zip(*(batch.blocks for batch in batches), strict=True)]
    return whole
