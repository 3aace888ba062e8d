"""Whole DAG runs in process: a company over HTTP, a real warehouse, Airflow's own loop."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sqlalchemy as sa
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

from enerflo_sandbox.faults import Faults, parse_script
from enerflo_sandbox.server import SandboxServer
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import DAGS
from tests.airflow_fixtures import INSTALLS, Setting, enerflo_connection

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


def run(dag_id: str, *, is_last_try: bool = False, **conf: Any) -> DagRun:
    """Run a DAG to its end and return the run as the metadata database has it.

    :param is_last_try: a task that fails is not tried again, for which the run would wait.
    """
    dag = DagBag(dag_folder=str(DAGS)).dags[dag_id]
    for task in dag.tasks if is_last_try else ():
        task.retries = 0
    run_id = dag.test(run_conf=conf).run_id
    with create_session() as session:
        found = session.scalar(sa.select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        assert found is not None
        _ = found.note, found.task_instances
        session.expunge_all()
    return found


def states(run: DagRun) -> dict[str, str]:
    return {task.task_id: str(task.state) for task in run.task_instances}


def result(run: DagRun, task_id: str) -> dict[str, Any]:
    with create_session() as session:
        query = XComModel.get_many(
            run_id=run.run_id, dag_ids=run.dag_id, task_ids=task_id, key="return_value"
        )
        return dict(XComModel.deserialize_value(session.scalars(query).one()))


def everything_kept_in_airflow(run: DagRun) -> str:
    with create_session() as session:
        query = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id)
        return " ".join(str(row.value) for row in session.scalars(query))


def test_poll_and_reconcile_run_green_from_an_empty_warehouse(connected: Setting) -> None:
    poll = run("enerflo_poll")
    assert states(poll) == {"read_enerflo": "success", "announce_change": "success"}
    counts = result(poll, "read_enerflo")
    assert counts["read"] == sum(counts[part] for part in ("applied", "unchanged", "quarantined", "skipped"))
    assert counts["applied"] >= INSTALLS
    assert poll.note is not None
    assert f"read {counts['read']:,} · applied {counts['applied']:,}" in poll.note
    engine = warehouse_engine(connected.warehouse_url)
    with engine.connect() as connection:
        mirrored = connection.scalar(sa.text("select count(*) from enerflo.installs"))
        recorded = connection.execute(sa.text("select run_id, applied, read from sync.runs")).one()
    assert mirrored == INSTALLS - counts["quarantined"]
    assert recorded == (counts["run_id"], counts["applied"], counts["read"])
    assert counts["run_id"] == f"enerflo_poll/{poll.run_id}"

    reconcile = run("enerflo_reconcile")
    # Nobody waits for other changes in a run that a person started.
    assert states(reconcile) == {"compare_with_crm": "success", "gather_changes": "success"}
    headline = result(reconcile, "compare_with_crm")
    with engine.connect() as connection:
        stored = connection.execute(
            sa.text("select reconciliation_id, differences, unexplained from sync.reconciliations")
        ).one()
    engine.dispose()
    assert stored == (headline["reconciliation_id"], headline["differences"], headline["unexplained"])
    assert headline["differences"] > 0
    assert f"{headline['unexplained']:,} unexplained of 0 allowed" in str(reconcile.note)
    assert everything_kept_in_airflow(reconcile).count(
        f"/plugin/enerflo-reports/enerflo/reports/default/{headline['reconciliation_id']}"
    )


def test_a_poll_that_changes_nothing_starts_no_reconciliation(connected: Setting) -> None:
    run("enerflo_poll")
    second = run("enerflo_poll")
    assert states(second) == {"read_enerflo": "success", "announce_change": "skipped"}
    assert str(second.state) == "success"
    assert result(second, "read_enerflo")["applied"] == 0


def test_the_form_says_what_is_read(connected: Setting) -> None:
    poll = run("enerflo_poll", resources=["statuses"])
    with warehouse_engine(connected.warehouse_url).connect() as connection:
        assert connection.scalar(sa.text("select count(*) from enerflo.install_statuses"))
        assert connection.scalar(sa.text("select count(*) from enerflo.installs")) == 0
    assert str(poll.state) == "success"


def test_a_wrong_key_fails_at_once_and_the_note_says_what_to_change(
    connected: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(connected.sandbox_url, "wrong-key"))
    poll = run("enerflo_poll")
    assert str(poll.state) == "failed"
    assert states(poll) == {"read_enerflo": "failed", "announce_change": "upstream_failed"}
    assert [task.try_number for task in poll.task_instances if task.task_id == "read_enerflo"] == [1]
    assert "does not accept the API key (401)" in str(poll.note)
    assert "wrong-key" not in str(poll.note)


def test_a_warehouse_that_is_not_migrated_fails_at_once_with_the_command(
    connected: Setting, empty_warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.airflow_fixtures import warehouse_connection

    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(empty_warehouse_url))
    for dag_id in ("enerflo_poll", "enerflo_reconcile"):
        failed = run(dag_id)
        assert str(failed.state) == "failed"
        assert "Run enerflo-sync migrate" in str(failed.note)


def test_a_reconciliation_over_its_budget_fails_only_where_that_is_asked_for(connected: Setting) -> None:
    run("enerflo_poll")
    asked = run("enerflo_reconcile", fail_over_budget=True)
    assert str(asked.state) == "failed"
    assert "unexplained of 0 allowed" in str(asked.note)
    assert result(asked, "compare_with_crm")["within_budget"] is False
    assert "/enerflo/reports/default/" in everything_kept_in_airflow(asked)


def test_no_personal_data_and_no_secret_reaches_airflow(
    connected: Setting, company: SandboxServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        runs = [run("enerflo_poll"), run("enerflo_reconcile")]
    with warehouse_engine(connected.warehouse_url).connect() as connection:
        names = connection.scalars(sa.text("select customer_name from enerflo.installs")).all()
    assert len(names) > INSTALLS / 2
    kept = caplog.text + " ".join(everything_kept_in_airflow(one) + str(one.note) for one in runs)
    assert "sandbox-key" not in kept
    assert [name for name in names if name and name in kept] == []


def test_a_key_of_another_company_is_believed_where_the_run_says_so(
    connected: Setting, company: SandboxServer
) -> None:
    run("enerflo_poll")
    company.api.faults = Faults(script=[parse_script("other_company@/api/*#1-9999")])
    try:
        refused = run("enerflo_poll", is_last_try=True)
        assert str(refused.state) == "failed"
        assert "answers for another company" in str(refused.note)
        assert str(run("enerflo_poll", accept_company=True, accept_shrink=True).state) == "success"
    finally:
        company.api.faults = Faults()
    with warehouse_engine(connected.warehouse_url).connect() as connection:
        assert connection.scalar(sa.text("select count(*) from sync.companies_seen")) == 1
