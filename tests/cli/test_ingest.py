"""``enerflo-sync ingest`` as a person or a scheduler runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from enerflo_sandbox.world import World
from tests.cli.conftest import Run

COMMAND = [sys.executable, "-c", "from enerflo_sync.cli import main; main()", "ingest", "--json"]
ENGINE = Path(__file__).parents[2] / "include"


@pytest.fixture
def folder(tmp_path: Path, environment: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(tmp_path / "drop"))
    (tmp_path / "drop").mkdir()
    return tmp_path / "drop"


def put(folder: Path, name: str, body: Any) -> None:
    (folder / name).write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())


def update(world: World, number: int = 0, **more: Any) -> dict[str, Any]:
    return {"webhook_event": "update_install", "id": world.install_id(number), **more}


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[call-overload, no-any-return]


def test_nothing_there_is_said_and_0(run: Run, folder: Path) -> None:
    result = run("ingest")
    assert result.code == 0
    assert "No finished file lay in the drop." in result.out


def test_a_file_that_cannot_be_archived_is_not_called_absent(run: Run, folder: Path, world: World) -> None:
    put(folder, "a.json", update(world))
    (folder.parent / "archive").write_text("no folder")
    for _ in range(2):
        result = run("ingest")
        assert result.code == 1
        assert "some stay in the drop" in result.out
        assert "No finished file lay in the drop." not in result.out


def test_taken_in_and_0(run: Run, folder: Path, world: World) -> None:
    put(folder, "a.json", update(world))
    result = run("ingest", "--json")
    assert result.code == 0
    assert (result.json["state"], result.json["job"]) == ("ok", "webhooks")
    counts = ("applied", "unchanged", "quarantined", "skipped")
    assert result.json["read"] == sum(result.json[name] for name in counts)
    assert list(folder.iterdir()) == []
    assert list((folder.parent / "archive").rglob("a.json"))


def test_something_put_aside_is_said_and_1(run: Run, folder: Path, world: World) -> None:
    put(folder, "a.json", update(world))
    put(folder, "b.json", b"Zanzibar Quux")
    put(folder, "c.json", {"webhook_event": "moon_landing", "id": 1})
    result = run("ingest")
    assert result.code == 1
    assert "partial" in result.out
    assert "not_json" in result.out
    assert "unknown_event at moon_landing" in result.out
    assert "Zanzibar" not in result.out + result.err


def test_a_wrong_key_takes_everything_in_and_2(
    run: Run, folder: Path, world: World, warehouse_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERFLO_API_KEY", "not-the-key")
    put(folder, "a.json", update(world))
    result = run("ingest")
    assert result.code == 2
    assert "401" in result.err
    assert "not-the-key" not in result.err
    assert "Traceback" not in result.err
    assert list(folder.iterdir()) == []
    assert rows(warehouse_url, "select state from sync.webhook_events") == [("received",)]


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WEBHOOK_DROP_URI", "", "WEBHOOK_DROP_URI"),
        ("WEBHOOK_DROP_URI", "/nowhere/at/all", "does not exist"),
        ("WEBHOOK_DROP_URI", "nonsense://x", "no storage is known"),
        ("WAREHOUSE_URL", "postgresql://nobody@127.0.0.1:9/none", "could not be reached"),
    ],
)
def test_a_wrong_set_up_is_one_sentence_and_2(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setattr("enerflo_sync.enerflo.retry.RetryPolicy.wait", lambda *_, **__: None)
    monkeypatch.setenv(variable, value)
    result = run("ingest")
    assert result.code == 2
    assert result.out == ""
    assert said in " ".join(result.err.split())
    assert "Traceback" not in result.err


def test_a_warehouse_that_was_not_migrated_names_the_command(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, empty_warehouse_url: str
) -> None:
    monkeypatch.setenv("WAREHOUSE_URL", empty_warehouse_url)
    result = run("ingest")
    assert result.code == 2
    assert "migrate" in result.err


def start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    return subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_at_a_time_take_each_event_once(run: Run, folder: Path, world: World, warehouse_url: str) -> None:
    for number in range(300):
        put(folder, f"{number:04}.json", update(world, number % 20, n=number // 2))
    both = [start(), start()]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    events = {(number % 20, number // 2) for number in range(300)}
    found = rows(
        warehouse_url, "select sum(copies), count(*), min(state), max(state) from sync.webhook_events"
    )
    assert found == [(300, len(events), "applied", "applied")]
    assert len(list((folder.parent / "archive").rglob("*.json"))) == 300
    runs = rows(warehouse_url, "select state, read from sync.runs")
    assert {state for state, _ in runs} == {"ok"}
    assert sum(json_read for _, json_read in runs) >= 300


def test_killed_by_the_system_at_any_time_and_run_again(
    run: Run, folder: Path, world: World, warehouse_url: str
) -> None:
    for number in range(1_200):
        put(folder, f"{number:04}.json", {"webhook_event": "new_note", "id": number})
    killed = 0
    for _ in range(2):
        process = start()
        deadline = time.monotonic() + 30
        before = sum(1 for _ in os.scandir(folder))
        # Not before it moves files, so that it dies in the middle of its work.
        while process.poll() is None and time.monotonic() < deadline:
            if sum(1 for _ in os.scandir(folder)) < before - 50:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.005)
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
        if not any(folder.iterdir()):
            break
    assert killed
    assert run("ingest").code == 0
    assert rows(warehouse_url, "select sum(copies), count(*) from sync.webhook_events") == [(1_200, 1_200)]
    assert list(folder.iterdir()) == []
    assert len(list((folder.parent / "archive").rglob("*.json"))) == 1_200
    assert rows(warehouse_url, "select count(*) from sync.webhook_moves") == [(0,)]
