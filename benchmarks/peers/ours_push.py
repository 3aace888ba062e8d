"""Ours: a plan's changes toward Enerflo, as ``enerflo-sync apply --approve`` makes them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import ApplyJob
from enerflo_sync.enerflo.client import Call
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account


def run(job: ApplyJob) -> dict[str, Any]:
    """Push with the real client and the budget that all processes share."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    context = open_account("default", environ, Path(job.config_path))
    sent: list[float] = []
    answering = 0.0
    count = context.calls.add

    def counted(call: Call) -> None:
        nonlocal answering
        sent.append(time.monotonic() - call.seconds)
        answering += call.seconds
        count(call)

    # Before the client is made, which is told whom to call.
    context.calls.add = counted  # type: ignore[method-assign]
    report = run_apply(context, job.plan_hash, approved_by="the benchmark")
    context.close()
    return {
        "applied": report.applied,
        "state": str(report.state),
        "sent": sent,
        "answering": answering,
    }
