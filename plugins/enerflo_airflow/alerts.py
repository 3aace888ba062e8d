"""Tell people that a task failed, and that it fails no more, also when the warehouse is down.

Airflow calls these functions where the task runs, or in the DAG processor when the task was killed. A failure
is told once however many runs follow it (:mod:`enerflo_airflow.failing`): a run that an asset started does
not know the run before it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from enerflo_airflow.accounts import parsed_config, sync_config
from enerflo_airflow.failing import (
    Failing,
    cause_of,
    failing,
    failing_of,
    forget,
    is_another_failure,
    remember,
    remember_cause,
    routes_that_know,
)
from enerflo_airflow.links import account_of_dag
from enerflo_airflow.notifying import RouteNotifier
from enerflo_sync.crm.routes import NotifyEvent

if TYPE_CHECKING:
    from airflow.sdk import Context

    from enerflo_sync.crm.routes import Route
    from enerflo_sync.notify.failure import FailedTask
    from enerflo_sync.notify.message import Message

log = logging.getLogger(__name__)

# Airflow ends a task that succeeded 20 seconds after its end (core.task_success_overtime).
_SECONDS = 5
# With these rules a task only starts if no task before it failed.
_STRICT = frozenset({"all_success", "none_failed", "none_failed_min_one_success"})


def alert_callbacks() -> dict[str, Any]:
    """Return the callbacks of every task; none where no route of sync.yaml is told of failures."""
    routes = parsed_config().notify.routes.values()
    # Each task of each account asks, so not every account is looked at.
    if not any(route.takes(NotifyEvent.RUN_FAILED, next(iter(route.accounts), "")) for route in routes):
        return {}
    return {
        "on_failure_callback": tell_failure,
        "on_success_callback": tell_recovery,
        "on_skipped_callback": tell_skipped,
    }


# Airflow reads the source of each callback whenever it serializes a DAG, so they are short.
def tell_failure(context: Context) -> None:
    """Tell each route of the account that the task failed, unless the route knows that it fails."""
    _tell_failed(context)


def tell_recovery(context: Context) -> None:
    """Tell of the task, and of every task before it that it needed, that it does not fail any more."""
    _tell_over(context, _well(context))


def tell_skipped(context: Context) -> None:
    """Tell the same where the task had nothing to do: what follows it had neither."""
    _tell_over(context, _well(context) | context["task"].get_flat_relative_ids(upstream=False))


def _tell_failed(context: Context) -> None:
    """Tell each route that does not know yet that the task fails.

    Where several tasks cannot work for one cause, a route is told of the first. A route that cannot be
    reached is tried again when the task fails again.
    """
    task, ti = context["task"], context["ti"]
    if task.is_teardown and not task.on_failure_fail_dagrun:
        return
    account = account_of_dag(ti.dag_id)
    now = datetime.now(UTC)
    known = failing(ti.dag_id, ti.task_id)
    if known is not None and is_another_failure(known, now):
        forget(ti.dag_id, ti.task_id, known)
        known = None
    known = known or Failing(now, ti.run_id)
    error = context.get("exception")
    cause = cause_of(error)
    routes = _routes(account)
    # Asked for also where every route knows of this task: the cause goes on.
    knows_cause = routes_that_know(cause, account, routes.keys())
    ignorant = {name: route for name, route in routes.items() if name not in known.told}
    known = replace(known, seen=now)
    if not ignorant:
        remember(ti.dag_id, ti.task_id, known)
        return
    told = [
        name
        for name, route in ignorant.items()
        if name not in knows_cause
        and message_sent(route, _failed_message(context, known, name, error), context)
    ]
    if told:
        known = replace(known, told=(*known.told, *told), cause=cause or known.cause)
    remember(ti.dag_id, ti.task_id, known)
    if told and cause:
        remember_cause(cause, account, ti.dag_id, ti.task_id, told)


def _well(context: Context) -> set[str]:
    """Return the tasks of the DAG that did not fail in this run, as far as the end of one task shows it."""
    task, ti = context["task"], context["ti"]
    if task.is_teardown:
        return set()
    # Of mapped tasks another one may have failed; what comes after them shows that none did.
    is_part = ti.map_index is not None and ti.map_index >= 0
    well = set() if is_part else {ti.task_id}
    return well | task.get_flat_relative_ids(upstream=True) if task.trigger_rule in _STRICT else well


def _tell_over(context: Context, well: set[str]) -> None:
    if not well:
        return
    from enerflo_sync.notify.failure import recovered_message

    dag_id, dag = context["ti"].dag_id, context["task"].get_dag()
    routes = _routes(account_of_dag(dag_id))
    for task_id, known in failing_of(dag_id):
        if task_id not in well:
            continue
        task = dag.task_dict.get(task_id) if dag is not None else None
        failed = _failed_task(dag_id, task_id, getattr(task, "task_display_name", ""), known)
        left = tuple(
            name
            for name in known.told
            if name in routes and not message_sent(routes[name], recovered_message(failed, name), context)
        )
        if left:
            remember(dag_id, task_id, replace(known, told=left))
        else:
            forget(dag_id, task_id, known)


def _failed_message(context: Context, known: Failing, route: str, error: object) -> Message:
    from enerflo_sync.notify.failure import error_text, failed_message

    task, ti = context["task"], context["ti"]
    index = ti.map_index if ti.map_index is not None else -1
    failed = _failed_task(ti.dag_id, ti.task_id, task.task_display_name, known, index)
    text = error_text(error, is_ours=isinstance(error, AirflowFailException))
    runbook = sync_config().notify.runbook
    return failed_message(failed, route, error, text, is_shared=bool(cause_of(error)), runbook=runbook)


def _failed_task(dag_id: str, task_id: str, name: str, known: Failing, map_index: int = -1) -> FailedTask:
    from enerflo_sync.notify.failure import FailedTask

    return FailedTask(
        account=account_of_dag(dag_id),
        dag_id=dag_id,
        run_id=known.run_id,
        task_id=task_id,
        name=name or task_id,
        since=known.since,
        map_index=map_index,
    )


def _routes(account: str) -> dict[str, Route]:
    routes = sync_config().notify.routes
    return {name: route for name, route in routes.items() if route.takes(NotifyEvent.RUN_FAILED, account)}


def message_sent(route: Route, message: Message, context: Context) -> bool:
    """Return whether a message was sent along a route; the log says why not."""
    try:
        RouteNotifier(route, message, seconds=_SECONDS).notify(context)
    except Exception as error:
        # Name only the kind of error: a mail server's or library's text may contain an address or a secret.
        log.warning(
            "message not sent event=%s route=%s error=%s", message.event, message.route, type(error).__name__
        )
        return False
    log.info("told event=%s route=%s resolved=%s", message.event, message.route, message.resolved)
    return True
