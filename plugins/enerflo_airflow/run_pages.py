"""The page of one DAG run: the tab on Airflow's page of a run, and where a form that starts one leads."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models import DagRun, TaskInstance
from airflow.models.xcom import XComModel
from airflow.sdk.execution_time.xcom import XCom
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from enerflo_airflow.accounts import ACCOUNTS_DAG, account_name, sync_config
from enerflo_airflow.page_parts import Page, here, reading, visit
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.pages.run_page import JOBS, RunFacts, TaskLine, read_run, render_run
from enerflo_sync.reconcile.render import render_message
from enerflo_sync.reconcile.render.frame import Frame

log = logging.getLogger(__name__)
run = APIRouter()

# Ids that our tasks return; their other results are counts.
_IDS = ("reconciliation_id", "plan_hash", "free", "waiting", "backfill_id")
_MOST_TASKS = 1_000


def job_of(dag_id: str) -> tuple[str, str] | None:
    """Return job and account of one of our DAGs; None of another one."""
    for account in sync_config().names:
        for job in JOBS:
            if account_name(job, account) == dag_id:
                return job, account
    return None


@run.get("/run", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
def run_page(
    request: Request,
    user: GetUserDep,
    session: SessionDep,
    dag_id: Annotated[str, Query(min_length=1)],
    run_id: Annotated[str, Query(min_length=1)],
) -> Response:
    """Show how far a run is, and what it did."""
    bare = Frame(Addresses(here(request)))
    if dag_id == ACCOUNTS_DAG:
        return RedirectResponse(bare.to.accounts(), 303)
    ours = job_of(dag_id)
    if ours is None:
        body = "This page is about runs of enerflo-sync's DAGs. Airflow's own page has what other DAGs did."
        return Page(render_message("Not a run of enerflo-sync", body, frame=bare), 404)
    job, account = ours
    visited = visit(account, request, user)
    # Where it cannot be used, that is the reason of whatever is asked of its runs.
    sync_config().account(account)
    facts = _facts(session, dag_id, run_id, job, account)
    if facts is None:
        body = f"The DAG {dag_id} has no such run: it may have been deleted. Look at the DAG's list of runs."
        frame = Frame(visited.to, account)
        return Page(render_message("No such run", body, frame=frame), 404)
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visited.frame(connection, _PLACES.get(job))
        page = read_run(connection, facts)
    return Page(render_run(page, frame))


# The bar's entry that a job's runs belong to.
_PLACES = {
    "reconcile": Place.REPORTS,
    "sync": Place.PLANS,
    "approve": Place.PLANS,
    "change_orders": Place.CHECKS,
    "replay": Place.INBOX,
    "poll": Place.FRESHNESS,
    "webhooks": Place.FRESHNESS,
    "backfill": Place.FRESHNESS,
}


def _facts(session: Session, dag_id: str, run_id: str, job: str, account: str) -> RunFacts | None:
    found = session.scalar(sa.select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    if found is None:
        return None
    return RunFacts(
        dag_id=dag_id,
        run_id=run_id,
        job=job,
        account=account,
        state=str(found.state),
        queued_at=found.queued_at,
        started_at=found.start_date,
        ended_at=found.end_date,
        note=found.note or "",
        tasks=_tasks(session, dag_id, run_id),
        results=_results(session, dag_id, run_id),
    )


def _tasks(session: Session, dag_id: str, run_id: str) -> list[TaskLine]:
    """Return the run's tasks in the order in which they began; mapped parts are one line."""
    rows = session.execute(
        sa.select(
            TaskInstance.task_id,
            TaskInstance.task_display_name,
            TaskInstance.state,
            sa.func.count().label("parts"),
            sa.func.max(TaskInstance.try_number).label("tries"),
            sa.func.min(TaskInstance.start_date).label("began"),
        )
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        .group_by(TaskInstance.task_id, TaskInstance.task_display_name, TaskInstance.state)
        .limit(_MOST_TASKS)
    ).all()
    by_task: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda row: (row.began is None, str(row.began or ""))):
        by_task.setdefault(row.task_id, []).append(row)
    return [
        TaskLine(
            name=several[0].task_display_name or task_id,
            states={str(row.state or "not begun").replace("_", " "): row.parts for row in several},
            tries=max(row.tries or 0 for row in several),
        )
        for task_id, several in by_task.items()
    ]


def _results(session: Session, dag_id: str, run_id: str) -> Mapping[str, Any]:
    """Return the ids that the run's tasks returned, the last of a kind where several did.

    The run is one of our DAGs: what other DAGs keep is never unpacked here.
    """
    query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key="return_value", map_indexes=-1)
    found: dict[str, Any] = {}
    for row in session.scalars(query.order_by(XComModel.timestamp)):
        made = _unpacked(row)
        if isinstance(made, dict):
            found |= {name: str(made[name]) for name in _IDS if made.get(name)}
    return found


def _unpacked(row: XComModel) -> Any:
    """Return what a task returned, wherever the XCom backend keeps it; None where that cannot be read now."""
    try:
        return XCom.deserialize_value(row)
    except Exception as error:
        # Any error of any backend: the page has the rest of the run to show.
        log.warning("xcom_not_read task=%s error=%s", row.task_id, type(error).__name__)
        return None
