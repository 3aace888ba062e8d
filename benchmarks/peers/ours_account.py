"""Ours: one task of one account among many, as ``enerflo-sync poll`` and ``plan`` and their DAGs run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import AccountJob
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs.context import AccountContext, key_fingerprint, open_account
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget

# A first load sends more than a minute's requests; waiting would measure nothing.
_REQUESTS_A_WINDOW = 5_000


def run(job: AccountJob) -> dict[str, Any]:
    """Open the account by the configuration of all accounts, and run its poll or its plan."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    context = open_account(job.account, environ, Path(job.config_path))
    try:
        return _plan(context) if job.plan else _poll(context, job)
    finally:
        context.close()


@moving_records()
def _poll(context: AccountContext, job: AccountJob) -> dict[str, Any]:
    fingerprint = key_fingerprint(job.api_key)
    context.client = EnerfloClient(
        context.session,
        job.base_url,
        job.api_key,
        budget=WarehouseRequestBudget(
            context.engine, context.account, fingerprint, context.clock, _REQUESTS_A_WINDOW
        ),
        clock=context.clock,
        rng=context.rng,
        on_call=context.calls.add,
    )
    report = run_poll(context)
    installs = report.resources.get("installs", {}).get("read")
    return {"state": str(report.state), "installs": installs, "requests": report.requests}


def _plan(context: AccountContext) -> dict[str, Any]:
    plans = run_plan(context)
    return {"state": "ok", "changes": sum(plan.change_count for plan in plans)}
