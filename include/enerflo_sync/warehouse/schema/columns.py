"""Shared parts of the table declarations: schemas, and columns of every table."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

MIRROR_SCHEMA = "enerflo"
SYNC_SCHEMA = "sync"
# No CRM table is in one of them.
OWN_SCHEMAS = (MIRROR_SCHEMA, SYNC_SCHEMA)
VERSION_TABLE = "enerflo_sync_schema_version"


def time(name: str, *, nullable: bool = True) -> Column[Any]:
    """Return a column of moments; all our times are ``timestamptz``."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def text(*names: str) -> list[Column[Any]]:
    """Return nullable text columns."""
    return [Column(name, Text) for name in names]


def mirror_table(name: str, key: list[Column[Any]], columns: list[Column[Any]]) -> Table:
    """Declare a table of current records, with the columns that every such table has."""
    return Table(
        name,
        metadata,
        Column("account", Text, nullable=False),
        *key,
        *columns,
        time("observed_at", nullable=False),
        Column("observed_by", Text, nullable=False),
        time("absent_since"),
        time("deleted_at"),
        # Digest of the record's original bytes without volatile parts: equal means "do not parse".
        Column("raw_hash", LargeBinary),
        PrimaryKeyConstraint("account", *(column.name for column in key)),
        Index(f"{name}_observed", "account", "observed_at"),
        Index(f"{name}_gone", "account", "deleted_at", postgresql_where="deleted_at is not null"),
        schema=MIRROR_SCHEMA,
    )


def versions_table(name: str, id_column: str) -> Table:
    """Declare one table of raw versions: every distinct content of a kind of record, as Enerflo sent it.

    A row never changes. The record's own table names its present version in a column ``content_hash``.
    """
    return Table(
        name,
        metadata,
        required("account"),
        required(id_column, BigInteger),
        required("content_hash"),
        required("raw", JSONB),
        time("first_seen_at", nullable=False),
        required("observed_by"),
        required("evidence"),
        PrimaryKeyConstraint("account", id_column, "content_hash"),
        schema=MIRROR_SCHEMA,
    )


def sync_table(name: str, *columns: Any, filled: int = 100) -> Table:
    """Declare a table in schema ``sync``.

    :param filled: percent of a page that new rows fill. Free space lets an updated row stay in its page; if
        its indexed columns stay the same too, no index is updated.
    """
    table = Table(name, metadata, Column("account", Text, nullable=False), *columns, schema=SYNC_SCHEMA)
    table.info["fillfactor"] = filled
    return table


def required(name: str, kind: Any = Text) -> Column[Any]:
    """Return a column that is not nullable."""
    return Column(name, kind, nullable=False)
