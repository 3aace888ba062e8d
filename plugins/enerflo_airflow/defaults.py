"""Settings shared by all jobs' DAGs, and what the section ``airflow`` of an account says of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

from enerflo_airflow.accounts import account_name
from enerflo_airflow.alerts import alert_callbacks
from enerflo_airflow.deadlines import run_deadline
from enerflo_airflow.own_callbacks import with_own_callbacks
from enerflo_airflow.retry import EnerfloRetryPolicy
from enerflo_sync.crm.account import AccountDefaults
from enerflo_sync.crm.config import AccountConfig

# In the past, so that a DAG runs as soon as it is switched on; catchup is off.
START_DATE = datetime(2026, 1, 1, tzinfo=UTC)
# Each answer that comes too soon costs a retry.
_ASKED_AGAIN = 20


def account_dag(job: str, settings: AccountConfig, *, waits_for_a_person: bool = False) -> dict[str, Any]:
    """Return the arguments of ``@dag`` that all jobs share: the DAG's id, and the options of ``airflow``.

    :param waits_for_a_person: a run has no deadline, because it waits for a person's answer.
    """
    minutes = None if waits_for_a_person else settings.airflow.deadline_minutes
    return {
        "dag_id": account_name(job, settings.name),
        "tags": _tags(settings),
        "catchup": False,
        "default_args": task_defaults(settings),
        "deadline": None if minutes is None else run_deadline(settings.name, minutes),
    }


def task_defaults(settings: AccountDefaults, *, alerts: bool = True) -> dict[str, Any]:
    """Return the tasks' default arguments: owner, queue and pool, retries, and callbacks for failures.

    :param alerts: False for tasks that report their findings themselves.
    """
    options = settings.airflow
    # Options that are not set are left out, so that Airflow's own defaults count.
    where = {name: getattr(options, name) for name in ("queue", "pool", "executor")}
    return {
        "owner": options.owner,
        "retries": options.retries,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": EnerfloRetryPolicy(),
        "execution_timeout": timedelta(hours=2),
        "priority_weight": options.priority_weight,
        **{name: value for name, value in where.items() if value is not None},
        **with_own_callbacks(alert_callbacks() if alerts else {}, options.callbacks),
    }


def clock(expression: str, settings: AccountConfig) -> CronTriggerTimetable:
    """Return the timetable of a cron expression of the account's schedule."""
    return CronTriggerTimetable(expression, timezone=settings.schedule.time_zone)


def asking(settings: AccountConfig, expires_hours: float) -> dict[str, Any]:
    """Return the arguments that all tasks share which ask a person: who may answer, how long, and retries.

    A task that asks writes nothing before the answer, so it asks again at once if it fails. Airflow 3.3 also
    takes an answer for a failure if the worker has not noticed yet that the asking process ended, which lasts
    5 s or more on a busy machine.

    :param expires_hours: the maximum total wait.
    """
    return {
        "answer_within": timedelta(hours=expires_hours),
        "assigned_users": approvers(settings),
        "retries": max(settings.airflow.retries, _ASKED_AGAIN),
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 1.0,
    }


def approvers(settings: AccountConfig) -> list[dict[str, str]] | None:
    """Return the users who may answer the account's questions; None if everybody may."""
    found = settings.airflow.approver_ids
    return [{"id": user, "name": name} for user, name in found.items()] or None


def _tags(settings: AccountConfig) -> list[str]:
    group = [f"group:{settings.group}"] if settings.group else []
    return list(dict.fromkeys(["enerflo", f"account:{settings.name}", *group, *settings.airflow.tags]))
