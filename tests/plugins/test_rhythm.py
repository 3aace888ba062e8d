"""The task that lets changes gather ends also where no triggerer runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from enerflo_airflow.rhythm import GatherChangesOperator


def gather(kind: str, started: datetime) -> None:
    context: Any = {"dag_run": SimpleNamespace(run_type=kind, start_date=started)}
    GatherChangesOperator(task_id="gather", account="default", seconds=60).execute(context)


def test_gathering_does_not_wait_for_a_triggerer_without_end() -> None:
    with pytest.raises(TaskDeferred) as caught:
        gather("asset_triggered", datetime.now(UTC))
    assert caught.value.timeout is not None
    assert timedelta(minutes=10) < caught.value.timeout <= timedelta(minutes=11)


def test_a_retry_after_that_ends_at_once() -> None:
    gather("asset_triggered", datetime.now(UTC) - timedelta(minutes=11))
