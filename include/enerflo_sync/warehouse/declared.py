"""Columns that sync.yaml adds to mirror tables: create, remember and drop them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB, insert

from enerflo_sync.addresses import DEFAULT_ACCOUNT
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, declared_columns
from enerflo_sync.warehouse.storing import nobody_stores

# SQL types by their names in the configuration.
TYPES: dict[str, sa.types.TypeEngine[Any]] = {
    "text": sa.Text(),
    "integer": sa.BigInteger(),
    "number": sa.Numeric(),
    "boolean": sa.Boolean(),
    "timestamp": sa.DateTime(timezone=True),
    "date": sa.Date(),
    "json": JSONB(),
}
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


_NOWHERE: Mapping[str, str] = {}
_OTHER_TYPE = (
    "Choose another name, or remove the line, run enerflo-sync migrate --drop-columns, and declare it again."
)


@dataclass(frozen=True, order=True)
class DeclaredColumn:
    """One declared column.

    :param table: the mirror's table, without its schema.
    :param path: names and list positions within Enerflo's record, outermost first.
    :param type: a key of :data:`TYPES`.
    :param max_length: for text and json: maximum number of characters of a stored value.
    """

    table: str
    name: str
    path: tuple[str, ...]
    type: str
    max_length: int

    @property
    def place(self) -> str:
        """Return the column's name in the form ``installs.lender``."""
        return f"{self.table}.{self.name}"


@dataclass
class Changes:
    """Changes to the mirror's tables, each column in the form ``installs.lender``.

    :param to_fill: columns that were not filled from every stored record yet.
    :param kept: columns that are no longer declared, and stay until they are dropped.
    """

    added: list[str] = field(default_factory=list)
    read_elsewhere: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    to_fill: list[DeclaredColumn] = field(default_factory=list)


def read_declared(connection: sa.Connection, account: str, tables: Iterable[str]) -> list[DeclaredColumn]:
    """Return an account's declared columns in the warehouse, by name."""
    columns = declared_columns.c
    query = (
        sa.select(columns.table_name, columns.column_name, columns.path, columns.type, columns.max_length)
        .where(columns.account == account, columns.table_name.in_(list(tables)))
        .order_by(columns.table_name, columns.column_name)
    )
    return [
        DeclaredColumn(table, name, tuple(path), type_, max_length)
        for table, name, path, type_, max_length in connection.execute(query)
    ]


def declare(
    connection: sa.Connection,
    account: str,
    wanted: Sequence[DeclaredColumn],
    places: Mapping[str, str] = _NOWHERE,
    *,
    drop: bool = False,
) -> Changes:
    """Change the mirror's tables to match the declared columns, in the caller's transaction.

    :param places: for errors, where each column is declared, by :attr:`DeclaredColumn.place`.
    :param drop: drop columns that are no longer declared, unless another account declares them.
    :raises ConfigurationError: a column exists already, with another type or without a declaration.
    """
    nobody_stores(connection, account)
    changes = Changes()
    columns = declared_columns.c
    known = {(one.table_name, one.column_name): one for one in _rows(connection, account)}
    for one in wanted:
        row = known.pop((one.table, one.name), None)
        if row is None or row.type != one.type:
            _make(connection, one, places)
            changes.added.append(one.place)
            _remember(connection, account, one)
        elif (tuple(row.path), row.max_length) != (one.path, one.max_length):
            changes.read_elsewhere.append(one.place)
            _remember(connection, account, one)
        elif row.filled_at is not None:
            continue
        changes.to_fill.append(one)
    for table, name in sorted(known):
        if not drop:
            changes.kept.append(f"{table}.{name}")
            continue
        connection.execute(
            sa.delete(declared_columns).where(
                columns.account == account, columns.table_name == table, columns.column_name == name
            )
        )
        if not _declared_types(connection, table, name):
            connection.exec_driver_sql(f"alter table {MIRROR_SCHEMA}.{table} drop column if exists {name}")
        changes.dropped.append(f"{table}.{name}")
    return changes


def filled(connection: sa.Connection, account: str, done: Iterable[DeclaredColumn]) -> None:
    """Record that these columns were filled from every stored record, unless their path has changed since."""
    columns = declared_columns.c
    for one in done:
        connection.execute(
            sa.update(declared_columns)
            .values(filled_at=sa.func.now())
            .where(
                columns.account == account,
                columns.table_name == one.table,
                columns.column_name == one.name,
                columns.path == list(one.path),
                columns.max_length == one.max_length,
            )
        )


def column_values(connection: sa.Connection, account: str, column: DeclaredColumn) -> tuple[int, int]:
    """Return how many rows of live records have a value in a declared column, and how many rows there are."""
    statement = (
        f"select count({column.name}), count(*) from {MIRROR_SCHEMA}.{column.table}"  # noqa: S608 - checked
        " where account = :account and deleted_at is null"
    )
    values, rows = connection.execute(sa.text(statement), {"account": account}).one()
    return values, rows


def filled_by_sweep(connection: sa.Connection, account: str, table: str, began_at: datetime) -> None:
    """Record that a read of a whole table has filled the columns declared before it began."""
    columns = declared_columns.c
    connection.execute(
        sa.update(declared_columns)
        .values(filled_at=sa.func.now())
        .where(
            columns.account == account,
            columns.table_name == table,
            columns.filled_at.is_(None),
            columns.declared_at <= began_at,
        )
    )


def require_filled(
    connection: sa.Connection,
    account: str,
    wanted: Iterable[DeclaredColumn],
    places: Mapping[str, str] = _NOWHERE,
) -> None:
    """Return if the mirror has all these columns, filled from all known records.

    :param places: for errors, where each column is declared, by :attr:`DeclaredColumn.place`.
    :raises ConfigurationError: a column is missing, is read from another path, or is not filled yet, so that
        its nulls mean nothing; the text says what to run.
    """
    wanted = list(wanted)
    if not wanted:
        return
    known = {(row.table_name, row.column_name): row for row in _rows(connection, account)}
    # Each account fills its own rows.
    of = "" if account == DEFAULT_ACCOUNT else f" --account {account}"
    for one in wanted:
        row = known.get((one.table, one.name))
        if row is not None and (tuple(row.path), row.type) == (one.path, one.type):
            if row.filled_at is not None:
                continue
            trouble, next_step = (
                "not every record was read for it yet",
                f"Run enerflo-sync migrate{of}, and then enerflo-sync poll{of}.",
            )
        elif row is not None and row.type != one.type:
            trouble, next_step = f"the warehouse has it as {row.type}, not as {one.type}", _OTHER_TYPE
        else:
            trouble = "the warehouse does not have it so yet"
            next_step = f"Run enerflo-sync migrate{of}."
        raise ConfigurationError(
            f"the column {one.name} of {MIRROR_SCHEMA}.{one.table} is declared, and {trouble}.",
            where=_place(one, places),
            next_step=next_step,
        )


def _place(column: DeclaredColumn, places: Mapping[str, str]) -> str:
    return places.get(column.place, f"sync.yaml: columns, {column.place}")


def _rows(connection: sa.Connection, account: str) -> list[sa.Row[tuple[object, ...]]]:
    return list(
        connection.execute(sa.select(declared_columns).where(declared_columns.c.account == account)).all()
    )


def _make(connection: sa.Connection, one: DeclaredColumn, places: Mapping[str, str]) -> None:
    found = connection.scalar(
        sa.text(
            "select format_type(atttypid, atttypmod) from pg_attribute"
            " where attrelid = cast(:table as regclass) and attname = :name and not attisdropped"
        ),
        {"table": f"{MIRROR_SCHEMA}.{one.table}", "name": one.name},
    )
    if found is None:
        type_ = TYPES[one.type].compile(_DIALECT)
        connection.exec_driver_sql(f"alter table {MIRROR_SCHEMA}.{one.table} add column {one.name} {type_}")
        return
    types = _declared_types(connection, one.table, one.name)
    if types != [one.type]:
        made_by = "an earlier declaration" if types else "somebody else"
        raise ConfigurationError(
            f"{MIRROR_SCHEMA}.{one.table} has a column {one.name} already: {found}, made by {made_by}.",
            where=f"{_place(one, places)}, type {one.type}",
            next_step=_OTHER_TYPE,
        )


def _declared_types(connection: sa.Connection, table: str, name: str) -> list[str]:
    """Return the types that accounts declare for a column."""
    columns = declared_columns.c
    query = sa.select(columns.type).distinct().where(columns.table_name == table, columns.column_name == name)
    return list(connection.scalars(query))


def _remember(connection: sa.Connection, account: str, one: DeclaredColumn) -> None:
    values = {
        "path": list(one.path),
        "type": one.type,
        "max_length": one.max_length,
        # Reads that began earlier do not fill this column.
        "declared_at": sa.func.now(),
        "filled_at": None,
    }
    key = {"account": account, "table_name": one.table, "column_name": one.name}
    statement = insert(declared_columns).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[*key], set_=values))
