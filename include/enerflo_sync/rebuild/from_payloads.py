"""Derives records again that came from webhook payloads, because the API key may not read them.

If Enerflo answers a direct read, its payloads are not used as data (decision 0007), and no raw copy of such
an answer is stored. A row that came from a payload has the digest of the payload's bytes, so it is derived
again from that payload. A missing row is derived from the newest payload about its record, unless a poll has
read the list.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.mirror.declared import with_declared
from enerflo_sync.mirror.quarantine import Rejected
from enerflo_sync.rebuild.condition import Condition
from enerflo_sync.rebuild.events import OF_INSTALL, StoredEvent, StoredEvents, of_record
from enerflo_sync.rebuild.records import Derived, Records
from enerflo_sync.rebuild.source import Chunk, Portion
from enerflo_sync.resources.fingerprint import raw_hash, stable_bytes
from enerflo_sync.resources.resource import Payloads, Resource
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.schema import installs
from enerflo_sync.warehouse.watermarks import read_watermark

NOT_KEPT = "read from Enerflo, of which no raw copy is kept: a poll reads it again"


class PayloadRecords:
    """The records of one resource that the mirror has from payloads."""

    def __init__(
        self,
        connection: sa.Connection,
        account: str,
        resource: Resource,
        payloads: Payloads,
        condition: Condition | None,
        at: datetime,
        *,
        write: bool,
    ) -> None:
        name = resource.name
        self.name = str(resource.table.name)
        of = OF_INSTALL if payloads.of_install else of_record(resource.reads[-1].subject, resource.id_column)
        resource = with_declared(connection, resource, account)
        self._connection = connection
        self._account = account
        self._resource = resource
        self._events = StoredEvents(connection, account, name, payloads.events, condition, of)
        self._payloads = payloads
        self._everything = condition is None
        tables = [part.table.name for part in resource.parts]
        self._records = Records(connection, account, resource, tables, at, write=write)
        self._polled = False
        self._rows_before = 0

    def begin(self) -> int:
        """List the events; see :class:`enerflo_sync.rebuild.source.Source`."""
        self._polled = read_watermark(self._connection, self._account, self._resource.name) is not None
        table = self._resource.table
        count = sa.select(sa.func.count()).select_from(table).where(table.c.account == self._account)
        self._rows_before = self._connection.scalar(count) or 0
        return self._events.begin()

    def portions(self) -> Iterator[Portion]:
        """Yield the numbers of the records that events are about."""
        return self._events.portions()

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Derive some records; see :class:`enerflo_sync.rebuild.source.Source`."""
        chunk = Chunk()
        told = self._told(portion, chunk)
        rows = self._rows(told)
        gone = self._gone_installs([event for some in told.values() for _, event in some])
        derived: list[Derived] = []
        for record_id, payloads in told.items():
            chosen = self._chosen(payloads, rows.get(record_id), gone)
            if chosen is None:
                continue
            chunk.looked_at += 1
            chunk.known += record_id in rows
            one = self._derive(record_id, chosen, rows.get(record_id), chunk, refuse)
            if one is not None:
                derived.append(one)
        chunk.outcomes = self._records.compare(derived)
        return chunk

    def _told(self, portion: Portion, chunk: Chunk) -> dict[int, list[tuple[bytes, StoredEvent]]]:
        """Return by record id all payloads about the record, oldest first, each with its event."""
        told: dict[int, list[tuple[bytes, StoredEvent]]] = {}
        for events in self._events.read(portion.keys, chunk).values():
            for event in events:
                try:
                    for raw in self._payloads.records(event.body):
                        record_id, stable = self._resource.record_id(raw), stable_bytes(raw)
                        told.setdefault(record_id, []).append((stable, event))
                except Exception as error:
                    # Records that were read from the event before the error still count.
                    chunk.cannot_read(event.event_id, bad_record(error))
        return told

    def _rows(self, ids: Collection[int]) -> dict[int, tuple[bytes | None, datetime | None]]:
        table, column = self._resource.table, self._resource.id_column
        found = driver_connection(self._connection).execute(
            f"/* enerflo-sync rebuild: rows that payloads are about */"  # noqa: S608 - names of the schema
            f" select {column}, raw_hash, deleted_at from {table.fullname}"
            f" where account = %s and {column} = any(%s::bigint[])",
            (self._account, list(ids)),
        )
        return {record_id: (digest, dead_since) for record_id, digest, dead_since in found}

    def _gone_installs(self, events: Sequence[StoredEvent]) -> set[int]:
        """Return the deleted installs that events are about; their change orders were deleted with them."""
        ids = {event.install_id for event in events if event.install_id is not None}
        query = sa.select(installs.c.install_id).where(
            installs.c.account == self._account,
            installs.c.install_id.in_(ids),
            installs.c.deleted_at.is_not(None),
        )
        return set(self._connection.scalars(query))

    def _chosen(
        self,
        payloads: Sequence[tuple[bytes, StoredEvent]],
        row: tuple[bytes | None, datetime | None] | None,
        gone: Collection[int],
    ) -> tuple[bytes, StoredEvent] | None:
        """Return the payload from which the record's row came or would come; None if there is none."""
        if row is not None:
            return next((one for one in reversed(payloads) if _is_from(row[0], one[0])), None)
        newest = payloads[-1]
        about_gone = self._payloads.of_install and newest[1].install_id in gone
        return None if self._polled or about_gone else newest

    def _derive(
        self,
        record_id: int,
        chosen: tuple[bytes, StoredEvent],
        row: tuple[bytes | None, datetime | None] | None,
        chunk: Chunk,
        refuse: BadRecordError | None,
    ) -> Derived | None:
        data, event = chosen
        try:
            if refuse is not None:
                raise refuse
            contents = self._resource.rows_of(data)
        except Exception as error:
            bad = bad_record(error)
            key: dict[str, Any] = {self._resource.id_column: record_id}
            item = Rejected("record", bad.what, bad.field, data, event.source_uri, self.name, key)
            chunk.rejected.append(item)
            return None
        dead_since = row[1] if row else None
        digest = self._resource.digest(data)
        return Derived(record_id, contents, "webhook", digest, row is not None, dead_since)

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return how many rows have no payload; empty if only some installs are rebuilt."""
        return {(self.name, NOT_KEPT): self._rows_before - known} if self._everything else {}


def _is_from(digest: bytes | None, payload: bytes) -> bool:
    """Return whether a row's digest is the digest of a payload's bytes, whichever release stored it."""
    return digest is not None and digest.startswith(raw_hash(payload))
