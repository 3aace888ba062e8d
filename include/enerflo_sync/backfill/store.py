"""Backfills in the warehouse: the request, the progress of each chunk, and the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from enerflo_sync.backfill.chunks import Chunk, Source
from enerflo_sync.backfill.request import BackfillRequest, Kind, Part
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.tally import Tally
from enerflo_sync.warehouse.schema import backfill_chunks, backfill_pages, backfills


class State(StrEnum):
    """The state of a backfill."""

    ESTIMATED = "estimated"
    READING = "reading"
    FINISHED = "finished"
    SUPERSEDED = "superseded"


class ChunkState(StrEnum):
    """The state of a chunk. Incomplete: what it reads was refused, or does not exist."""

    WAITING = "waiting"
    READING = "reading"
    DONE = "done"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True)
class Backfill:
    """One stored backfill; ``sync.backfills`` describes the columns."""

    account: str
    backfill_id: str
    state: State
    request: BackfillRequest
    words: str
    request_hash: str
    mapping_hash: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    per_page: int
    listed: int | None
    requests: int
    throttled: int
    widened_seconds: float
    estimate: Mapping[str, Any] | None
    outcome: Mapping[str, Any] | None


@dataclass
class Count:
    """Outcomes of one resource's records; ``new`` counts applied records that the mirror lacked."""

    tally: Tally = field(default_factory=Tally)
    new: int = 0


@dataclass
class Progress:
    """The progress of a chunk."""

    state: ChunkState = ChunkState.WAITING
    reached_id: int | None = None
    reached_total: int | None = None
    reached_row: int = 0
    pages: int = 0
    rows: int = 0
    requests: int = 0
    throttled: int = 0
    disorder_seconds: float = 0.0
    ids_disordered: bool = False
    started_at: datetime | None = None
    finished_at: datetime | None = None
    counts: dict[str, Count] = field(default_factory=dict)

    def count(self, resource: str, tally: Tally, new: int = 0) -> None:
        """Add the outcomes of some records."""
        count = self.counts.setdefault(resource, Count())
        count.tally.add(tally)
        count.new += new

    def incomplete(self, resource: str, why: str) -> None:
        """Record that something could not be read."""
        self.counts.setdefault(resource, Count()).tally.because("incomplete", f"{resource}: {why}")


@dataclass(frozen=True)
class StoredChunk:
    """A chunk and its progress."""

    chunk: Chunk
    progress: Progress


def insert_backfill(
    connection: sa.Connection,
    account: str,
    backfill_id: str,
    request: BackfillRequest,
    *,
    mapping_hash: str,
    per_page: int,
    now: datetime,
) -> None:
    """Store a requested backfill; unfinished older ones of the same installs are abandoned."""
    same = (
        backfills.c.account == account,
        backfills.c.request_hash == request.hash,
        backfills.c.state.in_(("estimated", "reading")),
    )
    connection.execute(sa.update(backfills).where(*same).values(state=State.SUPERSEDED, touched_at=now))
    connection.execute(
        sa.insert(backfills).values(
            account=account,
            backfill_id=backfill_id,
            state=State.ESTIMATED,
            kind=request.kind,
            words=request.words,
            window_from=request.window_from,
            window_to=request.window_to,
            install_ids=list(request.install_ids),
            deal_ids=list(request.deal_ids),
            resources=sorted(request.parts),
            request_hash=request.hash,
            mapping_hash=mapping_hash,
            created_at=now,
            touched_at=now,
            per_page=per_page,
        )
    )


def load_backfill(connection: sa.Connection, account: str, backfill_id: str) -> Backfill:
    """Return a stored backfill.

    :raises ConfigurationError: there is no backfill with that id.
    """
    row = (
        connection.execute(
            sa.select(backfills).where(backfills.c.account == account, backfills.c.backfill_id == backfill_id)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise ConfigurationError(
            "there is no such backfill.",
            where=f"account {account}, backfill {backfill_id}",
            next_step="The table sync.backfills has those there are; start a new one without --resume.",
        )
    request = BackfillRequest(
        Kind(row["kind"]),
        row["window_from"],
        row["window_to"],
        tuple(row["install_ids"]),
        tuple(row["deal_ids"]),
        frozenset(Part(name) for name in row["resources"]),
    )
    own = {"state", "request"}
    names = [one.name for one in fields(Backfill) if one.name not in own]
    return Backfill(**{name: row[name] for name in names}, state=State(row["state"]), request=request)


def update_backfill(connection: sa.Connection, backfill: Backfill, now: datetime, **values: Any) -> None:
    """Set columns of a backfill; ``requests`` and refusals are added to the stored values."""
    for name in ("requests", "throttled"):
        if name in values:
            values[name] = backfills.c[name] + values[name]
    connection.execute(
        sa.update(backfills)
        .where(backfills.c.account == backfill.account, backfills.c.backfill_id == backfill.backfill_id)
        .values(touched_at=now, **values)
    )


def insert_chunks(connection: sa.Connection, backfill: Backfill, chunks: Sequence[Chunk]) -> None:
    """Store planned chunks."""
    if not chunks:
        return
    rows = [
        {
            "account": backfill.account,
            "backfill_id": backfill.backfill_id,
            "chunk": one.number,
            "resource": str(one.source),
            "label": one.label,
            "state": str(ChunkState.WAITING),
            "first_row": one.first_row,
            "expected_rows": one.rows,
            "high_id": one.high_id,
            "low_id": one.low_id,
            "reached_row": one.first_row,
        }
        for one in chunks
    ]
    connection.execute(sa.insert(backfill_chunks), rows)


def load_chunks(connection: sa.Connection, account: str, backfill_id: str) -> list[StoredChunk]:
    """Return a backfill's chunks in order."""
    rows = connection.execute(
        sa.select(backfill_chunks)
        .where(backfill_chunks.c.account == account, backfill_chunks.c.backfill_id == backfill_id)
        .order_by(backfill_chunks.c.chunk)
    ).mappings()
    return [_stored_chunk(row) for row in rows]


def _stored_chunk(row: sa.RowMapping) -> StoredChunk:
    chunk = Chunk(
        row["chunk"],
        Source(row["resource"]),
        row["label"],
        row["first_row"],
        row["expected_rows"],
        row["high_id"],
        row["low_id"],
    )
    own = {"state", "counts"}
    names = [one.name for one in fields(Progress) if one.name not in own]
    return StoredChunk(
        chunk,
        Progress(
            ChunkState(row["state"]),
            **{name: row[name] for name in names},
            counts={name: _count(found) for name, found in row["tallies"].items()},
        ),
    )


def _count(found: Mapping[str, Any]) -> Count:
    tally = Tally(
        **{name: found[name] for name in ("read", "applied", "unchanged", "quarantined", "skipped")}
    )
    for group, reasons in found["reasons"].items():
        for reason, count in reasons.items():
            tally.because(group, reason, count)
    return Count(tally, found["new"])


def save_progress(connection: sa.Connection, backfill: Backfill, number: int, progress: Progress) -> None:
    """Store a chunk's progress, in the transaction that stores its records."""
    values = {one.name: getattr(progress, one.name) for one in fields(Progress) if one.name != "counts"}
    values["state"] = str(progress.state)
    tallies = {name: {**c.tally.as_dict(), "new": c.new} for name, c in progress.counts.items()}
    connection.execute(
        sa.update(backfill_chunks)
        .where(
            backfill_chunks.c.account == backfill.account,
            backfill_chunks.c.backfill_id == backfill.backfill_id,
            backfill_chunks.c.chunk == number,
        )
        .values(**values, tallies=tallies)
    )


def note_page(
    connection: sa.Connection, backfill: Backfill, number: int, page: int, install_ids: Sequence[int]
) -> None:
    """Store the ids of a page's installs, in the transaction that stores the installs."""
    connection.execute(
        sa.insert(backfill_pages).values(
            account=backfill.account,
            backfill_id=backfill.backfill_id,
            chunk=number,
            page=page,
            install_ids=list(install_ids),
        )
    )


_NAMED = sa.text("""
/* enerflo-sync backfill: installs that its pages named */
select p.install_ids from sync.backfill_pages p
where p.account = :account and p.backfill_id = :backfill_id
  and (cast(:chunk as integer) is null or p.chunk = :chunk)
""")


def named_pages(
    connection: sa.Connection, backfill: Backfill, chunk: int | None = None
) -> Iterator[list[int]]:
    """Yield, page by page, the installs that a chunk's or all pages have listed; an install may repeat.

    One database row per page: one row per install would take many times the memory.
    """
    values = {"account": backfill.account, "backfill_id": backfill.backfill_id, "chunk": chunk}
    yield from connection.scalars(_NAMED, values)


def named_ids(connection: sa.Connection, backfill: Backfill, chunk: int | None = None) -> set[int]:
    """Return the installs that a chunk's pages, or all pages, have listed so far."""
    return set().union(*named_pages(connection, backfill, chunk))


def forget_pages(connection: sa.Connection, backfill: Backfill) -> None:
    """Delete the stored ids of the pages after the backfill's end."""
    connection.execute(
        sa.delete(backfill_pages).where(
            backfill_pages.c.account == backfill.account,
            backfill_pages.c.backfill_id == backfill.backfill_id,
        )
    )
