"""Tell people that a task failed, and that it works again, also when the warehouse is down.

Airflow calls these functions where the task runs, or in the DAG processor when the task was killed. Each
failing task is remembered as one Airflow Variable, so a failure is told once however many runs follow it: a
run that an asset started does not know the run before it. While nothing fails there is no Variable, and a
task that ends well asks Airflow once for their names.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowFailException

from enerflo_airflow.accounts import sync_config
from enerflo_airflow.links import account_of_dag
from enerflo_airflow.notifying import RouteNotifier
from enerflo_sync.crm.routes import NotifyEvent

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from enerflo_sync.crm.routes import Route
    from enerflo_sync.notify.failure import FailedTask
    from enerflo_sync.notify.message import Message

log = logging.getLogger(__name__)

# A colon is no character of a DAG's or a task's id, so no name is the beginning of another one.
_PREFIX = "enerflo_failing"
_DESCRIPTION = (
    "A task that fails, and the routes that were told. enerflo-sync deletes it when the task works."
)
# Airflow ends a task that succeeded 20 seconds after its end (core.task_success_overtime).
_SECONDS = 5
# With these rules a task only starts if no task before it failed.
_STRICT = frozenset({"all_success", "none_failed", "none_failed_min_one_success"})


def alert_callbacks() -> dict[str, Any]:
    """Return the callbacks of every task; none where no route of sync.yaml is told of failures."""
    config = sync_config()
    if not any(_routes(account) for account in config.accounts):
        return {}
    return {
        "on_failure_callback": tell_failure,
        "on_success_callback": tell_recovery,
        "on_skipped_callback": tell_skipped,
    }


def tell_failure(context: Context) -> None:
    """Tell each route of the account that the task failed, unless the route knows that it fails.

    A route that cannot be reached is tried again when the task fails again.
    """
    task, ti = context["task"], context["ti"]
    if task.is_teardown and not task.on_failure_fail_dagrun:
        return
    from enerflo_sync.notify.failure import FailedTask, error_text, failed_message

    account = account_of_dag(ti.dag_id)
    routes = _routes(account)
    key = _key(ti.dag_id, ti.task_id)
    known = _read(key)
    told = [name for name in known.get("told", []) if name in routes]
    if not routes or len(told) == len(routes):
        return
    failed = FailedTask(
        account=account,
        dag_id=ti.dag_id,
        run_id=known.get("run_id", ti.run_id),
        task_id=ti.task_id,
        name=task.task_display_name or ti.task_id,
        since=datetime.fromisoformat(known["since"]) if known else datetime.now(UTC),
        map_index=ti.map_index if ti.map_index is not None else -1,
    )
    error = context.get("exception")
    text = error_text(error, is_ours=isinstance(error, AirflowFailException))
    runbook = sync_config().notify.runbook
    for name, route in routes.items():
        message = failed_message(failed, name, error, text, runbook=runbook)
        if name not in told and _sent(route, message, context):
            told.append(name)
    _write(key, {"since": failed.since.isoformat(), "run_id": failed.run_id, "told": told})


def tell_recovery(context: Context) -> None:
    """Tell of the task, and of every task before it that it needed, that it does not fail any more."""
    _tell_over(context, _well(context))


def tell_skipped(context: Context) -> None:
    """Tell the same where the task had nothing to do: what follows it had neither."""
    _tell_over(context, _well(context) | context["task"].get_flat_relative_ids(upstream=False))


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
    from enerflo_sync.notify.failure import recovered_message

    if not well:
        return
    account = account_of_dag(context["ti"].dag_id)
    routes = _routes(account)
    for failed, key, told in _failing(context, account):
        if failed.task_id not in well:
            continue
        left = [
            name
            for name in told
            if name in routes and not _sent(routes[name], recovered_message(failed, name), context)
        ]
        if left:
            _write(key, {"since": failed.since.isoformat(), "run_id": failed.run_id, "told": left})
        else:
            _forget(key)


def _failing(context: Context, account: str) -> Iterator[tuple[FailedTask, str, list[str]]]:
    """Yield the tasks of the DAG that were told as failing, with the routes that were told."""
    from enerflo_sync.notify.failure import FailedTask

    dag_id, dag = context["ti"].dag_id, context["task"].get_dag()
    prefix = _key(dag_id, "")
    try:
        keys = list(Variable.keys(prefix=prefix))
    except Exception as error:
        _missed("read", prefix, error)
        return
    for key in keys:
        task_id, known = key.removeprefix(prefix), _read(key)
        task: BaseOperator | None = dag.task_dict.get(task_id) if dag is not None else None
        if known:
            failed = FailedTask(
                account=account,
                dag_id=dag_id,
                run_id=known["run_id"],
                task_id=task_id,
                name=(task.task_display_name if task is not None else "") or task_id,
                since=datetime.fromisoformat(known["since"]),
            )
            yield failed, key, list(known["told"])


def _routes(account: str) -> dict[str, Route]:
    routes = sync_config().notify.routes
    return {name: route for name, route in routes.items() if route.takes(NotifyEvent.RUN_FAILED, account)}


def _sent(route: Route, message: Message, context: Context) -> bool:
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


def _key(dag_id: str, task_id: str) -> str:
    return f"{_PREFIX}:{dag_id}:{task_id}"


def _read(key: str) -> Mapping[str, Any]:
    try:
        found = Variable.get(key, default=None, deserialize_json=True)
    except Exception as error:
        # Told twice is better than not told.
        _missed("read", key, error)
        return {}
    return found if isinstance(found, dict) and {"since", "run_id", "told"} <= set(found) else {}


def _write(key: str, value: Mapping[str, Any]) -> None:
    try:
        Variable.set(key, dict(value), description=_DESCRIPTION, serialize_json=True)
    except Exception as error:
        _missed("written", key, error)


def _forget(key: str) -> None:
    try:
        Variable.delete(key)
    except Exception as error:
        _missed("deleted", key, error)


def _missed(what: str, key: str, error: Exception) -> None:
    log.warning("the Airflow Variable %s could not be %s (%s)", key, what, type(error).__name__)
