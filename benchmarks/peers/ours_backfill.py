"""Ours: a backfill of every install, as ``enerflo-sync backfill --everything`` reads installs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from benchmarks.jobs import BackfillJob
from enerflo_sync.backfill.backfills import Backfills
from enerflo_sync.backfill.context import WORKERS
from enerflo_sync.backfill.report import BackfillReport
from enerflo_sync.backfill.request import Part, whole_request
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.context import AccountContext, open_account
from enerflo_sync.process import moving_records

# Between the requests of the estimate and those that read.
ESTIMATED = "estimated"


@moving_records(for_long=True)
def run(job: BackfillJob) -> dict[str, Any]:
    """Backfill with the real client, the lane of backfills, and as many chunks at once as by default."""
    environ = {
        "ENERFLO_BASE_URL": job.base_url,
        "ENERFLO_API_KEY": job.api_key,
        "WAREHOUSE_URL": job.database_url,
    }
    context = open_account("default", environ, Path(job.config_path))
    with Path(job.journal).open("a", buffering=1) as journal:

        def note(response: requests.Response, *_: Any, **_more: Any) -> None:
            sent = time.time() - response.elapsed.total_seconds()
            journal.write(
                f"{sent} {response.elapsed.total_seconds()} {response.status_code} {response.url}\n"
            )

        context.session.hooks["response"].append(note)
        backfills = open_backfills(context, workers=WORKERS)
        report = _resumed(context, backfills) if job.resume else None
        if report is None:
            request = whole_request(parts=frozenset({Part.INSTALLS}))
            report = backfills.backfill(request, estimated=lambda _: print(ESTIMATED, file=journal))
    context.close()
    return {"state": str(report.state), "read": report.read, "requests": report.requests}


def _resumed(context: AccountContext, backfills: Backfills) -> BackfillReport:
    query = sa.text("select backfill_id from sync.backfills where state = 'reading'")
    with context.engine.connect() as connection:
        backfill_id = connection.scalars(query).one()
    return backfills.resume(backfill_id)
