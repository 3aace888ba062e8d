"""Ours: polls of the statuses, one after the other, and what each request waited for its slot."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.jobs import LiveJob
from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.jobs import Workplace, key_fingerprint, open_workplace
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget


class TimedBudget(WarehouseRequestBudget):
    """The shared budget, and what each request waited for it."""

    waits: list[float]

    def acquire(self) -> None:
        """Return when one request may be sent, and note how long that took."""
        asked = time.monotonic()
        super().acquire()
        self.waits.append(time.monotonic() - asked)


def run(job: LiveJob) -> dict[str, Any]:
    """Poll for so long, each poll as the DAG runs it."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    workplace = open_workplace("default", environ, Path(job.config_path))
    budget = TimedBudget(workplace.engine, workplace.account, key_fingerprint(job.api_key), workplace.clock)
    budget.waits = []
    workplace.client = _client(workplace, job, budget)
    polls: list[float] = []
    began, until = time.time(), time.monotonic() + job.seconds
    while time.monotonic() < until:
        started = time.monotonic()
        workplace.poll(resources=frozenset({PollResource.STATUSES}))
        polls.append(time.monotonic() - started)
        time.sleep(job.pause)
    ended = time.time()
    workplace.close()
    return {"waits": budget.waits, "polls": polls, "began": began, "ended": ended}


def _client(workplace: Workplace, job: LiveJob, budget: TimedBudget) -> EnerfloClient:
    return EnerfloClient(
        workplace.session,
        job.base_url,
        job.api_key,
        budget=budget,
        clock=workplace.clock,
        rng=workplace.rng,
        on_call=workplace.calls.add,
    )
