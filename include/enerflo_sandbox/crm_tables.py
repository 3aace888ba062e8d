"""Makes and fills the demo's ``crm`` schema from the company's truth, with declared differences planted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from enerflo_sandbox import crm_ddl
from enerflo_sandbox.crm_plants import CrmRows, PlantedDifference, Row
from enerflo_sandbox.world import World
from enerflo_sync.errors import ConfigurationError

Tick = Callable[[str, int], None]
_TICK_ROWS = 2_000


@dataclass(frozen=True)
class CrmTables:
    """What was made: rows per table, and the differences that a reconciliation must find."""

    rows: dict[str, int]
    planted: tuple[PlantedDifference, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of planted differences per cause."""
        return dict(Counter(difference.cause for difference in self.planted))

    def to_json(self) -> dict[str, object]:
        """Return everything as plain JSON values."""
        planted = [difference.to_json() for difference in self.planted]
        return {"rows": self.rows, "causes": self.counts(), "planted": planted}


def make_crm_tables(
    world: World,
    warehouse_url: str,
    *,
    replace: bool = False,
    allow_duplicates: bool = True,
    on_progress: Tick | None = None,
) -> CrmTables:
    """Make the five ``crm`` tables and ``sandbox.planted_differences`` in one transaction; return the plan.

    Rows that are not planted agree with ``world.truth`` exactly and were last touched three hours ago or
    earlier. The differences that need a deletion carry ``after_deletion``.

    :param warehouse_url: ``postgresql://…`` or SQLAlchemy's ``postgresql+psycopg://…``.
    :param replace: drop ``crm`` tables of the same names although the sandbox did not make them.
    :param allow_duplicates: leave crm.installs without a unique key and plant two rows of one install.
    :param on_progress: called with a table's name and its rows so far.
    :raises ConfigurationError: the server cannot be reached, or ``crm`` holds tables of somebody else.
    """
    address = warehouse_url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        connection = psycopg.connect(address)
    except psycopg.OperationalError as error:
        raise ConfigurationError(
            "the warehouse cannot be reached.",
            where="WAREHOUSE_URL",
            next_step="Start the server, or check host, port, database, user and password.",
        ) from error
    with connection, connection.cursor() as cursor:
        if not replace:
            _refuse_foreign(cursor)
        _drop_own(cursor)
        cursor.execute(crm_ddl.CREATE_CRM)
        now = _database_now(cursor)
        rows = CrmRows(world, now, duplicates=allow_duplicates)
        with world.lock:
            counts = {name: _copy(cursor, name, getattr(rows, name)(), on_progress) for name in _ORDER}
        cursor.execute(crm_ddl.INDEX_CRM)
        cursor.execute(crm_ddl.PLAIN_INSTALLS if allow_duplicates else crm_ddl.UNIQUE_INSTALLS)
        _declare(cursor, world, rows.planted)
        for name in crm_ddl.CRM_TABLES:
            cursor.execute(sql.SQL("analyze {}").format(sql.Identifier("crm", name)))
    return CrmTables(counts, tuple(rows.planted))


_ORDER = ("installs", "milestones", "notes", "change_orders", "leads")


def _refuse_foreign(cursor: psycopg.Cursor[tuple[object, ...]]) -> None:
    (found,) = cursor.execute(crm_ddl.FOREIGN_TABLES).fetchone() or (None,)
    if found:
        names = ", ".join(f"crm.{name}" for name in found) if isinstance(found, list) else str(found)
        raise ConfigurationError(
            f"the schema holds tables that the sandbox did not make: {names}.",
            where="schema crm",
            next_step="Use another database, or --replace to drop those named like the sandbox's own.",
        )


def _drop_own(cursor: psycopg.Cursor[tuple[object, ...]]) -> None:
    try:
        for name in crm_ddl.CRM_TABLES:
            cursor.execute(sql.SQL("drop table if exists {}").format(sql.Identifier("crm", name)))
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege) as error:
        raise ConfigurationError(
            f"the old crm tables cannot be dropped ({type(error).__name__}).",
            where="schema crm",
            next_step="Drop the views that read them, or use a user that owns them.",
        ) from error


def _database_now(cursor: psycopg.Cursor[tuple[object, ...]]) -> datetime:
    (now,) = cursor.execute("select now()").fetchone() or (None,)
    if not isinstance(now, datetime):
        raise AssertionError("select now() returns one time")
    return now


def _copy(
    cursor: psycopg.Cursor[tuple[object, ...]], name: LiteralString, rows: Iterator[Row], tick: Tick | None
) -> int:
    count = 0
    with cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier("crm", name))) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
            if tick is not None and count % _TICK_ROWS == 0:
                tick(name, count)
    if tick is not None:
        tick(name, count)
    return count


def _declare(
    cursor: psycopg.Cursor[tuple[object, ...]], world: World, planted: list[PlantedDifference]
) -> None:
    cursor.execute(crm_ddl.CREATE_MARKER)
    company = world.era.installs, world.era.seed, world.plants.per_cause
    cursor.execute("insert into sandbox.company (installs, seed, per_cause) values (%s, %s, %s)", company)
    cursor.executemany(
        "insert into sandbox.planted_differences values (%s, %s, %s, %s, %s, %s, %s)",
        [
            (
                *(one.table_name, Jsonb(one.key), one.field, one.cause),
                *(_jsonb(one.enerflo_value), _jsonb(one.crm_value), one.after_deletion),
            )
            for one in planted
        ],
    )


def _jsonb(value: object) -> Jsonb | None:
    return None if value is None else Jsonb(value, dumps=json.dumps)
