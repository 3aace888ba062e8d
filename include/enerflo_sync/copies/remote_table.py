"""One CRM table in its own database: the columns to read, and how a row is identified."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.dialects.base import JSON, Dialect, RemoteColumn
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import FieldType, TableMapping
from enerflo_sync.crm.names import relation
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.crm.sent_along import sent_columns
from enerflo_sync.errors import ConfigurationError

# PostgreSQL cuts a column's name off after this many bytes.
_LONGEST_NAME = 63
# Boolean texts in the form that the copy accepts.
INSIDE, _OUTSIDE = "true", "false"


@dataclass(frozen=True)
class RemoteTable:
    """A CRM table that is copied.

    :param table: its identifier in its database.
    :param columns: the columns that the mapping names, in its order, and the columns that ``writes`` names.
    :param where: the mapping's condition, which the CRM's database evaluates.
    """

    dialect: Dialect
    table: str
    columns: Sequence[RemoteColumn]
    key: Sequence[RemoteColumn]
    where: str | None

    @property
    def signature(self) -> str:
        """Return a digest of everything besides the rows that decides the copy's content."""
        content = [
            self.dialect.version,
            self.dialect.title,
            [self.table, self.where],
            [
                [one.name, one.type, one.declared, *([] if one.own == one.name else [one.own])]
                for one in self.columns
            ],
            [one.name for one in self.key],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def row_hash(self) -> str:
        """Return the expression of the digest of a row's columns and of whether the row meets ``where``."""
        return self.dialect.row_digest(self.columns, [] if self.where is None else [self.inside])

    @property
    def whole_key(self) -> str | None:
        """Return the expression of a key that is one whole number; None for any other key."""
        is_whole = len(self.key) == 1 and self.key[0].type == "bigint"
        return self.dialect.whole(self.key[0]) if is_whole else None

    @property
    def key_hash(self) -> str:
        """Return the expression of the digest of a row's key; an integer key is its own digest."""
        if self.whole_key is not None:
            return f"coalesce({self.whole_key}, -1)"
        return self.dialect.digest([self.dialect.as_text(one) for one in self.key])

    @property
    def inside(self) -> str:
        """Return the expression of whether a row meets ``where``, as text."""
        if self.where is None:
            return f"'{INSIDE}'"
        condition = self.where.replace(":", "\\:")
        return f"case when ({condition}) then '{INSIDE}' else '{_OUTSIDE}' end"

    @property
    def unread(self) -> str | None:
        """Return the expression of the columns whose value the copy cannot hold; None: it can hold all."""
        return self.dialect.unread(self.columns)

    def select(self, condition: str = "") -> str:
        """Return the query of rows: columns, digests of row and key, whether it meets ``where``, unread."""
        values = [self.dialect.selected(one) for one in self.columns]
        unread = [] if self.unread is None else [self.unread]
        names = ", ".join([*values, self.row_hash, self.key_hash, self.inside, *unread])
        return f"select {names} from {self.table} {condition}"  # noqa: S608 - quoted names

    def bucket(self, buckets: int) -> str:
        """Return the expression of the bucket of a row's key."""
        return self.dialect.remainder(self.key_hash, buckets)

    def rows(
        self, connection: sa.Connection, condition: str = "", values: Mapping[str, Any] | None = None
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield rows as they go into the copy, a part at a time."""
        conversions = [
            (n, conversion)
            for n, column in enumerate(self.columns)
            if (conversion := self.dialect.conversion(column)) is not None
        ]
        for part in self.dialect.rows(connection, self.select(condition), values or {}):
            yield [_converted(row, conversions) for row in part] if conversions else part


def remote_table(
    theirs: sa.Connection,
    crm: CrmConnections,
    config: SyncConfig,
    account: str,
    name: str,
    *,
    again: bool = False,
) -> RemoteTable:
    """Return a mapped table as its own database describes it.

    :param theirs: a connection of ``crm``.
    :param name: the table's name in ``sync.yaml``.
    :param again: read the catalog even if the table's columns are known.
    :raises ConfigurationError: the table or a column is not there.
    """
    mapping = config.tables_for(account)[name]
    schema, table = relation(mapping.crm_table)
    dialect, there = crm.dialect, crm.relation(theirs, schema, table, again=again)
    columns = {one.own: one for one in there.columns}
    if not columns:
        of_a_file = "Correct crm_table (schema.table), or the file that accounts.*.crm names."
        of_a_server = (
            "Correct crm_table (schema.table; of MySQL database.table), or grant SELECT on the table."
        )
        raise ConfigurationError(
            f"{dialect.title} has no table {schema}.{table}, or the role may not see it.",
            where=_place(config, account, name, "crm_table"),
            next_step=of_a_file if dialect.is_file else of_a_server,
        )
    # A new record of Enerflo is filled from further columns as well, if the table has them.
    along = sent_columns(mapping.kind(name), config)
    named = {column: dialect.same_name(column, columns) for column in (*mapping.crm_columns, *along)}
    found = {column: replace(columns[own], name=column) for column, own in named.items() if own is not None}
    missing = [column for column in mapping.crm_columns if column not in found]
    if missing:
        near = nearest(missing[0], columns)
        raise ConfigurationError(
            f"{schema}.{table} has no column {', '.join(missing)}.",
            where=_place(config, account, name, *_option_of(mapping, missing[0])),
            next_step=f"Did you mean {near}?" if near else f"Write {listed(columns, limit=30)}.",
        )
    long = next((column for column in mapping.crm_columns if len(column.encode()) > _LONGEST_NAME), None)
    if long is not None:
        raise ConfigurationError(
            f"the name of column {long} of {schema}.{table} has more than {_LONGEST_NAME} bytes: the copy"
            " in the warehouse cannot have it.",
            where=_place(config, account, name, *_option_of(mapping, long)),
            next_step=f"Map a view of {dialect.title} that gives the column a shorter name.",
        )
    sent = [column for column in along if column in found]
    return RemoteTable(
        dialect,
        there.identifier,
        [
            _as_mapped(dialect, found[column], mapping)
            for column in dict.fromkeys([*mapping.crm_columns, *sent])
        ],
        [found[column] for column in mapping.key_columns],
        mapping.where,
    )


def _place(config: SyncConfig, account: str, table: str, *option: str) -> str:
    """Return file, line and name of a table's option, for errors."""
    spot = config.table_spot(account, table, *option)
    return f"{spot}: {'.'.join(('tables', table, *option))}"


def _option_of(mapping: TableMapping, column: str) -> tuple[str, ...]:
    """Return the option of a table that names a column; empty if the option names several columns."""
    if column in mapping.fields:
        return mapping.section, column
    if column in mapping.key_columns:
        return ("key",)
    if column in mapping.join_columns:
        return ("join",)
    if mapping.to_salesforce is not None and column == mapping.to_salesforce.id:
        return "salesforce", "id"
    times = ("updated_at", "arrived_at")
    return next(((one,) for one in times if getattr(mapping, one) == column), ())


def _as_mapped(dialect: Dialect, column: RemoteColumn, mapping: TableMapping) -> RemoteColumn:
    """Return a column with the type in which the mapping compares it, if its own type differs."""
    field = mapping.fields.get(column.name)
    if field is not None and field.type in (FieldType.INTEGER, FieldType.NUMBER):
        return dialect.as_number(column)
    is_json = field is not None and field.type is FieldType.JSON
    return replace(column, type=JSON) if is_json and column.type == "text" else column


def _converted(row: Sequence[Any], conversions: Sequence[tuple[int, Callable[[Any], Any]]]) -> list[Any]:
    values = list(row)
    for n, conversion in conversions:
        if values[n] is not None:
            values[n] = conversion(values[n])
    return values
