"""Shared parts of the table declarations: schemas, and columns of every table."""

from __future__ import annotations

from functools import cache
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

from enerflo_sync.masking import PersonalData

metadata = MetaData()

MIRROR_SCHEMA = "enerflo"
SYNC_SCHEMA = "sync"
# No CRM table is in one of them.
OWN_SCHEMAS = (MIRROR_SCHEMA, SYNC_SCHEMA)
# Key in ``Column.info``: the class of personal data that the column holds.
_HOLDS = "personal_data"
VERSION_TABLE = "enerflo_sync_schema_version"


def time(name: str, *, nullable: bool = True) -> Column[Any]:
    """Return a column of moments; all our times are ``timestamptz``."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def text(*names: str) -> list[Column[Any]]:
    """Return nullable text columns."""
    return [Column(name, Text) for name in names]


def personal(holds: PersonalData, *names: str) -> list[Column[Any]]:
    """Return nullable text columns that hold personal data.

    Whatever is compared with one of them is masked in every output, unless the mapping says otherwise
    (``personal_data`` of the field); forgetting a person empties them.
    """
    return [Column(name, Text, info={_HOLDS: holds}) for name in names]


def personal_data_of(table: str) -> dict[str, PersonalData]:
    """Return which columns of a mirror table hold personal data, with its class; none for other tables."""
    found = metadata.tables.get(f"{MIRROR_SCHEMA}.{table}")
    columns = () if found is None else found.columns
    return {column.name: column.info[_HOLDS] for column in columns if _HOLDS in column.info}


@cache
def kind_of_column(name: str) -> PersonalData:
    """Return what a column of the mirror holds; a name means the same in every table of the mirror."""
    found = (table.columns.get(name) for table in metadata.tables.values() if table.schema == MIRROR_SCHEMA)
    kinds = (column.info.get(_HOLDS) for column in found if column is not None)
    return next((kind for kind in kinds if kind is not None), PersonalData.NONE)


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
