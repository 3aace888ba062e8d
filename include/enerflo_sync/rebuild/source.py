"""What a rebuild works through: keys in chunks, and what one chunk of them comes to."""

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
    """What one chunk came to.

    :param looked_at: records of the chunk; ``known`` of them stand in the mirror.
    :param outcomes: by table, the record's own first.
    :param rejected: stored records that cannot be read any more.
    :param left: records that stay as they are: their table, the reason, and how many.
    :param unreadable: of those, the ones whose stored event cannot be read: reason and key.
    """

    looked_at: int = 0
    known: int = 0
    outcomes: list[TableOutcome] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    left: dict[tuple[str, str], int] = field(default_factory=dict)
    unreadable: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def leave(self, table_name: str, reason: str) -> None:
        """Note one record that stays as it is."""
        self.left[table_name, reason] = self.left.get((table_name, reason), 0) + 1

    def cannot_read(self, event_id: str, trouble: BadRecordError) -> None:
        """Note a stored event that cannot be read, and why."""
        reason = f"{trouble.what} at {trouble.field}" if trouble.field else trouble.what
        self.unreadable.append((reason, {"event_id": event_id}))


class Portion(NamedTuple):
    """Keys of the records of one chunk, and what was read of them ahead, if anything."""

    keys: Sequence[int]
    ready: Any = None


class Source(Protocol):
    """Stored records of one kind."""

    @property
    def name(self) -> str:
        """Return the table of the records themselves."""
        ...

    def begin(self) -> int:
        """Return how many records there are, about; in the caller's transaction."""
        ...

    def portions(self) -> Iterator[Portion]:
        """Yield the records in portions; from another thread, so that nothing is asked of the connection."""
        ...

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Compare one chunk with the mirror, and write what differs where that is wanted.

        In the caller's transaction, which sees one state of the mirror.

        :param refuse: why none of these can be written: quarantine them.
        """
        ...

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return what the chunks did not meet: rows that no stored record tells of.

        :param known: the rows that they did meet.
        """
        ...
