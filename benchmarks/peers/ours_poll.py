"""Ours: the poll of installs, as ``enerflo-sync poll`` and the DAG run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import LoadJob
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs.context import AccountContext, key_fingerprint, open_account
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget

CONFIG = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"


@moving_records()
def run(job: LoadJob) -> dict[str, Any]:
    """Poll installs with the shipped configuration, the real client and the real request budget."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    context = open_account("default", environ, CONFIG)
    if job.request_limit is not None:
        context.client = _client(context, job)
    report = run_poll(context, resources=frozenset({PollResource.INSTALLS}))
    context.close()
    return {
        "state": str(report.state),
        "read": report.read,
        "applied": report.applied,
        "unchanged": report.unchanged,
        "requests": report.requests,
    }


def _client(context: AccountContext, job: LoadJob) -> EnerfloClient:
    """Return the context's client but for the budget's limit: large companies need more than a minute's."""
    assert job.request_limit is not None
    fingerprint = key_fingerprint(job.api_key)
    budget = WarehouseRequestBudget(
        context.engine, context.account, fingerprint, context.clock, job.request_limit
    )
    return EnerfloClient(
        context.session,
        job.base_url,
        job.api_key,
        budget=budget,
        clock=context.clock,
        rng=context.rng,
        on_call=context.calls.add,
    )
