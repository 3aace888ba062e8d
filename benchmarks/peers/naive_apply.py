"""What one writes first: an UPDATE of each changed value where it is as expected, committed one by one."""

from __future__ import annotations

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
        changes = connection.execute(
            "select field, after, key -> %s, before from sync.plan_changes where plan_hash = %s"
            " order by position",
            (KEY, job.plan_hash),
        ).fetchall()
        connection.commit()
        for field, after, key, before in changes:
            statement = _UPDATE.format(
                table=sql.Identifier(*RIGHT.split(".")),
                field=sql.Identifier(field),
                key=sql.Identifier(KEY),
            )
            applied += connection.execute(statement, (after, key, before)).rowcount
            connection.commit()
    return {"applied": applied}
