"""reladiff in hash mode: checksums of key ranges on both databases, halved where they differ."""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from reladiff import Algorithm, connect, diff_tables
from reladiff.table_segment import TableSegment

from benchmarks.jobs import CopyJob
from benchmarks.rows import COMPARED, KEY, LEFT, RIGHT


def run(job: CopyJob) -> dict[str, Any]:
    """Compare the mirror's side in the warehouse with the table there, and count the keys that differ."""
    logging.disable(logging.WARNING)
    here = sa.make_url(job.database_url)
    server = {"host": here.query.get("host") or here.host, "user": here.username, "dbname": here.database}
    warehouse = connect({"driver": "postgresql", **server})
    crm = connect(_address(sa.make_url(job.crm_url)))
    sides = [
        TableSegment(database, tuple(name.split(".")), (KEY,), extra_columns=COMPARED)
        for database, name in ((warehouse, LEFT), (crm, RIGHT))
    ]
    # Sorting its result fails on nulls (0.6.0).
    with diff_tables(*sides, algorithm=Algorithm.HASHDIFF, skip_sort_results=True) as result:
        keys = {row[0] for _, row in result}
    return {"keys": len(keys)}


def _address(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "duckdb":
        return {"driver": "duckdb", "filepath": url.database}
    return {
        "driver": "mysql",
        "unix_socket": url.query["unix_socket"],
        "user": url.username,
        "password": "",
        "database": "crm",
    }
