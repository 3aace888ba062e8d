"""Bulk loads: COPY to a staging table, then one statement that touches only rows that differ."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg.copy import Copy, FileWriter, LibpqWriter

# Bytes sent between two waits for the server: each wait lets another thread take the interpreter, and getting
# it back takes longer than a small block is worth.
FLUSH_THRESHOLD = 1 << 20

# These say when and how a row was seen, not what it says: alone they never make a row different.
OBSERVATION_COLUMNS = ("observed_at", "observed_by", "raw_hash")


@dataclass(frozen=True)
class Merged:
    """How many staged rows were new, and how many replaced a row that differed."""

    inserted: int = 0
    updated: int = 0

    @property
    def written(self) -> int:
        """Return the number of rows that were written at all."""
        return self.inserted + self.updated


def driver_connection(connection: sa.Connection) -> psycopg.Connection[Any]:
    """Return psycopg's own connection under ``connection``, in the same transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101 - warehouse_engine only makes these
    return driver


@dataclass(frozen=True)
class Owner:
    """The record that staged rows belong to.

    :param column: the staged column that holds the record's id.
    """

    table: sa.Table
    id_column: str
    column: str


@dataclass(frozen=True)
class Block:
    """Rows as COPY takes them: a line each, unless they are ``binary``. It can be sent as often as needed."""

    data: bytes
    rows: int
    binary: bool = False

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """Return the rows of several blocks of one table as one."""
        return cls(
            b"".join(block.data for block in blocks), sum(block.rows for block in blocks), blocks[0].binary
        )


def encode(connection: sa.Connection, rows: Sequence[Sequence[Any]]) -> Block:
    """Return ``rows`` as a block; sends nothing. ``connection`` lends its type adaptation.

    Apart from the sending, so that one page is encoded while the server takes in another.
    """
    buffer = BytesIO()
    with (
        driver_connection(connection).cursor() as cursor,
        Copy(cursor, writer=FileWriter(buffer)) as copy,
    ):
        write_row = copy.write_row
        for row in rows:
            write_row(row)
    return Block(buffer.getvalue(), len(rows))


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_LENGTH = struct.Struct(">i").pack
_COLUMNS = struct.Struct(">h").pack
_BIGINT = struct.Struct(">q").pack
_BINARY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_END = _COLUMNS(-1)

# What the server's receive function of a type takes: some bytes before, and those of the value.
_RECEIVED: Mapping[str, tuple[bytes, Callable[[Any], bytes]]] = {
    "text": (b"", str.encode),
    "bigint": (b"", _BIGINT),
    "jsonb": (b"\1", bytes),
    "timestamptz": (b"", lambda moment: _BIGINT((moment - _EPOCH) // timedelta(microseconds=1))),
}


def encode_binary(types: Sequence[str], rows: Sequence[Sequence[Any]]) -> Block:
    """Return ``rows`` without nulls as a binary block: the short way of long values, which nobody escapes.

    :param types: of each column: text, bigint, timestamptz (as aware datetime) or jsonb (as UTF-8 JSON text).
    """
    columns = [_RECEIVED[name] for name in types]
    # Most columns say the same in every row: what is the very object of the row before is not packed again.
    last: list[Any] = [object()] * len(columns)
    packed: list[tuple[bytes, bytes]] = [(b"", b"")] * len(columns)
    head = _COLUMNS(len(columns))
    pieces = []
    for row in rows:
        pieces.append(head)
        for at, value in enumerate(row):
            if value is not last[at]:
                before, received = columns[at]
                data = received(value)
                last[at], packed[at] = value, (_LENGTH(len(before) + len(data)) + before, data)
            pieces += packed[at]
    return Block(b"".join(pieces), len(rows), binary=True)


def stage_name(table: sa.Table) -> str:
    """Return the name of the temporary table of :func:`stage`: another one where columns are declared.

    It lives as long as its session, in which somebody may declare further columns.
    """
    return f"stage_{table.name}{table.info.get('declared', '')}"


def stage(connection: sa.Connection, table: sa.Table, columns: Sequence[str], block: Block) -> str:
    """COPY ``block`` into an empty temporary table shaped like ``table`` and return its name.

    The table lives as long as the session and is emptied at commit, so that one session reuses it for
    every page of a walk.
    """
    name = stage_name(table)
    driver = driver_connection(connection)
    optional = [
        f"; alter table {name} alter column {column.name} drop not null"
        for column in table.columns
        if not column.nullable and column.name not in columns
    ]
    # All in one message to the server.
    driver.execute(
        f"create temporary table if not exists {name}"  # noqa: S608 - names of the declared schema
        f" (like {table.fullname} including storage including compression) on commit delete rows"
        f"; delete from {name}{''.join(optional)}"
    )
    send(connection, name, columns, block)
    return name


def send(connection: sa.Connection, table: str, columns: Sequence[str], block: Block) -> None:
    """COPY ``block`` into ``table``, a name of the declared schema or of a temporary table."""
    form = " (format binary)" if block.binary else ""
    statement = f"copy {table} ({', '.join(columns)}) from stdin{form}"
    pieces = (_BINARY_HEAD, block.data, _BINARY_END) if block.binary else (block.data,)
    with driver_connection(connection).cursor() as cursor:
        writer = LibpqWriter(cursor, flush_threshold=FLUSH_THRESHOLD)
        with cursor.copy(statement, writer=writer) as copy:
            for piece in pieces:
                copy.write(piece)


def send_new(connection: sa.Connection, blocks: Iterable[tuple[sa.Table, Sequence[str], Block]]) -> bool:
    """COPY rows that are believed to be new straight into their tables; the short way of a first load.

    :param blocks: each with its table and its columns.
    :return: False, with nothing written, where one of the rows was there after all.
    """
    try:
        with connection.begin_nested():
            for table, columns, block in blocks:
                if block.rows:
                    send(connection, table.fullname, columns, block)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def merge(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    block: Block,
    owner: Owner | None = None,
) -> Merged:
    """Insert the rows that are new and update those whose content differs; leave the others untouched.

    A row that was observed later than the staged one is never overwritten, so two readers of one account
    may merge in any order. A tombstone is lifted by a row that is observed again, not by one that was
    observed before the deletion was found.

    :param columns: the staged columns, with every key column among them.
    :param block: rows in the order of ``columns``; each key at most once.
    :param owner: rows whose owner was observed, or found to be gone, later are left out: their answer is an
        old one.
    """
    name = stage(connection, table, columns, block)
    result = driver_connection(connection).execute(merge_statement(table, columns, name, owner))
    inserted, updated = result.fetchone() or (0, 0)
    return Merged(inserted, updated)


def merge_statement(table: sa.Table, columns: Sequence[str], source: str, owner: Owner | None) -> str:
    """Return the statement that brings ``source`` into ``table`` and counts what it wrote."""
    key = [column.name for column in table.primary_key.columns]
    values = [name for name in columns if name not in key]
    content = [name for name in values if name not in OBSERVATION_COLUMNS]
    assignments = [f"{name} = excluded.{name}" for name in values]
    differs = (
        f"({', '.join(f't.{name}' for name in content)})"
        f" is distinct from ({', '.join(f'excluded.{name}' for name in content)})"
    )
    if "absent_since" in table.c:
        # Where the record itself says whether it is deleted, its word stands.
        says_deleted = "deleted_at" in columns
        lifted = ["absent_since"] if says_deleted else ["absent_since", "deleted_at"]
        assignments += [f"{name} = null" for name in lifted]
        gone = " or ".join(f"t.{name} is not null" for name in lifted)
        found_gone = _found_gone("t") if says_deleted else "t.deleted_at"
        differs = f"({differs} or {gone}) and excluded.observed_at >= greatest(t.observed_at, {found_gone})"
    fresh = ""
    if owner is not None:
        fresh = (
            f"where not exists (select from {owner.table.fullname} o where o.account = s.account"
            f" and o.{owner.id_column} = s.{owner.column}"
            f" and greatest(o.observed_at, {_found_gone('o')}) > s.observed_at)"
        )
    action = f"update set {', '.join(assignments)} where {differs}" if content else "nothing"
    return f"""
        /* enerflo-sync: merge into {table.fullname} */
        with written as (
            insert into {table.fullname} as t ({", ".join(columns)})
            select {", ".join(columns)} from {source} s
            {fresh}
            on conflict ({", ".join(key)}) do {action}
            returning (xmax = 0) as inserted
        )
        select count(*) filter (where inserted), count(*) filter (where not inserted) from written
    """  # noqa: S608 - every name comes from the declared schema


def _found_gone(row: str) -> str:
    """Return when we found a record to be gone; null where it is not, or where only its own word says so."""
    # Its own word comes without absent_since, and its time is by the clock of the source.
    return f"case when {row}.absent_since is not null then {row}.deleted_at end"


def append(connection: sa.Connection, table: sa.Table, columns: Sequence[str], block: Block) -> int:
    """Add the rows of an append-only table whose key is not there yet; return how many were added."""
    name = stage(connection, table, columns, block)
    listed = ", ".join(columns)
    cursor = driver_connection(connection).execute(
        f"/* enerflo-sync: append to {table.fullname} */"  # noqa: S608 - names of the declared schema
        f" insert into {table.fullname} ({listed}) select {listed} from {name} on conflict do nothing"
    )
    return cursor.rowcount
