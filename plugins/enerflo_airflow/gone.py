"""Tell of failing tasks whose DAG is there no more that nobody looks at them any more.

The account was removed from the configuration, or it lost the option that made the DAG. None of these tasks
runs again, so that the end of the failure would never be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from enerflo_airflow.accounts import ACCOUNTS_DAG, account_name, sync_config
from enerflo_airflow.alerts import message_sent
from enerflo_airflow.failing import all_failing, forget, remember
from enerflo_airflow.links import account_of_dag

if TYPE_CHECKING:
    from airflow.sdk import Context

    from enerflo_sync.crm.config import SyncConfig
    from enerflo_sync.notify.message import Message

# A worker whose configuration is older than that of the others may not know a new account yet.
_QUIET = timedelta(days=1)


def tell_gone(context: Context) -> None:
    """Tell the routes that know of such a failure, and forget it; a route that is away is tried again."""
    from enerflo_sync.notify.failure import FailedTask, unwatched_message
    from enerflo_sync.notify.unusable import usable_message

    config, now = sync_config(), datetime.now(UTC)
    there, ours = _dags(config), _names()
    for dag_id, task_id, known in all_failing():
        if now - (known.seen or known.since) < _QUIET or dag_id in there:
            continue
        if dag_id != ACCOUNTS_DAG and dag_id.partition("__")[0] not in ours:
            continue
        left = []
        for name in known.told:
            message: Message
            if dag_id == ACCOUNTS_DAG:
                # What it remembers by the account is no task.
                page, is_there = f"/dags/{dag_id}", task_id in config.names
                message = usable_message(task_id, name, known.since, is_there=is_there, page=page)
            else:
                message = unwatched_message(
                    FailedTask(
                        account=account_of_dag(dag_id),
                        dag_id=dag_id,
                        run_id=known.run_id,
                        task_id=task_id,
                        name=task_id,
                        since=known.since,
                    ),
                    name,
                )
            route = config.notify.routes.get(name)
            if route is not None and not message_sent(route, message, context):
                left.append(name)
        if left:
            remember(dag_id, task_id, replace(known, told=tuple(left)))
        else:
            forget(dag_id, task_id, known)


def _dags(config: SyncConfig) -> frozenset[str]:
    """Return our DAGs that there are; those of an account that cannot be used come back."""
    found = {account_name(job, name) for job in _jobs() for name in config.names}
    without = {account_name("webhooks", one.name) for one in config.accounts.values() if not one.has_drop}
    checked = {ACCOUNTS_DAG} if len(config.names) > 1 or config.unusable else set[str]()
    return frozenset((found - without) | checked)


def _names() -> frozenset[str]:
    return frozenset(f"enerflo_{job}" for job in _jobs())


def _jobs() -> Iterator[str]:
    from enerflo_sync.pages.run_page import JOBS

    yield from JOBS
