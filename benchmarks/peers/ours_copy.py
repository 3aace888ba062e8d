"""Ours: bringing the copy of a CRM table in another database up to date, the first time or again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import CopyJob
from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.jobs.context import open_account


def run(job: CopyJob) -> dict[str, Any]:
    """Read what differs there into the copy."""
    environ = {"WAREHOUSE_URL": job.database_url, "CRM_URL": job.crm_url}
    context = open_account("default", environ, Path(job.config_path))
    assert context.crm is not None
    (report,) = refresh_copies(context.engine, context.crm, context.config, context.account)
    context.close()
    return {"rows": report.rows, "rows_read": report.rows_read}
