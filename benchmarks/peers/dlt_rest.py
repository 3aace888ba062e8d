"""dlt: its rest_api source into its postgres destination, merged by primary key, otherwise its defaults."""

from __future__ import annotations

from typing import Any

import dlt
import dlt.destinations.impl.postgres.postgres
import sqlalchemy as sa
from dlt.sources.rest_api import rest_api_source

from benchmarks.jobs import LoadJob

PER_PAGE = 100


def run(job: LoadJob) -> dict[str, Any]:
    """Extract, normalize and load every install once."""
    source = rest_api_source(
        {
            "client": {
                "base_url": job.base_url,
                "headers": {"api-key": job.api_key},
                "paginator": {
                    "type": "page_number",
                    "base_page": 1,
                    "page_param": "page",
                    "total_path": None,
                },
            },
            "resources": [
                {
                    "name": "installs",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {
                        "path": "api/v3/installs",
                        "params": {"per_page": job.per_page or PER_PAGE},
                        "data_selector": "results",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.postgres(credentials=_credentials(job.database_url)),
        dataset_name="bench",
        pipelines_dir=job.folder,
    )
    info = pipeline.run(source)
    info.raise_on_failed_jobs()
    trace = pipeline.last_trace
    assert trace is not None
    assert trace.last_normalize_info is not None
    return {"read": trace.last_normalize_info.row_counts["installs"]}


def _credentials(database_url: str) -> dict[str, Any]:
    url = sa.make_url(database_url)
    folder = url.query.get("host")
    host = folder.replace("/", "%2F") if isinstance(folder, str) else url.host
    return {
        "host": host,
        "port": url.port or 5432,
        "username": url.username,
        # dlt wants one; the embedded server trusts its socket.
        "password": url.password or "trusted",
        "database": url.database,
    }
