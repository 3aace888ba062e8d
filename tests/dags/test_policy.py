"""What every DAG of this project keeps to. The bag is compared with the exact set, so it is never empty."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
from airflow.triggers.base import BaseEventTrigger
from enerflo_airflow.retry import EnerfloRetryPolicy
from enerflo_airflow.triggers import WebhookDropEventTrigger

from tests.airflow_environment import DAGS, PLUGINS, ROOT

DAG_IDS = {
    *("enerflo_change_orders", "enerflo_poll", "enerflo_reconcile", "enerflo_replay", "enerflo_sync"),
    *("enerflo_approve", "enerflo_backfill", "enerflo_prune", "enerflo_webhooks"),
}
BY_HAND = {"enerflo_approve", "enerflo_replay"}
# Its runs are started by files: there is nothing to ask for.
WITHOUT_FORM = {"enerflo_webhooks"}
# What stands on the mirror and does not change it by reading.
WRITERS_BACK = {"enerflo_approve", "enerflo_change_orders", "enerflo_reconcile", "enerflo_sync"}
# It deletes what nothing needs, and changes no record.
DELETERS = {"enerflo_prune"}
# A run of it waits for a person, and others are not to wait for that.
SIDE_BY_SIDE = {"enerflo_approve"}
# About all accounts, and only where there are several.
OF_SEVERAL = "enerflo_accounts"
# Has no DAG: its import error is about the files of accounts.
WITHOUT_DAG = "check_every_account"
SHIPPED = ROOT / "include" / "config" / "sync.yaml"


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(dag_folder=str(DAGS))


@pytest.fixture(params=sorted(DAG_IDS))
def one(bag: DagBag, request: pytest.FixtureRequest) -> DAG:
    return bag.dags[request.param]


def bag_of(config: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> DagBag:
    """Return the bag under another sync.yaml."""
    (folder / "sync.yaml").write_text(config)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(folder / "sync.yaml"))
    return DagBag(dag_folder=str(DAGS))


def test_the_bag_holds_exactly_these_dags(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


def test_a_dag_file_is_named_like_its_dag() -> None:
    """But for enerflo_sync, whose own name is the engine's package."""
    stems = {path.stem.removesuffix("_dag") for path in DAGS.glob("*.py")}
    assert stems == {*DAG_IDS, OF_SEVERAL, WITHOUT_DAG}
    assert not (DAGS / "enerflo_sync.py").exists()


def test_a_dag_says_what_it_is(one: DAG) -> None:
    assert one.doc_md
    assert len(one.doc_md) > 300
    assert one.doc_md.splitlines()[0].endswith(".")
    assert one.description
    assert set(one.tags) == {"enerflo", "account:default"}


def test_a_dag_runs_once_at_a_time_and_never_catches_up(one: DAG) -> None:
    assert one.catchup is False
    assert (one.max_active_runs > 1) is (one.dag_id in SIDE_BY_SIDE)
    assert one.timetable.can_be_scheduled is (one.dag_id not in BY_HAND)


def test_every_parameter_has_a_title_and_a_description(one: DAG) -> None:
    assert bool(one.params) is (one.dag_id not in WITHOUT_FORM)
    for name in one.params:
        param = one.params.get_param(name)
        assert param.schema["title"], name
        assert param.schema["type"], name
        assert param.description, name
        assert param.description.endswith("."), name


def test_every_task_has_an_owner_retries_a_policy_a_time_limit_and_a_text(one: DAG) -> None:
    assert one.tasks
    for task in one.tasks:
        assert task.owner == "enerflo-sync", task.task_id
        assert task.retries >= 2, task.task_id
        assert isinstance(task.retry_policy, EnerfloRetryPolicy), task.task_id
        assert task.execution_timeout is not None, task.task_id
        assert task.execution_timeout <= timedelta(hours=2), task.task_id
        assert task.doc_md, task.task_id
        assert task.task_display_name != task.task_id


def test_a_dag_survives_serialization(one: DAG) -> None:
    again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(one))
    assert set(again.task_dict) == set(one.task_dict)


def test_the_poll_form_offers_what_can_be_read(bag: DagBag) -> None:
    resources = bag.dags["enerflo_poll"].params.get_param("resources").schema
    assert resources["type"] == "array"
    assert resources["items"]["enum"] == resources["examples"]
    assert set(resources["examples"]) >= {"statuses", "installs", "customers", "change_orders", "notes"}


def test_the_reconciliation_waits_for_the_asset_that_all_who_change_the_mirror_emit(bag: DagBag) -> None:
    for dag_id in DAG_IDS - WRITERS_BACK - DELETERS:
        outlets = [asset.uri for task in bag.dags[dag_id].tasks for asset in task.outlets]
        assert outlets == ["enerflo://default/mirror"], dag_id
    timetable: Any = bag.dags["enerflo_reconcile"].timetable
    assert [asset.uri for asset in timetable.asset_condition.objects] == outlets
    assert timetable.timetable.expression == "0 5 * * *"


def test_the_checks_start_when_the_mirror_changed_and_judge_before_they_validate(bag: DagBag) -> None:
    checks = bag.dags["enerflo_change_orders"]
    timetable: Any = checks.timetable
    assert [asset.uri for asset in timetable.asset_condition.objects] == ["enerflo://default/mirror"]
    assert checks.get_task("judge_and_hold").downstream_task_ids == {"validate"}


def test_the_way_back_starts_when_a_reconciliation_was_stored(bag: DagBag) -> None:
    outlets = [asset.uri for task in bag.dags["enerflo_reconcile"].tasks for asset in task.outlets]
    assert outlets == ["enerflo://default/reconciled"]
    timetable: Any = bag.dags["enerflo_sync"].timetable
    assert [asset.uri for asset in timetable.asset_condition.objects] == outlets


def test_changes_gather_before_the_next_run_that_they_start(
    bag: DagBag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gather: Any = bag.dags["enerflo_reconcile"].get_task("gather_changes")
    assert (gather.seconds, gather.upstream_task_ids) == (60, {"compare_with_crm"})
    assert "gather_changes" not in bag.dags["enerflo_sync"].task_dict
    text = SHIPPED.read_text().replace("{reconcile_seconds: 60}", "{reconcile_seconds: 0, plan_seconds: 9}")
    other = bag_of(text, tmp_path, monkeypatch)
    gather = other.dags["enerflo_sync"].get_task("gather_changes")
    assert (gather.seconds, gather.upstream_task_ids) == (9, {"make_plan"})
    assert "gather_changes" not in other.dags["enerflo_reconcile"].task_dict


def test_an_approval_that_nobody_answers_is_a_no(bag: DagBag) -> None:
    task: Any = bag.dags["enerflo_approve"].get_task("ask_a_person")
    assert task.defaults == ["Reject"]
    assert task.response_timeout == timedelta(hours=24)
    assert "plan_hash" in task.subject


def test_the_form_of_an_approval_asks_for_nothing_that_the_run_was_started_with(bag: DagBag) -> None:
    approve = bag.dags["enerflo_approve"]
    task: Any = approve.get_task("ask_a_person")
    assert list(approve.params) == ["plan_hash"]
    assert list(task.serialized_params) == ["only", "except", "rest", "because"]


def test_a_waiting_approval_holds_nothing_up(bag: DagBag) -> None:
    """The DAG that plans starts the run that asks, and neither waits for the answer nor writes after it."""
    sync, approve = bag.dags["enerflo_sync"], bag.dags["enerflo_approve"]
    asks: Any = sync.get_task("ask_a_person")
    assert (asks.trigger_dag_id, asks.wait_for_completion) == ("enerflo_approve", False)
    assert asks.downstream_task_ids == set()
    assert sync.get_task("apply_plan").upstream_task_ids == {"make_plan"}
    # What is started must not stay queued because nobody has switched the DAG on.
    assert approve.is_paused_upon_creation is False
    form: Any = approve.get_task("ask_a_person").params
    assert set(form) >= {"only", "except", "rest", "because"}


def test_each_account_has_dags_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    west = (
        "accounts:\n  west:\n    schedule: {poll: '5 * * * *', reconcile: '30 6 * * *'}\n    mode: report\n"
    )
    bag = bag_of(SHIPPED.read_text().replace("accounts:\n", west, 1), tmp_path, monkeypatch)
    assert bag.import_errors == {}
    # Its section names no drop.
    assert set(bag.dags) == {
        *DAG_IDS,
        *(f"enerflo_{job}__west" for job in ("backfill", "change_orders", "poll", "prune")),
        *(f"enerflo_{job}__west" for job in ("approve", "reconcile", "replay", "sync")),
        OF_SEVERAL,
    }
    poll: Any = bag.dags["enerflo_poll__west"]
    assert poll.timetable.expression == "5 * * * *"
    assert "account:west" in poll.tags
    outlets = {asset.uri for dag in bag.dags.values() for task in dag.tasks for asset in task.outlets}
    assert outlets == {
        f"enerflo://{account}/{asset}"
        for account in ("default", "west")
        for asset in ("mirror", "reconciled")
    }
    timetable: Any = bag.dags["enerflo_reconcile__west"].timetable
    assert [asset.name for asset in timetable.asset_condition.objects] == ["enerflo_mirror__west"]


def test_files_and_the_clock_start_the_webhooks(bag: DagBag) -> None:
    written: Any = bag.dags["enerflo_webhooks"].timetable
    assert written.timetable.expression == "*/5 * * * *"
    # As Airflow's database has it, from which the triggerer makes the trigger.
    again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(bag.dags["enerflo_webhooks"]))
    timetable: Any = again.timetable
    [asset] = timetable.asset_condition.objects
    assert (asset.name, asset.uri) == ("enerflo_drop", "enerflo://default/drop")
    [watcher] = asset.watchers
    trigger = WebhookDropEventTrigger("default")
    classpath, kwargs = watcher.trigger["classpath"], watcher.trigger["kwargs"]
    assert (classpath, kwargs) == trigger.serialize()
    assert BaseEventTrigger.hash(classpath, kwargs) == BaseEventTrigger.hash(*trigger.serialize())


def test_an_account_with_a_drop_has_webhooks_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    west = (
        "accounts:\n  west:\n    webhook_drop_uri: ${WEST_DROP_URI}\n"
        "    schedule: {webhooks: '7 * * * *'}\n    mode: report\n"
    )
    bag = bag_of(SHIPPED.read_text().replace("accounts:\n", west, 1), tmp_path, monkeypatch)
    assert bag.import_errors == {}
    timetable: Any = bag.dags["enerflo_webhooks__west"].timetable
    assert timetable.timetable.expression == "7 * * * *"
    [asset] = timetable.asset_condition.objects
    assert asset.name == "enerflo_drop__west"
    assert asset.watchers[0].trigger.serialize()[1]["account"] == "west"


def test_a_replay_started_without_a_thought_changes_nothing(bag: DagBag) -> None:
    params = bag.dags["enerflo_replay"].params
    assert params["action"] == "dry_run"
    assert params["selection"] != "everything"
    assert params.get_param("action").schema["enum"] == ["dry_run", "replay", "dismiss"]
    for name in ("selection", "action"):
        schema = params.get_param(name).schema
        assert set(schema["values_display"]) == set(schema["enum"])


def test_a_mistake_in_the_configuration_is_the_import_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SHIPPED.read_text().replace("shrink_guard_percent: 20", "shrink_gard_percent: 20")
    bag = bag_of(text, tmp_path, monkeypatch)
    assert bag.dags == {}
    assert len(bag.import_errors) == len(list(DAGS.glob("*.py")))
    for error in bag.import_errors.values():
        assert "shrink_gard_percent" in error
        assert "shrink_guard_percent" in error
        assert str(tmp_path / "sync.yaml") in error


def test_parsing_needs_no_secret_no_warehouse_and_no_network(tmp_path: Path) -> None:
    """In a process of its own without any variable of ours, in which every socket is refused."""
    code = """
import socket, sys
def refused(*_, **__): raise AssertionError("a socket was opened while a DAG file was parsed")
socket.socket.connect = socket.create_connection = refused
for path in sys.argv[1:]:
    exec(compile(open(path).read(), path, "exec"), {"__name__": "parsed", "__file__": path})
print(sorted(name for name in sys.modules if name in ("psycopg", "pandas", "enerflo_sync.jobs.context")))
"""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": f"{PLUGINS}:{ROOT / 'include'}",
    }
    files = [str(path) for path in sorted(DAGS.glob("*.py"))]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.stem)
def test_a_dag_file_reads_nothing_but_the_configuration_at_import(path: Path) -> None:
    called = {
        node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
        for statement in ast.parse(path.read_text()).body
        if not isinstance(statement, ast.FunctionDef | ast.Import | ast.ImportFrom)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
    }
    if path.stem == WITHOUT_DAG:
        assert called == {"require_every_account"}
        return
    asks = "checks_accounts" if path.stem == OF_SEVERAL else "parsed_accounts"
    allowed = {"FormField", "str", "sync_config", asks}
    assert called <= {*allowed, f"{path.stem.removeprefix('enerflo_').removesuffix('_dag')}_dag"}
    assert asks in called


def test_what_reads_starts_when_it_is_switched_on_and_the_reconciliation_waits_for_it(bag: DagBag) -> None:
    """With a start date in the past Airflow runs the last missed time of a schedule at once."""
    assert bag.dags["enerflo_poll"].start_date is not None
    assert bag.dags["enerflo_webhooks"].start_date is not None
    assert bag.dags["enerflo_reconcile"].start_date is None
