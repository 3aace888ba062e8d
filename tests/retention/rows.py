"""Rows that are put into the warehouse one by one, and sweeps over them: each world is an account of its own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from enerflo_sync.crm.retention import Kept
from enerflo_sync.retention.sweep import Gone, Scope, Sweep
from enerflo_sync.warehouse.schema import metadata

BEFORE = datetime(2026, 1, 1, tzinfo=UTC)
OLD = BEFORE - timedelta(days=30)
RECENT = BEFORE + timedelta(days=1)
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
NOW = BEFORE + timedelta(days=100)
BOUND = "retention.some_days: 100"

# A row of a table: its name, and the values that matter.
Row = tuple[str, dict[str, Any]]


def put(connection: sa.Connection, table: str, **values: Any) -> None:
    """Insert a row; a column that must have a value and is not given gets a meaningless one."""
    found = metadata.tables[table]
    needed = (one for one in found.columns if not one.nullable and one.server_default is None)
    row = {one.name: _meaningless(one.type) for one in needed} | values
    connection.execute(found.insert().values(row))


def _meaningless(kind: sa.types.TypeEngine[Any]) -> Any:
    match kind:
        case sa.Boolean():
            return False
        case sa.DateTime():
            return OLD
        case sa.LargeBinary():
            return b""
        case ARRAY():
            return []
        case JSON():
            return {}
        case sa.Text():
            return "-"
    return 0


def put_worlds(engine: sa.Engine, worlds: dict[str, Iterable[Row]]) -> None:
    """Put the rows of each world under its name as the account."""
    with engine.begin() as connection:
        for account, rows in worlds.items():
            for table, values in rows:
                put(connection, table, account=account, **values)


def scope_of(kind: Kept, account: str, *, dry: bool = False) -> Scope:
    return Scope(account, kind, BEFORE, BOUND, NOW, None if dry else "a-run")


def swept(engine: sa.Engine, sweep: Sweep, kind: Kept, account: str, *, dry: bool = False) -> list[Gone]:
    """Return what each batch of a sweep deleted, or would."""
    with engine.connect() as connection:
        return list(sweep.batches(connection, scope_of(kind, account, dry=dry)))


def rows_of(engine: sa.Engine, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement), values)]


def total(gone: Iterable[Gone]) -> tuple[int, int]:
    """Return how many rows, and of how many bytes."""
    found = list(gone)
    return sum(one.rows for one in found), sum(one.size for one in found)


def noted(engine: sa.Engine) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return by account and kind what is noted of the run."""
    found = rows_of(
        engine,
        "select account, kind, rows, bytes, oldest, newest, pruned_at, bound, before from sync.prunings"
        " where run_id = 'a-run'",
    )
    return {(row[0], row[1]): row[2:] for row in found}
