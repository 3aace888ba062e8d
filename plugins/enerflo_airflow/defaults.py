"""Settings shared by all jobs' DAGs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from enerflo_airflow.alerts import alert_callbacks
from enerflo_airflow.retry import EnerfloRetryPolicy

# In the past, so that a DAG runs as soon as it is switched on; catchup is off.
START_DATE = datetime(2026, 1, 1, tzinfo=UTC)


def task_defaults() -> dict[str, Any]:
    """Return the tasks' default arguments: owner, retries where one can help, and whom a failure is told."""
    return {
        "owner": "enerflo-sync",
        "retries": 3,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": EnerfloRetryPolicy(),
        "execution_timeout": timedelta(hours=2),
        **alert_callbacks(),
    }
