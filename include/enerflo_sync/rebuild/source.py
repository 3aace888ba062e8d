"""The interface of a rebuild's sources: stored records in portions, and the result of each chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.rebuild.report import TableOutcome

REFUSED = "refused_by_the_warehouse"


@dataclass
class Chunk:
    """The result of one chunk.

    :param looked_at: the number of records in the chunk.
    :param known: how many of these have a row in the mirror.
    :param outcomes: the differences by table, beginning with the records' own table.
    :param rejected: stored records that cannot be read.
    :param left: counts of records that stay as they are, by table and reason.
    :param unreadable: stored events that cannot be read, with reason and key.
    """

    looked_at: int = 0
    known: int = 0
    outcomes: list[TableOutcome] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    left: dict[tuple[str, str], int] = field(default_factory=dict)
    unreadable: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def leave(self, table_name: str, reason: str) -> None:
        """Count one record that stays as it is."""
        self.left[table_name, reason] = self.left.get((table_name, reason), 0) + 1

    def cannot_read(self, event_id: str, trouble: BadRecordError) -> None:
        """Note a stored event that cannot be read, and why."""
        reason = f"{trouble.what} at {trouble.field}" if trouble.field else trouble.what
        self.unreadable.append((reason, {"event_id": event_id}))


class Portion(NamedTuple):
    """The keys of a chunk's records, and the data that was read ahead for them, if any."""

    keys: Sequence[int]
    ready: Any = None


class Source(Protocol):
    """Stored records of one kind."""

    @property
    def name(self) -> str:
        """Return the name of the records' own table."""
        ...

    def begin(self) -> int:
        """Prepare the source in the caller's transaction, and return the approximate number of records."""
        ...

    def portions(self) -> Iterator[Portion]:
        """Yield the records in portions; it runs in another thread and must not use the connection."""
        ...

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Compare one chunk with the mirror, and write the differences if wanted.

        Runs in the caller's repeatable-read transaction.

        :param refuse: the reason why these records cannot be written; then they are rejected.
        """
        ...

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return counts, by table and reason, of mirror rows that no stored record covers.

        :param known: the number of rows that the chunks covered.
        """
        ...
