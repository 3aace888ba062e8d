"""reladiff in join mode: one outer join in the database, and every differing row fetched as text."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from reladiff import Algorithm, connect, diff_tables
from reladiff.table_segment import TableSegment

from benchmarks.jobs import CompareJob
from benchmarks.rows import COMPARED, KEY, LEFT, RIGHT


def run(job: CompareJob) -> dict[str, Any]:
    """Compare, and count the keys by the signs that they come with."""
    logging.disable(logging.WARNING)
    url = sa.make_url(job.database_url)
    server = {"host": url.query.get("host") or url.host, "user": url.username, "dbname": url.database}
    database = connect({"driver": "postgresql", **server})
    sides = [
        TableSegment(database, tuple(name.split(".")), (KEY,), extra_columns=COMPARED)
        for name in (LEFT, RIGHT)
    ]
    signs: dict[str, set[str]] = {"-": set(), "+": set()}
    with diff_tables(*sides, algorithm=Algorithm.JOINDIFF) as result:
        for sign, row in result:
            signs[sign].add(row[0])
    return {
        "only_left": len(signs["-"] - signs["+"]),
        "only_right": len(signs["+"] - signs["-"]),
        "differing": len(signs["-"] & signs["+"]),
    }
