"""Ours: polls of the statuses, one after the other, and what each request waited for its slot."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import LiveJob
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs.context import AccountContext, key_fingerprint, open_account
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget


class TimedBudget(WarehouseRequestBudget):
    """The shared budget, and what each request waited for it."""

    waits: list[float]

    def acquire(self) -> None:
        """Return when one request may be sent, and note how long that took."""
        asked = time.monotonic()
        super().acquire()
        self.waits.append(time.monotonic() - asked)


@moving_records()
def run(job: LiveJob) -> dict[str, Any]:
    """Poll for so long, each poll as the DAG runs it."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    context = open_account("default", environ, Path(job.config_path))
    budget = TimedBudget(context.engine, context.account, key_fingerprint(job.api_key), context.clock)
    budget.waits = []
    context.client = _client(context, job, budget)
    polls: list[float] = []
    began, until = time.time(), time.monotonic() + job.seconds
    while time.monotonic() < until:
        started = time.monotonic()
        run_poll(context, resources=frozenset({PollResource.STATUSES}))
        polls.append(time.monotonic() - started)
        time.sleep(job.pause)
    ended = time.time()
    context.close()
    return {"waits": budget.waits, "polls": polls, "began": began, "ended": ended}


def _client(context: AccountContext, job: LiveJob, budget: TimedBudget) -> EnerfloClient:
    return EnerfloClient(
        context.session,
        job.base_url,
        job.api_key,
        budget=budget,
        clock=context.clock,
        rng=context.rng,
        on_call=context.calls.add,
    )
