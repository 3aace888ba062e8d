"""The floor of a first copy: every row of the CRM's table fetched by SQLAlchemy, and thrown away."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from benchmarks.jobs import CopyJob
from benchmarks.rows import COMPARED, KEY, RIGHT
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.copies.dialects.base import FETCHED


def run(job: CopyJob) -> dict[str, Any]:
    """Fetch the columns that the copy has, as the driver returns them."""
    engine = crm_engine(job.crm_url)
    query = sa.text(f"select {KEY}, {', '.join(COMPARED)}, updated_at from {RIGHT}")
    streamed = query.execution_options(stream_results=True, max_row_buffer=FETCHED)
    rows = 0
    with engine.connect() as connection, connection.execute(streamed) as result:
        for part in result.partitions(FETCHED):
            rows += len(part)
    engine.dispose()
    return {"rows": rows}
