"""Encode a batch's rows as blocks for COPY; quarantine only the record whose rows cannot be encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psycopg
import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.mirror.batch import Batch
from enerflo_sync.resources.resource import Resource, Row
from enerflo_sync.warehouse.bulk import encode, encode_binary

# Of the columns that :func:`version_columns` names.
VERSION_TYPES = ("text", "bigint", "text", "jsonb", "timestamptz", "text", "text")
_VERSION_ID = 1


def version_columns(resource: Resource) -> tuple[str, ...]:
    """Return the columns of a batch's raw versions, in their order."""
    when = ("first_seen_at", "observed_by", "evidence")
    return ("account", resource.id_column, "content_hash", "raw", *when)


def encode_batch(
    connection: sa.Connection,
    resource: Resource,
    batch: Batch,
    reject: Callable[[int, BadRecordError], None],
) -> None:
    """Encode the batch's rows as blocks, and release the rows.

    :param reject: called with each record that has an unencodable row, and the reason.
    """
    try:
        _set_blocks(connection, batch)
    except psycopg.OperationalError:
        raise
    except Exception:
        # One row is at fault; encode the rows one by one to find it.
        for record_id, error in _unwritable(connection, resource, batch).items():
            _leave_out(resource, batch, record_id)
            reject(record_id, error)
        _set_blocks(connection, batch)
    batch.rows, batch.versions = [], []


def _set_blocks(connection: sa.Connection, batch: Batch) -> None:
    batch.blocks = [encode(connection, rows) for rows in batch.rows]
    batch.blocks.append(encode_binary(VERSION_TYPES, batch.versions))


def _owned(resource: Resource, batch: Batch) -> Iterable[tuple[int, list[Row]]]:
    """Yield, for each part of the resource, the position of the record's id in a row, and the rows."""
    for part, rows in zip(resource.parts, batch.rows, strict=True):
        yield part.columns.index(part.owner or resource.id_column), rows


def _unwritable(connection: sa.Connection, resource: Resource, batch: Batch) -> dict[int, BadRecordError]:
    found: dict[int, BadRecordError] = {}

    def attempt(record_id: int, write: Callable[[Sequence[Row]], object], row: Row) -> None:
        try:
            write([row])
        except Exception as error:
            found.setdefault(record_id, bad_record(error))

    for at, rows in _owned(resource, batch):
        for row in rows:
            attempt(row[at], lambda some: encode(connection, some), row)
    for row in batch.versions:
        attempt(row[_VERSION_ID], lambda some: encode_binary(VERSION_TYPES, some), row)
    return found


def _leave_out(resource: Resource, batch: Batch, record_id: int) -> None:
    for at, rows in _owned(resource, batch):
        rows[:] = [row for row in rows if row[at] != record_id]
    batch.versions = [row for row in batch.versions if row[_VERSION_ID] != record_id]
    batch.changed.pop(record_id, None)
    batch.good = [one for one in batch.good if one != record_id]
    batch.untold = [one for one in batch.untold if one != record_id]
