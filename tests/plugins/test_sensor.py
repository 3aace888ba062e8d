"""The sensor in both of its ways, on a real folder."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from enerflo_airflow.sensor import WebhookDropSensor
from enerflo_airflow.triggers import WebhookDropTrigger

from enerflo_sync.errors import ConfigurationError
from tests.airflow_environment import ROOT

NOTHING: Any = {}


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(ROOT / "include" / "config" / "sync.yaml"))
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(folder))
    return folder


def sensor(**options: Any) -> WebhookDropSensor:
    return WebhookDropSensor(task_id="wait", **options)


def test_files_that_lie_there_are_counted_at_once(drop: Path) -> None:
    for name in ("one.json", "two.json", ".three.tmp"):
        (drop / name).write_text("{}")
    assert sensor().execute(NOTHING) == 2
    assert sensor(min_files=2, deferrable=False).execute(NOTHING) == 2
    assert sorted(path.name for path in drop.iterdir()) == [".three.tmp", "one.json", "two.json"]


def test_without_enough_files_it_hands_over_to_the_triggerer(drop: Path) -> None:
    (drop / "one.json").write_text("{}")
    with pytest.raises(TaskDeferred) as deferred:
        sensor(min_files=2, poke_interval=7, timeout=90).execute(NOTHING)
    trigger = deferred.value.trigger
    assert isinstance(trigger, WebhookDropTrigger)
    assert trigger.serialize()[1] == {"account": "default", "min_files": 2, "poll_interval": 7.0}
    assert deferred.value.timeout == timedelta(seconds=90)
    assert deferred.value.method_name == "execute_complete"


def test_it_returns_the_count_that_the_trigger_saw() -> None:
    assert sensor().execute_complete(NOTHING, {"waiting": 12}) == 12


def test_a_drop_that_the_triggerer_cannot_read_fails_the_task_with_the_next_step() -> None:
    problem = {"what": "It is gone.", "where": "webhook_drop_uri", "next_step": "Create it."}
    with pytest.raises(ConfigurationError) as error:
        sensor().execute_complete(NOTHING, {"problem": problem})
    assert str(error.value) == "webhook_drop_uri: It is gone. Create it."


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_missing_drop_fails_at_once(drop: Path, deferrable: bool) -> None:
    drop.rmdir()
    with pytest.raises(ConfigurationError, match="does not exist"):
        sensor(deferrable=deferrable).execute(NOTHING)


def test_in_a_worker_it_pokes_until_a_file_is_there(drop: Path) -> None:
    late = threading.Timer(0.3, (drop / "late.json").write_text, ["{}"])
    late.start()
    assert sensor(deferrable=False, poke_interval=0.05, timeout=20).execute(NOTHING) == 1
    late.join()


def test_in_a_worker_it_gives_up_at_its_timeout(drop: Path) -> None:
    with pytest.raises(AirflowSensorTimeout):
        sensor(deferrable=False, poke_interval=0.05, timeout=0.2).execute(NOTHING)


def test_a_count_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        sensor(min_files=0)


def test_it_survives_serialization() -> None:
    with DAG("waits", schedule=None) as dag:
        sensor(account="west", min_files=3)
    again: Any = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag)).get_task("wait")
    assert (again.account, again.task_type) == ("west", "WebhookDropSensor")
