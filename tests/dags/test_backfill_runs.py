"""Whole runs of the backfill DAG in process: its form, its estimate, its parts and its report."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.sdk.exceptions import AirflowSkipException
from enerflo_airflow.backfill import EstimateBackfillOperator
from enerflo_airflow.hook import workplace

from enerflo_sync.warehouse.engine import warehouse_engine
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
