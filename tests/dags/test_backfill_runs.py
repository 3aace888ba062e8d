"""Whole runs of the backfill DAG in process: its form, its estimate, its parts and its report."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators import hitl
from airflow.sdk.exceptions import ParamValidationError, TaskAwaitingInput
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.serialization.serialized_objects import DagSerialization
from enerflo_airflow.backfill import EstimateBackfillOperator
from enerflo_airflow.hook import open_account

from enerflo_sandbox.server import SandboxServer
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import DAGS
from tests.airflow_fixtures import INSTALLS, Setting, warehouse_connection
from tests.conftest import fresh_database
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


def reported(address: str) -> list[Any]:
    """Return all that the last report of a warehouse says, without the times at which it was made."""
    engine = warehouse_engine(address)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text(
                "select table_name, key::text, field, enerflo_value::text, crm_value::text, cause"
                " from sync.differences order by 1, 2, 3, 6, 4, 5"
            )
        ).all()
        made = connection.execute(sa.text("select count(*) from sync.reconciliations")).scalar_one()
    engine.dispose()
    assert made == 1
    return [tuple(row) for row in rows]


def test_the_report_says_the_same_of_a_backfilled_company_as_of_a_polled_one(
    connected: Setting, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(sa.make_url(connected.warehouse_url).database)
    with fresh_database(postgres_url, name) as polled:
        for dag_id, conf in (("enerflo_backfill", {"choice": "everything"}), ("enerflo_reconcile", {})):
            assert str(run(dag_id, **conf).state) == "success"
        monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(polled))
        for dag_id in ("enerflo_poll", "enerflo_reconcile"):
            assert str(run(dag_id).state) == "success"
        expected = reported(polled)
    assert len(expected) > 10
    assert reported(connected.warehouse_url) == expected


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


def test_named_installs_may_be_separated_by_commas_alone(connected: Setting, company: SandboxServer) -> None:
    first, second, *_ = (row.install_id for row in company.api.world.truth.installs())
    backfill = run("enerflo_backfill", choice="ids", ids=f"{first},{second}", estimate_only=True)
    assert states(backfill)["estimate"] == "success"
    assert "2 named installs" in str(backfill.note)


def backfill_dag_as_stored() -> SerializedDAG:
    dag = DagBag(dag_folder=str(DAGS)).dags["enerflo_backfill"]
    return DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))


def test_the_clock_starts_no_backfill() -> None:
    assert backfill_dag_as_stored().next_dagrun_info(last_automated_run_info=None) is None


@pytest.mark.parametrize(
    "zone", ["UTC", "America/Los_Angeles", "Etc/GMT+12", "Asia/Tokyo", "Pacific/Kiritimati"]
)
def test_airflows_own_backfill_has_a_run_for_each_month_of_the_days_chosen_in_any_time_zone(
    zone: str,
) -> None:
    begin = datetime(2024, 11, 1, tzinfo=ZoneInfo(zone))
    end = datetime(2025, 1, 31, 23, 59, 59, tzinfo=ZoneInfo(zone))
    runs = list(backfill_dag_as_stored().iter_dagrun_infos_between(begin, end))
    months = [f"{one.data_interval.start} {one.data_interval.end}" for one in runs if one.data_interval]
    days = ["2024-11-01", "2024-12-01", "2025-01-01", "2025-02-01"]
    assert months == [f"{one} 00:00:00+00:00 {next_one} 00:00:00+00:00" for one, next_one in pairwise(days)]


def test_airflows_own_backfill_takes_first_days_of_months_as_airflow_does() -> None:
    june = datetime(2025, 6, 1, tzinfo=UTC)
    runs = list(backfill_dag_as_stored().iter_dagrun_infos_between(june, june))
    assert [one.logical_date for one in runs] == [june]


def test_airflows_own_backfill_reads_its_month(connected: Setting) -> None:
    operator = EstimateBackfillOperator(task_id="estimate", account="default", choice="window")
    begin, end = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    dag_run = SimpleNamespace(run_type="backfill", data_interval_start=begin, data_interval_end=end)
    context: Any = {"dag_run": dag_run}
    request = operator._request(context, open_account("default"))
    assert (request.window_from, request.window_to) == (begin, end)


def test_no_form_lets_a_large_backfill_pass_without_a_person(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    path.write_text(path.read_text().replace("  backfill_changes: 100\n", "  backfill_requests: 3\n"))
    limit = backfill_dag_as_stored().params.get_param("limit")
    assert (limit.value, limit.schema["maximum"]) == (3, 3)
    with pytest.raises(ParamValidationError):
        run("enerflo_backfill", choice="everything", limit=1_000_000)
    # A run that took another way past the form: what the task was given does not count.
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(hitl, "upsert_hitl_detail", lambda **detail: asked.append(detail))
    task: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_backfill"].get_task("ask_a_person")
    task.estimate_only, task.limit = False, 1_000_000
    ti = SimpleNamespace(id=uuid.uuid4())
    context: Any = {"ti": ti, "task_instance": ti, "task": task, "params": {}}
    task.estimate = {"requests": 3, "words": "everything", "summary": "- 3 requests"}
    assert task.execute(context) == {"needed": False}
    task.estimate = {**task.estimate, "requests": 4}
    with pytest.raises(TaskAwaitingInput):
        task.execute(context)
    assert len(asked) == 1
    # Earlier is anybody's right.
    task.estimate, task.limit = {**task.estimate, "requests": 2}, 1
    with pytest.raises(TaskAwaitingInput):
        task.execute(context)
