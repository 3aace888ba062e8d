"""Read files from a drop and prepare their events for storing: the work that needs no database."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.drop.drop import Content, Drop, DropFile, NotRead
from enerflo_sync.errors import BadRecordError
from enerflo_sync.inbox.forgotten_events import erased_body, is_about
from enerflo_sync.inbox.identify import EventState, identify
from enerflo_sync.inbox.json_text import canonical_json
from enerflo_sync.inbox.kinds import UNASKED
from enerflo_sync.inbox.unpack import Document, Problem, unpack
from enerflo_sync.mirror.forgotten import NOBODY, Forgotten
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.fingerprint import content_hash, raw_hash
from enerflo_sync.warehouse.bulk import Block, encode
from enerflo_sync.warehouse.schema import webhook_events

# Files per commit. Bytes are bounded too, since one file may contain thousands of events.
BATCH_FILES = 1_000
BATCH_BYTES = 8_000_000

COLUMNS = (
    *("account", "event_id", "event", "install_id", "deal_id", "content_hash", "received_at", "source_uri"),
    *("state", "record", "reason", "copies", "body"),
)
_STATE, _COPIES = COLUMNS.index("state"), COLUMNS.index("copies")
EVENT_ID_LENGTH = 32
# At most this many invalid parts of one file get a quarantine item each.
MOST_PROBLEMS = 100
MEGABYTE = 1_000_000
# In a list of files to move: once the file is in the archive, a forgotten customer must be erased in it.
TO_ERASE = "erase"


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes above which a file or an event is quarantined.

    :param ignored: event names that this account ignores, besides those that every account ignores.
    """

    file: int
    event: int
    ignored: frozenset[str] = UNASKED


class Move(msgspec.Struct, frozen=True, gc=False):
    """A file that was read, without its data, and its destination."""

    content: Content
    archive_uri: str


class Told(NamedTuple):
    """An event of a batch: its initial state, its number of copies in the batch, and its last arrival."""

    begins: EventState
    copies: int
    received_at: datetime


@dataclass
class FileBatch:
    """Files that commit together, and their events.

    :param began: when reading began; the upper bound of every arrival time in the batch.
    :param moves: files that may leave the drop once this batch is committed.
    :param fresh: per new file, by its address: digest with time of writing, address in the archive.
    :param block: the distinct events as rows of :data:`COLUMNS`, one line each.
    :param events: the same events by id, in the same order.
    """

    began: datetime
    moves: list[Move] = field(default_factory=list)
    fresh: dict[str, list[str]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    not_read: list[NotRead] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    files: int = 0
    block: Block = field(default_factory=lambda: Block(b"", 0))
    events: dict[str, Told] = field(default_factory=dict)
    # Archived files with events of forgotten customers.
    to_erase: set[str] = field(default_factory=set)
    _rows: dict[str, list[Any]] = field(default_factory=dict)
    _latest: dict[str, datetime] = field(default_factory=dict)

    def refuse(self, event_id: str, line: bytes) -> None:
        """Quarantine an event whose row the warehouse refuses.

        :param line: its row of ``block``. The last column is the body, in which COPY escapes backslashes.
        """
        told = self.events[event_id]
        self.events[event_id] = told._replace(begins=EventState.QUARANTINED)
        fields = line.rstrip(b"\n").split(b"\t")
        uri, body = fields[COLUMNS.index("source_uri")].decode(), fields[-1].replace(b"\\\\", b"\\")
        _quarantine(self, "file", BadRecordError("refused_by_the_warehouse"), body, uri, None, event_id)


class Reader:
    """Reads the files of one drop in batches.

    :param connection: used only for its type adaptation; nothing is sent.
    :param taken: files that an earlier run committed but did not move: address to digest and archive address.
    :param forgotten: whose events are stored without personal data, and whose files are noted in the batch.
    """

    def __init__(
        self,
        connection: sa.Connection,
        drop: Drop,
        account: str,
        limits: Limits,
        clock: Clock,
        taken: Mapping[str, list[str]],
        forgotten: Forgotten = NOBODY,
    ) -> None:
        self._forgotten = forgotten
        self._connection = connection
        self._drop = drop
        self._account = account
        self._limits = limits
        self._clock = clock
        self._taken = taken

    def batches(self, waiting: Iterable[DropFile]) -> Iterator[FileBatch]:
        """Yield ``waiting`` in batches. Sends nothing to the database, so it may run in a thread."""
        files = iter(waiting)
        while some := list(itertools.islice(files, BATCH_FILES)):
            batch, size = FileBatch(self._clock.now()), 0
            for found in self._drop.read(some, self._limits.file):
                batch.files += 1
                if isinstance(found, NotRead):
                    batch.not_read.append(found)
                    continue
                size += len(found.data) + self._sort_out(batch, found)
                if size > BATCH_BYTES:
                    yield self.closed(batch)
                    batch, size = FileBatch(self._clock.now()), 0
            yield self.closed(batch)

    def closed(self, batch: FileBatch) -> FileBatch:
        """Return ``batch`` with its events encoded for sending."""
        rows = batch._rows
        batch.block = encode(self._connection, list(rows.values()))
        batch.events = {
            event_id: Told(row[_STATE], row[_COPIES], batch._latest[event_id])
            for event_id, row in rows.items()
        }
        batch._rows, batch._latest = {}, {}
        return batch

    def _sort_out(self, batch: FileBatch, content: Content) -> int:
        """Add a file to ``batch``, and return the number of bytes that the batch keeps of it."""
        digest = f"{raw_hash(content.data).hex()} {content.modified_at.timestamp()}"
        light = Content(content.file, b"", content.modified_at, content.identity, content.too_large)
        key = content.file.key
        known = self._taken.get(key)
        if known is not None and known[0] == digest:
            batch.moves.append(Move(light, known[1]))
            if self._forgotten and not content.too_large and self._is_about_forgotten(content.data):
                # The customer was forgotten while the file could not be moved.
                batch.to_erase.add(known[1])
            return 0
        archive_uri = self._drop.archive_name(content, batch.began.date())
        batch.moves.append(Move(light, archive_uri))
        batch.fresh[key] = [digest, archive_uri]
        if content.too_large:
            self.reject(batch, "file_too_large", content.data, archive_uri, mark=repr(content.identity))
            return 0
        return self._take_all(batch, content, archive_uri)

    def _is_about_forgotten(self, data: bytes) -> bool:
        return any(
            isinstance(part, Document) and is_about(part.body, self._forgotten, self._limits.ignored)
            for part in unpack(data, most_file=self._limits.file, most_event=self._limits.event)
        )

    def _take_all(self, batch: FileBatch, content: Content, archive_uri: str) -> int:
        """Add every part of a file; if very many are invalid, only the first ones become items."""
        problems = held = 0
        for part in unpack(content.data, most_file=self._limits.file, most_event=self._limits.event):
            problems += isinstance(part, Problem)
            if isinstance(part, Document) or problems <= MOST_PROBLEMS:
                self.take(batch, part, content.modified_at, archive_uri)
                # Count unpacked bytes, because a small compressed file may hold large events.
                held += len(part.payload if isinstance(part, Problem) else part.canonical)
        further = problems - MOST_PROBLEMS
        if further > 0:
            self.reject(batch, "further_problems_in_the_file", b"", archive_uri, mark=archive_uri)
            batch.tally.read += further - 1
            batch.tally.quarantined += further - 1
        return held

    def take(self, batch: FileBatch, part: Document | Problem, arrived: datetime, source_uri: str) -> None:
        """Add one part of a file to ``batch``.

        :param arrived: when the file was written; an envelope's own time takes precedence.
        """
        uri = f"{source_uri}#{part.position}" if part.position else source_uri
        if isinstance(part, Problem):
            payload, mark = part.payload, part.mark
            if part.whole and source_uri in batch.to_erase:
                # The whole file contains the event of a forgotten customer.
                payload, mark = b"", mark or raw_hash(payload).hex()
            self.reject(batch, part.reason, payload, uri, mark)
            return
        batch.tally.read += 1
        if part.nul_removed:
            batch.tally.because("notice", "nul_removed")
        digest = content_hash(part.canonical)
        event_id = digest[:EVENT_ID_LENGTH]
        received = min(part.received_at or arrived, batch.began)
        batch._latest[event_id] = max(batch._latest.get(event_id, received), received)
        of_forgotten = self._forgotten and is_about(part.body, self._forgotten, self._limits.ignored)
        if of_forgotten:
            # This includes a copy of an event of this batch, because the copy is in another file.
            batch.to_erase.add(source_uri)
        row = batch._rows.get(event_id)
        if row is not None:
            row[_COPIES] += 1
            return
        known = identify(part.body, self._limits.ignored)
        canonical = canonical_json(erased_body(part.body)) if of_forgotten else part.canonical
        if known.trouble is not None:
            key = {"event_id": event_id}
            _quarantine(batch, "event", known.trouble, canonical, uri, key)
        batch._rows[event_id] = [
            *(self._account, event_id, known.event, known.install_id, known.deal_id, digest, received, uri),
            *(known.state, known.record, known.reason, 1, canonical.decode()),
        ]

    def reject(self, batch: FileBatch, reason: str, payload: bytes, uri: str, mark: str = "") -> None:
        """Quarantine a part that is not an event.

        :param mark: distinguishes it from other parts with the same truncated payload.
        """
        batch.tally.read += 1
        batch.tally.quarantined += 1
        _quarantine(batch, "file", BadRecordError(reason), payload, uri, None, mark)


def _quarantine(
    batch: FileBatch,
    kind: str,
    error: BadRecordError,
    payload: bytes,
    uri: str,
    key: dict[str, str] | None,
    mark: str = "",
) -> None:
    table = webhook_events.name if key else None
    item = Rejected(kind, error.what, error.field, payload, uri, table_name=table, key=key, mark=mark)
    batch.rejected.append(item)
    batch.tally.because("quarantined", item.described)
