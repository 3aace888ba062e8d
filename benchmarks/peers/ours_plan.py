"""Ours: the plan over a reconciliation that was made, as ``enerflo-sync plan`` runs it after reconciling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import PlanJob
from enerflo_sync.jobs.context import open_account
from enerflo_sync.plan.make import make_plan


def run(job: PlanJob) -> dict[str, Any]:
    """Decide about every difference, and store the plan."""
    environ = {"WAREHOUSE_URL": job.database_url}
    context = open_account("default", environ, Path(job.config_path))
    plan = make_plan(context.engine, context.config, context.account, job.reconciliation_id)
    context.close()
    return {
        "plan_hash": plan.plan_hash,
        "changes": plan.change_count,
        "groups": [[group.table_name, group.direction, group.op] for group in plan.groups],
    }
