"""Ours: the mirror derived again from what is stored, as ``enerflo-sync rebuild`` runs it."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.jobs import RebuildJob
from benchmarks.peers.ours_poll import CONFIG
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.process import moving_records


@moving_records()
def run(job: RebuildJob) -> dict[str, Any]:
    """Rebuild every table that can be."""
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    context = open_account("default", {"WAREHOUSE_URL": job.database_url}, CONFIG)
    report = run_rebuild(context, write=job.write)
    context.close()
    found = {one.table_name: one for one in report.tables}
    return {
        "rows": sum(one.rows for one in report.tables),
        "installs": found["installs"].new + found["installs"].changed,
        "differing": report.differing,
    }
