"""Derives ``enerflo.submissions`` (signed designs) again from the stored events that contained them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.inbox.kinds import KINDS
from enerflo_sync.inbox.submission import Submission, read_submission
from enerflo_sync.rebuild.condition import Condition
from enerflo_sync.rebuild.events import StoredEvent, StoredEvents
from enerflo_sync.rebuild.report import SAMPLES, TableOutcome
from enerflo_sync.rebuild.shape import Shape
from enerflo_sync.rebuild.source import Chunk, Portion
from enerflo_sync.rebuild.staged import merge_staged
from enerflo_sync.resources.resource import Row
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.schema import submissions

EVENTS = tuple(name for name, kind in KINDS.items() if kind.submission)
NO_EVENT = "its event is not kept"

_SHAPE = Shape(
    submissions,
    tuple(column.name for column in submissions.columns if column.name != "account"),
    stamped=False,
)
_JSON = ("adders", "sources")

_PRESENT = """
/* enerflo-sync rebuild: designs of some deals in the mirror */
select deal_id, content_hash, event, evidence, install_id from enerflo.submissions
where account = %(account)s and deal_id = any(%(deals)s::text[])
"""
_GONE = """
/* enerflo-sync rebuild: designs that their event does not contain */
delete from enerflo.submissions t
using unnest(%(deals)s::text[], %(hashes)s::text[]) as k(deal_id, content_hash)
where t.account = %(account)s and t.deal_id = k.deal_id and t.content_hash = k.content_hash
"""

Version = tuple[str, str]


class SignedDesigns:
    """The signed designs in one account's submission events."""

    name = _SHAPE.name

    def __init__(
        self, connection: sa.Connection, account: str, condition: Condition | None, *, write: bool
    ) -> None:
        self._connection = connection
        self._account = account
        self._write = write
        self._everything = condition is None
        self._rows_before = 0
        self._events = StoredEvents(connection, account, self.name, EVENTS, condition)

    def begin(self) -> int:
        """List the events; see :class:`enerflo_sync.rebuild.source.Source`."""
        count = sa.select(sa.func.count()).select_from(submissions)
        self._rows_before = self._connection.scalar(count.where(submissions.c.account == self._account)) or 0
        return self._events.begin()

    def portions(self) -> Iterator[Portion]:
        """Yield the numbers of the deals that events are about."""
        return self._events.portions()

    def work(self, portion: Portion, *, refuse: BadRecordError | None = None) -> Chunk:
        """Derive the designs of some deals; see :class:`enerflo_sync.rebuild.source.Source`."""
        chunk = Chunk()
        found: dict[Version, list[tuple[StoredEvent, Submission]]] = {}
        for events in self._events.read(portion.keys, chunk).values():
            for event in events:
                try:
                    if refuse is not None:
                        raise refuse
                    design = read_submission(event.body)
                except Exception as error:
                    chunk.cannot_read(event.event_id, bad_record(error))
                else:
                    found.setdefault((design.deal_id, design.content_hash), []).append((event, design))
        present = self._present({deal for deal, _ in found})
        chunk.looked_at = len(found) + len(chunk.unreadable)
        outcome = TableOutcome(self.name, len(found))
        rows = [self._row(told, present.get(version)) for version, told in found.items()]
        if rows:
            merge_staged(self._connection, _SHAPE, rows, outcome, write=self._write)
        gone = _gone(found, present)
        chunk.known = sum(version in present for version in found) + len(gone)
        if gone:
            self._drop(gone, outcome)
        chunk.outcomes = [outcome]
        return chunk

    def _present(self, deals: set[str]) -> dict[Version, tuple[str, str, int | None]]:
        values = {"account": self._account, "deals": list(deals)}
        rows = driver_connection(self._connection).execute(_PRESENT, values)
        return {(deal, digest): (event, evidence, install) for deal, digest, event, evidence, install in rows}

    def _row(
        self, told: Sequence[tuple[StoredEvent, Submission]], present: tuple[str, str, int | None] | None
    ) -> Row:
        """Return the row of a version, from the event that the present row names, or else from the first."""
        named = present[:2] if present else None
        event, design = next(
            (one for one in told if (one[0].event, one[0].source_uri) == named),
            told[0],
        )
        ids = (event.install_id, *(other.install_id for other, _ in told), present[2] if present else None)
        values: dict[str, Any] = {
            "account": self._account,
            "deal_id": design.deal_id,
            "content_hash": design.content_hash,
            "event": event.event,
            "install_id": next((one for one in ids if one is not None), None),
            "first_seen_at": event.received_at,
            "observed_by": "webhook",
            "evidence": event.source_uri,
            "sources": design.sources,
            **design.values,
        }
        for name in _JSON:
            values[name] = msgspec.json.encode(values[name]).decode()
        return tuple(values[name] for name in _SHAPE.staged)

    def _drop(self, gone: Sequence[Version], outcome: TableOutcome) -> None:
        outcome.gone = len(gone)
        outcome.keys["gone"] = [dict(zip(_SHAPE.key, key, strict=True)) for key in gone[:SAMPLES]]
        if self._write:
            values = {
                "account": self._account,
                "deals": [deal for deal, _ in gone],
                "hashes": [digest for _, digest in gone],
            }
            driver_connection(self._connection).execute(_GONE, values)

    def left(self, known: int) -> Mapping[tuple[str, str], int]:
        """Return how many designs no stored event contains; empty if only some installs are rebuilt."""
        return {(self.name, NO_EVENT): self._rows_before - known} if self._everything else {}


def _gone(
    found: Mapping[Version, Sequence[tuple[StoredEvent, Submission]]],
    present: Mapping[Version, tuple[str, str, int | None]],
) -> list[Version]:
    """Return the rows whose event was read and now gives another version."""
    read = {(deal, event.event, event.source_uri) for (deal, _), told in found.items() for event, _ in told}
    return [
        version
        for version, (event, evidence, _) in present.items()
        if version not in found and (version[0], event, evidence) in read
    ]
