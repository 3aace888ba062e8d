"""Whole runs of the backfill DAG in process: its form, its estimate, its parts and its report."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException
from enerflo_airflow.backfill import EstimateBackfillOperator
from enerflo_airflow.hook import workplace

from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import DAGS
from tests.airflow_fixtures import INSTALLS, Setting
from tests.dags.test_runs import result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


def mirrored(setting: Setting) -> int:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.connect() as connection:
        count = connection.scalar(sa.text("select count(*) from enerflo.installs"))
    engine.dispose()
    return int(count or 0)


def test_everything_by_the_form_runs_green_and_reports(connected: Setting) -> None:
    backfill = run("enerflo_backfill", choice="everything")
    assert set(states(backfill).values()) == {"success"}
    counts = result(backfill, "finish")
    assert counts["read"] == sum(counts[n] for n in ("new", "changed", "unchanged", "quarantined", "skipped"))
    assert mirrored(connected) == INSTALLS - counts["quarantined"]
    assert "estimated and real" in str(backfill.note)
    labels = [task.rendered_map_index for task in backfill.task_instances if task.task_id == "read_installs"]
    assert all("page" in str(label) for label in labels), labels


def test_only_an_estimate_reads_nothing(connected: Setting) -> None:
    backfill = run("enerflo_backfill", choice="everything", estimate_only=True)
    found = states(backfill)
    assert found.pop("estimate") == "success"
    assert set(found.values()) == {"skipped"}
    assert mirrored(connected) == 0
    assert "about" in str(backfill.note)


def test_a_form_that_cannot_be_says_what_to_change(connected: Setting) -> None:
    backfill = run("enerflo_backfill", choice="window", start="2025-05-02", end="2025-05-01")
    assert states(backfill)["estimate"] == "failed"
    assert "ends before it begins" in str(backfill.note)


@pytest.mark.parametrize("run_type", ["backfill", "scheduled"])
def test_airflows_own_backfill_reads_its_month_and_the_schedule_nothing(
    connected: Setting, run_type: str
) -> None:
    operator = EstimateBackfillOperator(task_id="estimate", account="default", choice="window")
    begin, end = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    dag_run = SimpleNamespace(run_type=run_type, data_interval_start=begin, data_interval_end=end)
    context: Any = {"dag_run": dag_run}
    if run_type == "scheduled":
        with pytest.raises(AirflowSkipException):
            operator._request(context, workplace("default"))
        return
    request = operator._request(context, workplace("default"))
    assert (request.window_from, request.window_to) == (begin, end)


def test_the_form_of_airflows_own_backfill_is_open() -> None:
    dag = DagBag(dag_folder=str(DAGS)).dags["enerflo_backfill"]
    # Airflow greys its backfill out where a schedule makes no data intervals.
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert not dag.catchup
