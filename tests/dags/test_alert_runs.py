"""A failing task is told by Airflow's callback: without a warehouse, once, and again when it fails no more."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import structlog
from airflow.api_fastapi.execution_api.datamodels.taskinstance import TaskInstance as TaskInstanceData
from airflow.api_fastapi.execution_api.datamodels.taskinstance import TIRunContext
from airflow.callbacks.callback_requests import TaskCallbackRequest
from airflow.dag_processing.dagbag import DagBag
from airflow.dag_processing.processor import DagFileProcessorProcess
from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.sdk.execution_time.supervisor import (
    InProcessSupervisorComms,
    InProcessTestSupervisor,
    set_supervisor_comms,
)
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from enerflo_airflow import failing
from enerflo_airflow.accounts import look_again
from enerflo_airflow.alerts import tell_failure, tell_recovery, tell_skipped

from enerflo_sync.errors import RetriableError
from enerflo_sync.notify.failure import error_text
from tests.airflow_environment import DAGS
from tests.airflow_fixtures import Setting, enerflo_connection, warehouse_connection
from tests.dags.test_runs import run, states
from tests.plugins.test_notifying import Posts, chat

__all__ = ["chat"]
pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]

ROUTES = "routes:\n    chat: {events: [run_failed], http: {connection: chat}}\n"
NOWHERE = "postgresql+psycopg://nobody@/warehouse?host=/nowhere"


@pytest.fixture
def told(connected: Setting) -> Setting:
    """The company, with a route for failures."""
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    path.write_text(path.read_text().replace("routes: {}\n", ROUTES))
    with create_session() as session:
        session.execute(sa.delete(Variable).where(Variable.key.startswith("enerflo_failing")))
    return connected


def texts(chat: Posts) -> list[str]:
    """Return what arrived since the last look."""
    found = [body["text"] for _, body in chat.bodies]
    chat.bodies.clear()
    return found


def remembered() -> list[str]:
    with create_session() as session:
        query = sa.select(Variable.key).where(Variable.key.startswith("enerflo_failing"))
        return sorted(session.scalars(query))


def test_a_failure_is_told_once_without_a_warehouse_with_what_fails_by_the_same_cause_and_so_is_its_end(
    told: Setting, chat: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(NOWHERE))
    failed = run("enerflo_poll", is_last_try=True)
    assert states(failed)["read_enerflo"] == "failed"
    assert states(failed)["tell_people"] == "failed"
    (text,) = texts(chat)
    subject, *lines = text.splitlines()
    assert subject == "Enerflo default: enerflo_poll failed: Read Enerflo into the mirror"
    assert f"- Read Enerflo into the mirror (task read_enerflo of enerflo_poll, run {failed.run_id})" in lines
    assert any("the server could not be reached" in line for line in lines)
    assert "Runbook: docs/runbook.md#run_failed, docs/runbook.md#retriableerror" in lines
    assert lines[-1].startswith("http://localhost:8080/dags/enerflo_poll/runs/manual__")
    assert lines[-1].endswith("/tasks/read_enerflo")
    assert "- Other tasks that fail by the same cause are not told one by one." in lines
    assert str(run("enerflo_poll", is_last_try=True).state) == "failed"
    assert str(run("enerflo_reconcile", is_last_try=True).state) == "failed"
    assert texts(chat) == []
    assert [name for name in remembered() if "_by:" not in name] == [
        "enerflo_failing:enerflo_poll:read_enerflo",
        "enerflo_failing:enerflo_reconcile:compare_with_crm",
    ]
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(told.warehouse_url))
    assert str(run("enerflo_poll").state) == "success"
    assert str(run("enerflo_reconcile").state) == "success"
    (text,) = texts(chat)
    assert text.startswith(
        "Enerflo default: resolved: enerflo_poll fails no more: Read Enerflo into the mirror\n"
    )
    assert "failed since 20" in text
    assert remembered() == []
    run("enerflo_poll")
    assert texts(chat) == []


def test_a_wrong_key_is_told_with_its_section_and_without_the_key(
    told: Setting, chat: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(told.sandbox_url, "wrong-key"))
    run("enerflo_poll")
    (text,) = texts(chat)
    assert "does not accept the API key (401)" in text
    assert "Runbook: docs/runbook.md#run_failed, docs/runbook.md#authenticationerror\n" in text
    assert "wrong-key" not in text
    # What one person must mend is told one by one.
    assert "Other tasks" not in text


def test_a_task_that_was_killed_is_told_by_the_dag_processor(
    told: Setting, chat: Posts, tmp_path: Path
) -> None:
    """In its own process, as the scheduler asks for it when a task's sign of life stays away."""
    done = run("enerflo_poll")
    assert texts(chat) == []
    with create_session() as session:
        found = session.scalars(
            sa.select(TaskInstance).where(
                TaskInstance.run_id == done.run_id, TaskInstance.task_id == "read_enerflo"
            )
        ).one()
        request = TaskCallbackRequest(
            filepath="enerflo_poll.py",
            bundle_name="dags-folder",
            bundle_version=None,
            msg="no sign of life",
            ti=TaskInstanceData.model_validate(found, from_attributes=True),
            task_callback_type=TaskInstanceState.FAILED,
            context_from_server=TIRunContext(dag_run=found.dag_run, max_tries=0),
        )
    process = DagFileProcessorProcess.start(
        id=uuid.uuid4(),
        path=DAGS / "enerflo_poll.py",
        bundle_path=DAGS,
        bundle_name="dags-folder",
        dag_file_rel_path="enerflo_poll.py",
        callbacks=[request],
        logger=structlog.get_logger(),
        logger_filehandle=(tmp_path / "log").open("wb"),
        client=InProcessTestSupervisor._api_client(),
    )
    while not process.is_ready:
        process._service_subprocess(0.1)
    (text,) = texts(chat)
    assert text.startswith("Enerflo default: enerflo_poll failed: Read Enerflo into the mirror\n")
    assert "it was killed, ran out of memory, or its worker is gone" in text
    assert remembered() == ["enerflo_failing:enerflo_poll:read_enerflo"]


def test_a_reconciliation_that_fails_over_the_budget_says_so(told: Setting, chat: Posts) -> None:
    run("enerflo_poll")
    failed = run("enerflo_reconcile", fail_over_budget=True)
    assert states(failed)["compare_with_crm"] == "failed"
    (text,) = texts(chat)
    assert "unexplained of 0 allowed" in text


def test_the_failure_of_telling_is_not_told(told: Setting, chat: Posts) -> None:
    dag: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_poll"]
    tells, reads = dag.get_task("tell_people"), dag.get_task("read_enerflo")
    assert tells.on_failure_callback
    assert reads.on_failure_callback
    tell_failure(context_of(tells))
    assert texts(chat) == []


def ti_of(task: Any, **more: Any) -> Any:
    return SimpleNamespace(
        **{"dag_id": task.dag_id, "task_id": task.task_id, "run_id": "r", "map_index": -1, **more}
    )


def context_of(task: Any, **more: Any) -> Any:
    return {"task": task, "ti": ti_of(task, **more)}


@pytest.fixture
def inside_a_task(told: Setting) -> Iterator[None]:
    """Airflow's API as a running task reaches it."""
    supervisor = InProcessTestSupervisor(
        id=uuid.uuid4(),
        pid=os.getpid(),
        process=psutil.Process(),
        process_log=structlog.get_logger(logger_name="task"),
        client=InProcessTestSupervisor._api_client(),
    )
    supervisor.comms = InProcessSupervisorComms(supervisor=supervisor)
    with set_supervisor_comms(supervisor.comms):
        yield


@pytest.mark.usefixtures("inside_a_task")
def test_a_route_that_was_away_is_told_at_the_next_end_of_the_task(
    chat: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    task: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_poll"].get_task("read_enerflo")
    chat.status = 500
    tell_failure(context_of(task))
    assert "message not sent event=run_failed route=chat error=RetriableError" in caplog.text
    chat.status = 200
    texts(chat)
    tell_failure(context_of(task))
    assert "enerflo_poll failed" in texts(chat)[0]
    chat.status = 500
    tell_recovery(context_of(task))
    texts(chat)
    chat.status = 200
    tell_recovery(context_of(task))
    (text,) = texts(chat)
    assert "resolved" in text
    assert remembered() == []


AWAY = RetriableError("the server could not be reached.", where="somewhere")


@pytest.fixture
def fails(inside_a_task: None) -> Callable[..., None]:
    """Has a task fail since the server does not answer, in this account or in another one."""
    bag = DagBag(dag_folder=str(DAGS))
    tasks = {
        "enerflo_poll": "read_enerflo",
        "enerflo_reconcile": "compare_with_crm",
        "enerflo_prune": "prune",
    }

    def fail(dag_id: str, account: str = "") -> None:
        task: Any = bag.dags[dag_id].get_task(tasks[dag_id])
        named = f"{dag_id}__{account}" if account else dag_id
        tell_failure({**context_of(task), "ti": ti_of(task, dag_id=named), "exception": AWAY})

    return fail


def well(dag_id: str, task_id: str, account: str = "") -> None:
    task: Any = DagBag(dag_folder=str(DAGS)).dags[dag_id].get_task(task_id)
    named = f"{dag_id}__{account}" if account else dag_id
    tell_recovery({**context_of(task), "ti": ti_of(task, dag_id=named)})


def subjects(chat: Posts) -> list[str]:
    return [text.splitlines()[0].removeprefix("Enerflo ").rpartition(":")[0] for text in texts(chat)]


def test_a_cause_that_goes_on_is_told_once_until_it_is_over_however_long_that_takes(
    chat: Posts, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails("enerflo_poll")
    assert subjects(chat) == ["default: enerflo_poll failed"]
    # As if hours lay between two failures: a poll each hour, a reconciliation a day, a deletion a week.
    monkeypatch.setattr(failing, "_SAME", timedelta(0))
    for dag_id in ("enerflo_poll", "enerflo_reconcile", "enerflo_prune", "enerflo_poll", "enerflo_reconcile"):
        fails(dag_id)
        assert subjects(chat) == []
    well("enerflo_poll", "read_enerflo")
    assert subjects(chat) == ["default: resolved: enerflo_poll fails no more"]
    # Who was told that it is over is told of what fails then.
    fails("enerflo_reconcile")
    assert subjects(chat) == ["default: enerflo_reconcile failed"]
    well("enerflo_reconcile", "compare_with_crm")
    well("enerflo_prune", "prune")
    assert subjects(chat) == ["default: resolved: enerflo_reconcile fails no more"]
    assert remembered() == []


def test_accounts_that_begin_to_fail_together_are_one_message_until_it_is_over(
    chat: Posts, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in ("", "west", "east"):
        fails("enerflo_poll", account)
    assert subjects(chat) == ["default: enerflo_poll failed"]
    monkeypatch.setattr(failing, "_SAME", timedelta(0))
    fails("enerflo_poll", "west")
    fails("enerflo_reconcile", "east")
    assert subjects(chat) == []
    well("enerflo_poll", "read_enerflo")
    assert subjects(chat) == ["default: resolved: enerflo_poll fails no more"]
    fails("enerflo_poll", "west")
    assert subjects(chat) == ["west: enerflo_poll__west failed"]


def test_an_account_that_begins_to_fail_later_is_not_hidden_by_one_that_fails_for_long(
    chat: Posts, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server may be another one: the sentence of the error is the same."""
    fails("enerflo_poll")
    monkeypatch.setattr(failing, "_SAME", timedelta(0))
    fails("enerflo_poll")
    fails("enerflo_poll", "west")
    fails("enerflo_reconcile", "west")
    assert subjects(chat) == ["default: enerflo_poll failed", "west: enerflo_poll__west failed"]
    well("enerflo_poll", "read_enerflo", "west")
    assert subjects(chat) == ["west: resolved: enerflo_poll__west fails no more"]
    # The other one's failure goes on.
    fails("enerflo_reconcile")
    assert subjects(chat) == []


@pytest.mark.parametrize("forgotten", ["by time", "by hand"])
def test_a_task_that_never_runs_again_does_not_hide_its_cause_for_ever(
    chat: Posts, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    fails("enerflo_poll")
    texts(chat)
    monkeypatch.setattr(failing, "_SAME", timedelta(0))
    if forgotten == "by time":
        monkeypatch.setattr(failing, "_OVER", timedelta(0))
    else:
        with create_session() as session:
            own = "enerflo_failing:enerflo_poll:read_enerflo"
            session.execute(sa.delete(Variable).where(Variable.key == own))
    fails("enerflo_reconcile")
    assert subjects(chat) == ["default: enerflo_reconcile failed"]


def test_a_failure_long_after_the_last_one_is_told_although_nobody_noted_the_end(
    chat: Posts, fails: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The route was taken out of sync.yaml for a while, or the account was removed and came back."""
    fails("enerflo_poll")
    assert subjects(chat) == ["default: enerflo_poll failed"]
    # A failure that goes on is not told again, however long ago the first was.
    known = failing.failing("enerflo_poll", "read_enerflo")
    long_ago = known.since - timedelta(days=30)
    failing.remember("enerflo_poll", "read_enerflo", replace(known, since=long_ago))
    fails("enerflo_poll")
    assert subjects(chat) == []
    assert failing.failing("enerflo_poll", "read_enerflo").since == long_ago
    failing.remember("enerflo_poll", "read_enerflo", replace(known, since=long_ago, seen=long_ago))
    fails("enerflo_poll")
    assert subjects(chat) == ["default: enerflo_poll failed"]


@pytest.mark.usefixtures("inside_a_task")
def test_a_route_that_was_told_of_the_end_is_told_again_while_another_route_is_away(
    told: Setting, chat: Posts, fails: Callable[..., None]
) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    away = "    away: {events: [run_failed], http: {connection: nowhere}}\n"
    fails("enerflo_poll")
    task: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_poll"].get_task("read_enerflo")
    path.write_text(path.read_text().replace(ROUTES, ROUTES + away))
    look_again()
    # As if the second route had been told and were away now.
    failing.remember(
        "enerflo_poll", "read_enerflo", failing.failing("enerflo_poll", "read_enerflo").and_told("away")
    )
    texts(chat)
    tell_recovery(context_of(task))
    assert subjects(chat) == ["default: resolved: enerflo_poll fails no more"]
    assert "enerflo_failing:enerflo_poll:read_enerflo" in remembered()
    fails("enerflo_reconcile")
    assert subjects(chat) == ["default: enerflo_reconcile failed"]


@pytest.mark.usefixtures("inside_a_task")
def test_a_task_that_had_nothing_to_do_and_what_follows_it_fail_no_more(chat: Posts) -> None:
    dag: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_sync"]
    for name in ("make_plan", "apply_plan", "verify_plan", "ask_a_person"):
        tell_failure(context_of(dag.get_task(name)))
    assert len(texts(chat)) == 4
    tell_skipped(context_of(dag.get_task("apply_plan")))
    # The task before it ended well, else it would not have started; the one beside it may fail still.
    assert remembered() == ["enerflo_failing:enerflo_sync:ask_a_person"]
    assert sorted(text.splitlines()[0].rpartition(": ")[2] for text in texts(chat)) == [
        "Check both sides",
        "Decide what is to be written",
        "Write it",
    ]
    tell_recovery(context_of(dag.get_task("ask_a_person")))
    assert remembered() == []


@pytest.mark.usefixtures("inside_a_task")
def test_one_part_that_ends_well_does_not_end_the_failure_of_another(chat: Posts) -> None:
    dag: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_backfill"]
    parts, finish = dag.get_task("read_installs"), dag.get_task("finish")
    for index in (3, 4, 5):
        tell_failure(context_of(parts, map_index=index))
    (text,) = texts(chat)
    assert text.splitlines()[-1].endswith("/tasks/read_installs/mapped/3")
    tell_recovery(context_of(parts, map_index=6))
    assert remembered() == ["enerflo_failing:enerflo_backfill:read_installs"]
    tell_recovery(context_of(finish))
    assert remembered() == []
    assert len(texts(chat)) == 1


@pytest.mark.usefixtures("inside_a_task")
def test_accounts_do_not_hide_each_other(chat: Posts) -> None:
    """The name of one account's DAG is the beginning of another one's."""
    dag: Any = DagBag(dag_folder=str(DAGS)).dags["enerflo_poll"]
    task = dag.get_task("read_enerflo")
    tell_failure(context_of(task))
    tell_failure({**context_of(task), "ti": ti_of(task, dag_id="enerflo_poll__west")})
    assert [text.partition(":")[0] for text in texts(chat)] == ["Enerflo default", "Enerflo west"]
    tell_recovery(context_of(task))
    assert remembered() == ["enerflo_failing:enerflo_poll__west:read_enerflo"]
    tell_recovery({**context_of(task), "ti": ti_of(task, dag_id="enerflo_poll__west")})
    assert remembered() == []


def test_without_a_route_no_task_has_a_callback(connected: Setting) -> None:
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.dags
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert not [*task.on_failure_callback, *task.on_success_callback, *task.on_skipped_callback]


def test_with_a_route_every_task_of_every_dag_has_them(told: Setting) -> None:
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    for dag in bag.dags.values():
        for task in dag.tasks:
            assert list(task.on_failure_callback) == [tell_failure], task
            assert list(task.on_success_callback) == [tell_recovery], task


def test_the_text_of_an_unknown_error_is_not_told() -> None:
    assert error_text(ValueError("ada@example.com")) == "An unexpected ValueError; the task's log has more."
    assert "was killed" in error_text(None)


@pytest.fixture
def removed(told: Setting) -> None:
    """As if ``west`` had failed two days ago, and had been removed since."""
    old = failing.Failing(datetime.now(UTC) - timedelta(days=2), "r", ("chat",))
    failing.remember("enerflo_poll__west", "read_enerflo", old)


@pytest.mark.usefixtures("inside_a_task", "removed")
def test_a_failing_task_of_an_account_that_was_removed_is_not_watched_any_more(chat: Posts) -> None:
    assert str(run("enerflo_poll").state) == "success"
    (text,) = texts(chat)
    assert text.startswith("Enerflo west: resolved: not watched any more: enerflo_poll__west\n")
    assert "This does not say that it is well." in text
    assert "- read_enerflo (task read_enerflo of enerflo_poll__west) failed since 20" in text
    assert remembered() == []


@pytest.mark.usefixtures("inside_a_task")
def test_what_fails_in_a_dag_that_is_there_or_is_none_of_ours_or_failed_today_is_remembered(
    told: Setting, chat: Posts
) -> None:
    path = Path(os.environ["ENERFLO_SYNC_CONFIG"])
    assert "webhook_drop_uri" in path.read_text()
    now, old = datetime.now(UTC), datetime.now(UTC) - timedelta(days=2)
    for dag_id, seen in (
        ("enerflo_prune", old),
        ("enerflo_webhooks", old),
        ("our_own_dag", old),
        ("enerflo_poll__west", now),
    ):
        failing.remember(dag_id, "task", failing.Failing(old, "r", ("chat",), seen=seen))
    kept = remembered()
    run("enerflo_poll")
    assert (texts(chat), remembered()) == ([], kept)
    # The account uses no webhooks any more, so that its DAG is gone.
    text = "\n".join(line for line in path.read_text().splitlines() if "webhook_drop_uri" not in line)
    path.write_text(f"{text}\n")
    look_again()
    run("enerflo_poll")
    (said,) = texts(chat)
    assert said.startswith("Enerflo default: resolved: not watched any more: enerflo_webhooks\n")
    assert len(remembered()) == len(kept) - 1


@pytest.mark.usefixtures("inside_a_task", "removed")
def test_a_route_that_is_away_is_told_by_the_next_run_that_a_dag_is_gone(chat: Posts) -> None:
    chat.status = 500
    run("enerflo_poll")
    assert remembered() == ["enerflo_failing:enerflo_poll__west:read_enerflo"]
    chat.status = 200
    texts(chat)
    run("enerflo_poll")
    assert len(texts(chat)) == 1
    assert remembered() == []


@pytest.mark.usefixtures("inside_a_task")
def test_an_account_that_could_not_be_read_and_was_removed_leaves_no_alert_although_one_account_is_left(
    told: Setting, chat: Posts
) -> None:
    """The DAG that would tell it is there only where there are several accounts."""
    old = failing.Failing(datetime.now(UTC) - timedelta(days=2), "r", ("chat",))
    failing.remember("enerflo_accounts", "west", old)
    run("enerflo_poll")
    (text,) = texts(chat)
    assert text.startswith("Enerflo west: resolved: there is no such account any more\n")
    assert remembered() == []
