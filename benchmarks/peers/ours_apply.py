"""Ours: a plan applied with somebody's approval, as ``enerflo-sync apply --approve`` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import ApplyJob
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account


def run(job: ApplyJob) -> dict[str, Any]:
    """Make the changes with the ledger and what both sides agree on."""
    environ = {"WAREHOUSE_URL": job.database_url}
    context = open_account("default", environ, Path(job.config_path))
    report = run_apply(context, job.plan_hash, approved_by="the benchmark")
    context.close()
    return {"applied": report.applied, "state": str(report.state)}
