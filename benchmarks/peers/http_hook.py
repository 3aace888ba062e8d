"""HttpHook + pandas: what an Airflow user writes first. Pages, ``json_normalize``, ``to_sql(replace)``."""

from __future__ import annotations

import json
import os
import urllib.parse
from typing import Any

import pandas as pd
import psycopg2  # noqa: F401 - the driver of Airflow's PostgresHook, loaded before the clock starts
import sqlalchemy as sa
from airflow.providers.http.hooks.http import HttpHook
from airflow.sdk.definitions import connection  # noqa: F401 - what the hook loads on first use

from benchmarks.jobs import LoadJob

PER_PAGE = 100


def run(job: LoadJob) -> dict[str, Any]:
    """Read all pages, flatten them, and replace the table."""
    parts = urllib.parse.urlsplit(job.base_url)
    address = {"conn_type": "http", "host": parts.hostname, "port": parts.port, "schema": parts.scheme}
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps(address)
    hook = HttpHook(method="GET", http_conn_id="bench")
    per_page = job.per_page or PER_PAGE
    records: list[dict[str, Any]] = []
    number, requests = 1, 0
    while True:
        answer = hook.run(
            "/api/v3/installs", data={"page": number, "per_page": per_page}, headers={"api-key": job.api_key}
        )
        requests += 1
        rows = answer.json()["results"]
        records += rows
        if len(rows) < per_page:
            break
        number += 1
    frame = pd.json_normalize(records)
    for name in frame.columns:
        if frame[name].map(lambda value: isinstance(value, list)).any():
            # PostgreSQL has no column type for a list of objects: the usual way is JSON as text.
            frame[name] = frame[name].map(json.dumps)
    engine = sa.create_engine(sa.make_url(job.database_url).set(drivername="postgresql+psycopg2"))
    frame.to_sql("installs", engine, if_exists="replace", index=False, chunksize=1000)
    engine.dispose()
    return {"read": len(records), "requests": requests}
