"""The server's statistics of a table of which a large part was written a moment ago."""

from __future__ import annotations

import sqlalchemy as sa

# Below it no plan of the server's goes wrong; above it one that takes a table for empty never ends.
FEW_ROWS = 1_000
_KNOWN = sa.text("select greatest(reltuples, 0) from pg_class where oid = cast(:name as regclass)")


def note_growth(connection: sa.Connection, table: str, rows: int) -> None:
    """Have the server look at a table of which a tenth is new to it, in the caller's transaction.

    Autovacuum does it too, but comes too late for the statement that goes on at once.

    :param table: with its schema.
    :param rows: how many were written.
    """
    if rows < FEW_ROWS:
        return
    if rows * 10 > connection.execute(_KNOWN, {"name": table}).scalar_one():
        connection.exec_driver_sql(f"analyze {table}")
