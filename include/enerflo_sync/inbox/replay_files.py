"""Replay of files: read unreadable input again from the archive, by the inbox's own reader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.drop.drop import Content, Drop, DropFile
from enerflo_sync.inbox.batch import EVENT_ID_LENGTH, FileBatch, Limits, Reader
from enerflo_sync.inbox.load import DropLoader
from enerflo_sync.inbox.quarantine_items import QuarantineItem, payload_of
from enerflo_sync.inbox.replay_report import ItemOutcome, Outcomes, ReplayOutcome
from enerflo_sync.inbox.unpack import Document, Problem, unpack
from enerflo_sync.mirror.forgotten import forgotten_of
from enerflo_sync.mirror.reading_run import Run
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.resources.fingerprint import content_hash
from enerflo_sync.warehouse.pruned import pruning_of
from enerflo_sync.warehouse.schema import quarantine, webhook_events

Part = Document | Problem
_CHUNK = 10_000
# Bytes kept of an unreadable part.
_KEPT_BYTES = 65_536


@dataclass(frozen=True)
class _Readable:
    """What can now be read for one item of a file.

    :param parts: its events; for a whole file, also its other parts that stay unreadable.
    """

    item: QuarantineItem
    parts: Sequence[Part]
    arrived: datetime
    source: str


@dataclass
class _Found:
    """The result of reading one archived file again: verdicts on failing parts, and readable parts."""

    verdicts: Outcomes = field(default_factory=dict)
    readable: list[_Readable] = field(default_factory=list)


class FileReplay:
    """Reads the quarantined files, or parts of files, of one account again.

    :param drop: opened when the first file is read.
    """

    def __init__(
        self, connection: sa.Connection, drop: Callable[[], Drop], account: str, limits: Limits, clock: Clock
    ) -> None:
        self._connection = connection
        self._drop = drop
        self._account = account
        self._limits = limits
        self._clock = clock

    def look(self, items: Sequence[QuarantineItem]) -> Outcomes:
        """Return what a replay of these items would do, without writing."""
        verdicts: Outcomes = {}
        for source, some in _by_file(items).items():
            found = self._find(source, some)
            verdicts |= found.verdicts
            for one in found.readable:
                with self._connection.begin():
                    fresh = len(self._unknown(one.parts))
                detail = f"ingest {_events(fresh)}{one.source}"
                verdicts[one.item.item_id] = ItemOutcome(ReplayOutcome.WOULD_REPLAY, detail)
        return verdicts

    def load_files(self, items: Sequence[QuarantineItem], run: Run) -> tuple[Outcomes, list[str]]:
        """Load what can be read now; return the outcome of each item, and the events to hydrate."""
        verdicts: Outcomes = {}
        taken: list[str] = []
        for source, some in _by_file(items).items():
            found = self._find(source, some)
            verdicts |= found.verdicts
            for failed in found.verdicts.values():
                tally = Tally(read=1, quarantined=1)
                tally.because("quarantined", failed.detail)
                run.count("files", tally)
            for one in found.readable:
                fresh = self._take(one, source, run)
                taken += fresh
                detail = f"{_events(len(fresh))} ingested{one.source}"
                verdicts[one.item.item_id] = ItemOutcome(ReplayOutcome.REPLAYED, detail, closes=True)
        return verdicts, taken

    def _take(self, one: _Readable, source: str, run: Run) -> list[str]:
        """Store an item's events, and return the ids of the new ones.

        Counts no further copy of an event that is stored already, or of a part that is quarantined.
        """
        drop = self._drop()
        with self._connection.begin():
            forgotten = forgotten_of(self._connection, self._account)
        reader = Reader(self._connection, drop, self._account, self._limits, self._clock, {}, forgotten)
        batch = FileBatch(self._clock.now())
        with self._connection.begin():
            fresh = self._unknown(one.parts)
            known_parts = self._quarantine_parts(source)
        for part in one.parts:
            if isinstance(part, Problem):
                if part.position not in known_parts:
                    reader.take(batch, part, one.arrived, source)
            elif event_id_of(part) in fresh:
                reader.take(batch, part, one.arrived, source)
        known = sum(isinstance(part, Document) and event_id_of(part) not in fresh for part in one.parts)
        run.count("events", Tally(read=known, unchanged=known))
        DropLoader(self._connection, drop, self._account, self._limits, self._clock).commit(
            reader.closed(batch)
        )
        run.count("events", batch.tally)
        return list(fresh)

    def _unknown(self, parts: Sequence[Part]) -> dict[str, None]:
        """Return the ids of the events in ``parts`` that are not stored, in order."""
        ids = list(dict.fromkeys(event_id_of(part) for part in parts if isinstance(part, Document)))
        table = webhook_events.c
        known: set[str] = set()
        for at in range(0, len(ids), _CHUNK):
            query = sa.select(table.event_id).where(
                table.account == self._account, table.event_id.in_(ids[at : at + _CHUNK])
            )
            known.update(self._connection.scalars(query))
        return {event_id: None for event_id in ids if event_id not in known}

    def _quarantine_parts(self, source: str) -> set[int]:
        """Return the positions of a file's parts that have their own items."""
        query = sa.select(quarantine.c.evidence_uri).where(
            quarantine.c.account == self._account,
            quarantine.c.kind == "file",
            quarantine.c.evidence_uri.startswith(f"{source}#", autoescape=True),
        )
        return {place(uri)[1] for uri in self._connection.scalars(query)}

    def _find(self, source: str, items: Sequence[QuarantineItem]) -> _Found:
        """Read a file once for all its items; if the archive no longer has it, use the item's kept bytes."""
        found = _Found()
        content = self._content(source)
        parts: dict[int, list[Part]] = {}
        if content is not None and not content.too_large:
            for part in self._unpacked(content.data):
                parts.setdefault(part.position, []).append(part)
        for item in items:
            position = place(item.evidence_uri or "")[1]
            if content is None:
                kept = self._kept(item, position)
                self._sort(found, item, kept, item.first_seen_at, self._from_kept(item))
            elif content.too_large:
                found.verdicts[item.item_id] = ItemOutcome(ReplayOutcome.STILL_FAILING, "file_too_large")
            elif position:
                self._sort(found, item, parts.get(position, []), content.modified_at)
            else:
                whole = [part for some in parts.values() for part in some]
                self._sort(found, item, whole, content.modified_at)
        return found

    def _sort(
        self, found: _Found, item: QuarantineItem, parts: Sequence[Part], arrived: datetime, source: str = ""
    ) -> None:
        position = place(item.evidence_uri or "")[1]
        problem = next(
            (part for part in parts if isinstance(part, Problem) and part.position == position), None
        )
        if problem is not None:
            found.verdicts[item.item_id] = ItemOutcome(ReplayOutcome.STILL_FAILING, problem.reason + source)
        elif not parts:
            reason = f"the file has no part {position} any more"
            found.verdicts[item.item_id] = ItemOutcome(ReplayOutcome.NOT_FOUND, reason)
        else:
            found.readable.append(_Readable(item, parts, arrived, source))

    def _content(self, source: str) -> Content | None:
        """Return a file of the archive; None if it is missing or unreadable."""
        if not source:
            return None
        file = DropFile(source.rpartition("/")[2], source)
        found = next(iter(self._drop().read([file], self._limits.file)))
        return found if isinstance(found, Content) else None

    def _from_kept(self, item: QuarantineItem) -> str:
        """Return the words that the kept payload of an item was read, and why the archive's file was not."""
        with self._connection.begin():
            by = pruning_of(self._connection, self._account, "archive", item.first_seen_at)
        return ", from the kept payload" + (f": the archive's file was {by}" if by is not None else "")

    def _kept(self, item: QuarantineItem, position: int) -> list[Part]:
        with self._connection.begin():
            payload = payload_of(self._connection, self._account, item.item_id)
        if len(payload) >= _KEPT_BYTES:
            return [Problem(position, "not_kept_whole", b"")]
        parts = self._unpacked(payload)
        # The payload of a part is a text by itself; the item has the part's position in the file.
        return [msgspec.structs.replace(part, position=position) for part in parts] if position else parts

    def _unpacked(self, data: bytes) -> list[Part]:
        return list(unpack(data, most_file=self._limits.file, most_event=self._limits.event))


def event_id_of(document: Document) -> str:
    """Return the id under which an event is stored."""
    return content_hash(document.canonical)[:EVENT_ID_LENGTH]


def place(uri: str) -> tuple[str, int]:
    """Return the file and the position in ``file#position``; 0 also means the whole file."""
    file, mark, position = uri.rpartition("#")
    return (file, int(position)) if mark and position.isascii() and position.isdigit() else (uri, 0)


def _by_file(items: Sequence[QuarantineItem]) -> dict[str, list[QuarantineItem]]:
    found: dict[str, list[QuarantineItem]] = {}
    for item in items:
        found.setdefault(place(item.evidence_uri or "")[0], []).append(item)
    return found


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}" if count else "no event that is not stored already"
