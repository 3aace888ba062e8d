"""Refresh the server's statistics of a table right after a large part of it was written."""

from __future__ import annotations

import sqlalchemy as sa

# Up to this many rows, any plan is fast; with more, a plan that assumes an empty table may take forever.
FEW_ROWS = 1_000
_KNOWN = sa.text("select greatest(reltuples, 0) from pg_class where oid = cast(:name as regclass)")


def note_growth(connection: sa.Connection, table: str, rows: int, *columns: str) -> None:
    """Analyze a table if a tenth of it is new, in the caller's transaction.

    Autovacuum does so too, but too late for the next statement.

    :param table: with its schema.
    :param rows: number of rows written.
    :param columns: those that are searched by, if the others are wide (ten times faster for 10,000 changes).
    """
    if rows < FEW_ROWS:
        return
    if rows * 10 > connection.execute(_KNOWN, {"name": table}).scalar_one():
        # Another account may be doing the same at this moment; then there is nothing to do.
        some = f" ({', '.join(columns)})" if columns else ""
        connection.exec_driver_sql(f"analyze (skip_locked) {table}{some}")
