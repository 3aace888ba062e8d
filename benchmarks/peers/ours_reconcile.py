"""Ours: the reconciliation, causes and stored differences included, as ``enerflo-sync reconcile`` runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import CompareJob
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.reconcile import run_reconcile


def run(job: CompareJob) -> dict[str, Any]:
    """Compare, give each difference its cause, store all, and report."""
    environ = {"WAREHOUSE_URL": job.database_url}
    context = open_account("default", environ, Path(job.config_path))
    report = run_reconcile(context, full=job.full)
    context.close()
    (table,) = report.tables
    return {
        "reconciliation_id": report.reconciliation_id,
        "scope": str(report.scope),
        "only_left": table.only_enerflo,
        "only_right": table.only_crm,
        "differing": table.differing_rows,
        "by_cause": {str(cause): count for cause, count in table.by_cause.items()},
    }
