"""Deadlines of runs: Airflow marks a run that is not done in time, and the triggerer's log names it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

log = logging.getLogger(__name__)


def run_deadline(account: str, minutes: float) -> DeadlineAlert:
    """Return the deadline of each run of a DAG.

    It counts from when the run was queued: a run that an asset started has no logical date, from which
    Airflow would count without saying so.
    """
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(minutes=minutes),
        callback=AsyncCallback(note_overdue, kwargs={"account": account, "minutes": minutes}),
        name=f"done within {minutes:g} minutes",
    )


async def note_overdue(account: str, minutes: float, context: dict[str, Any]) -> str:
    """Log that a run is overdue, and return the same for Airflow's record; needs no warehouse.

    :param context: what Airflow says of the run.
    """
    run = context["dag_run"]
    told = f"account={account} dag_id={run['dag_id']} run_id={run['dag_run_id']} minutes={minutes:g}"
    log.error("run_overdue %s", told)
    return told
