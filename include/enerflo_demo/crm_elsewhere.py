"""Moves the demo's ``crm`` tables out of the warehouse into a database of another kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from enerflo_sandbox.crm_ddl import CRM_TABLES
from enerflo_sync.errors import ConfigurationError

SCHEMA = "crm"
# Rows in one statement: to a DuckDB each statement costs a millisecond, however many rows it brings.
_TOGETHER = 200
_MOMENT = sa.DateTime(timezone=True).with_variant(mysql.TIMESTAMP(fsp=6), "mysql", "mariadb")


def move_crm(warehouse: sa.Engine, crm: sa.Engine, *, replace: bool = False) -> None:
    """Make the five tables in the schema ``crm`` of another database, and drop them from the warehouse.

    What was planted stays listed in the warehouse's ``sandbox.planted_differences``.

    :param replace: drop tables of the same names there.
    :raises ConfigurationError: there are tables of these names.
    """
    found = sa.MetaData()
    found.reflect(warehouse, schema=SCHEMA, only=CRM_TABLES)
    tables = [_translated(found.tables[f"{SCHEMA}.{name}"]) for name in CRM_TABLES]
    with warehouse.begin() as ours, crm.begin() as theirs:
        if _is_mysql(theirs):
            theirs.execute(sa.text("set time_zone = '+00:00'"))
        _make(theirs, tables, replace)
        for table in tables:
            _fill(ours, theirs, table)
        for table in tables:
            ours.execute(sa.text(f"drop table {SCHEMA}.{table.name}"))


def _translated(table: sa.Table) -> sa.Table:
    """Return the same table in types that every database has; only its key is kept of its indexes."""
    columns = [
        sa.Column(one.name, _type_of(one), primary_key=one.primary_key, autoincrement=False)
        for one in table.columns
    ]
    return sa.Table(table.name, sa.MetaData(), *columns, schema=SCHEMA)


def _type_of(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    kind = column.type
    if isinstance(kind, sa.Text):
        # MySQL takes no text without a length as a key.
        return sa.String(191) if column.primary_key else sa.Text()
    if isinstance(kind, sa.DateTime):
        return _MOMENT
    if isinstance(kind, sa.Numeric):
        return kind if kind.precision else sa.Numeric(20, 6)
    return kind.as_generic()


def _make(theirs: sa.Connection, tables: list[sa.Table], replace: bool) -> None:
    letters = " character set utf8mb4" if _is_mysql(theirs) else ""
    theirs.execute(sa.text(f"create schema if not exists {SCHEMA}{letters}"))
    taken = [table.name for table in tables if sa.inspect(theirs).has_table(table.name, schema=SCHEMA)]
    if taken and not replace:
        raise ConfigurationError(
            f"the CRM's database has tables of these names: {', '.join(taken)}.",
            where=f"schema {SCHEMA}",
            next_step="Use another database, or replace=True to drop those named like the sandbox's own.",
        )
    for table in tables:
        if table.name in taken:
            theirs.execute(sa.schema.DropTable(table))
        theirs.execute(sa.schema.CreateTable(table))


def _fill(ours: sa.Connection, theirs: sa.Connection, table: sa.Table) -> None:
    zoneless = _is_mysql(theirs)
    rows = ours.execute(sa.select(sa.text("*")).select_from(sa.text(f"{SCHEMA}.{table.name}"))).mappings()
    for part in rows.partitions(_TOGETHER):
        given = [{name: _given(value, zoneless) for name, value in row.items()} for row in part]
        theirs.execute(sa.insert(table).values(given))


def _given(value: object, zoneless: bool) -> object:
    """Return a value for a session in UTC, whose driver may take no zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if zoneless and isinstance(value, datetime) else value


def _is_mysql(theirs: sa.Connection) -> bool:
    return theirs.dialect.name in ("mysql", "mariadb")
