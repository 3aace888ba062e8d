"""What one writes first: an UPDATE of each changed value where it is as expected, committed one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from benchmarks.jobs import ApplyJob
from benchmarks.rows import KEY, RIGHT

_UPDATE = sql.SQL(
    "update {table} set {field} = %s, updated_at = now() where {key} = %s and {field} is not distinct from %s"
)


def run(job: ApplyJob) -> dict[str, Any]:
    """Make the plan's changes in the CRM's table, and nothing else."""
    url = sa.make_url(job.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    applied = 0
    with psycopg.connect(url) as connection:
        for _, field, after, key, before in changes_of(connection, job.plan_hash):
            applied += connection.execute(update_of(field), (after, key, before)).rowcount
            connection.commit()
    return {"applied": applied}


def changes_of(connection: psycopg.Connection[Any], plan_hash: str) -> Sequence[Any]:
    """Return the plan's changes: position, column, new value, key of the row, old value."""
    changes = connection.execute(
        "select position, field, after, key -> %s, before from sync.plan_changes where plan_hash = %s"
        " order by position",
        (KEY, plan_hash),
    ).fetchall()
    connection.commit()
    return changes


def update_of(field: str) -> sql.Composed:
    """Return the UPDATE of one value: takes the new value, the key and the old value."""
    return _UPDATE.format(
        table=sql.Identifier(*RIGHT.split(".")), field=sql.Identifier(field), key=sql.Identifier(KEY)
    )
