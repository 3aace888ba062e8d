"""Ours: the take-in, as ``enerflo-sync ingest`` and the DAG run it, without the reads of the API."""

from __future__ import annotations

import random
import statistics
import time
from datetime import timedelta
from typing import Any

from benchmarks.jobs import InboxJob
from enerflo_sync.clock import SystemClock
from enerflo_sync.drop import local  # noqa: F401 - what the drop loads on first use
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.inbox.ingest import IngestOptions, ingest
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.process import moving_records
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.runs import RunReport

OPTIONS = IngestOptions(keep_archive=timedelta(days=90))


@moving_records()
def run(job: InboxJob) -> dict[str, Any]:
    """Take in the folder, run record and expiry of the archive included; the events wait in ``received``."""
    engine = warehouse_engine(job.database_url)
    seconds = []
    for _ in range(job.wake_ups):
        started = time.perf_counter()
        report = _ingest(job, engine)
        seconds.append(time.perf_counter() - started)
    engine.dispose()
    return {
        "state": str(report.state),
        "read": report.read,
        "applied": report.applied,
        "unchanged": report.unchanged,
        "look": statistics.median(seconds),
    }


def _ingest(job: InboxJob, engine: Any) -> RunReport:
    return ingest(
        None,
        engine,
        open_drop(job.drop, job.archive),
        "default",
        clock=SystemClock(),
        rng=random.Random(),
        calls=CallCounter(),
        options=OPTIONS,
    )
