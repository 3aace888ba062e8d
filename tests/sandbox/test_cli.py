from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from typer.testing import CliRunner

import enerflo_sync
from enerflo_sandbox.cli import app
from enerflo_sandbox.world import World
from enerflo_sync.errors import ConfigurationError

run = CliRunner()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    state = tmp_path / "state"
    code = "from enerflo_sandbox.cli import app; app()"
    options = ["--installs", "100", "--seed", "7", "--port", "0", "--per-cause", "1", "--state", str(state)]
    faults = ["--script", "504@/api/v3/offices#1", "--key", "k1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", "--json", *options, *faults],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(enerflo_sync.__path__[0]).parent)},
    )
    try:
        deadline = time.monotonic() + 60
        while (
            not (state / "sandbox.json").exists() and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        yield json.loads((state / "sandbox.json").read_text()), state
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_serve_answers_step_moves_it_and_the_end_is_clean(served: tuple[dict[str, Any], Path]) -> None:
    about, state = served
    url, headers = about["url"], {"api-key": "k1"}
    assert requests.get(f"{url}/api/v3/offices", headers=headers, timeout=10).status_code == 504
    listed = requests.get(f"{url}/api/v3/installs?per_page=200", headers=headers, timeout=10).json()
    here = World(100, 7, per_cause=1)
    assert [row["id"] for row in listed["results"]] == [
        here.install_id(n) for n in here.installs.page(0, 200)
    ]
    stepped = run.invoke(app, ["step", "--state", str(state), "--events", "3", "--json"])
    assert stepped.exit_code == 0
    assert len(json.loads(stepped.output)["changes"]) >= 3
    told = run.invoke(app, ["step", "--url", url, "--events", "1", "--kind", "new_install"])
    assert "new_install install" in told.output
    deleted = run.invoke(app, ["step", "--state", str(state), "--delete-planted"])
    assert deleted.output.startswith("install_deleted install ")
    truth = requests.get(f"{url}/_sandbox/truth", timeout=10).json()
    assert truth["per_cause"] == 1


def test_a_step_without_webhooks_says_how_to_have_them(served: tuple[dict[str, Any], Path]) -> None:
    result = run.invoke(app, ["step", "--url", served[0]["url"], "--emit"])
    assert isinstance(result.exception, ConfigurationError)
    assert "--webhooks" in str(result.exception)


@contextmanager
def serving(tmp_path: Path, *options: str) -> Iterator[dict[str, Any]]:
    code = "from enerflo_sandbox.cli import app; app()"
    usual = ["--installs", "50", "--no-plant", "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "serve", *usual, *options],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(enerflo_sync.__path__[0]).parent)},
        text=True,
    )
    try:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline() or pytest.fail("the sandbox ended early")
        yield json.loads(text)
    finally:
        process.terminate()
        assert process.wait(timeout=30) == 0


def test_serve_drops_webhook_files_for_a_step_that_emits(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    calm = ["--duplicates", "0", "--delay", "0", "--reorder", "0"]
    with serving(tmp_path, "--webhooks", str(drop), "--webhook-format", "envelope", *calm) as about:
        url = about["url"]
        assert run.invoke(app, ["step", "--url", url, "--events", "2"]).exit_code == 0
        assert list(drop.iterdir()) == []
        kind = ["--kind", "note_created"]
        told = run.invoke(app, ["step", "--url", url, "--events", "1", *kind, "--emit"])
        assert "webhook events, 0 copies still to come" in told.output
        (path, *_) = sorted(drop.glob("*new_install_note*"))
        event = json.loads(path.read_bytes())
        assert (event["source"], event["body"]["webhook_event"]) == ("sandbox", "new_install_note")
        notes = f"{url}/api/v3/installs/notes?pageSize=1"
        answer = requests.get(notes, headers={"api-key": "sandbox-key"}, timeout=10).json()
        body = event["body"]
        assert answer["notes"][0]["note_id"] == body.get("note_id", body["id"])


def test_a_served_company_lives_and_tells_by_itself(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    with serving(tmp_path, "--webhooks", str(drop), "--live-every", "0.2") as about:
        deadline = time.monotonic() + 30
        while len(list(drop.glob("[!.]*"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(list(drop.glob("[!.]*"))) >= 3
        listed = requests.get(f"{about['url']}/_sandbox/webhooks", timeout=10).json()
        assert listed["events"] >= 3
        for path in drop.glob("[!.]*"):
            json.loads(path.read_bytes())


def test_planted_orders_are_served_told_and_left_out_of_the_crm(
    tmp_path: Path, empty_warehouse_url: str
) -> None:
    drop = tmp_path / "drop"
    calm = ["--duplicates", "0", "--delay", "0", "--reorder", "0"]
    company = ["--installs", "150", "--bad-orders"]
    with serving(tmp_path, *company, "--webhooks", str(drop), *calm) as about:
        url = about["url"]
        planted = requests.get(f"{url}/_sandbox/orders", timeout=10).json()["orders"]
        assert len(planted) == about["planted_orders"]
        assert {"name", "change_order_id", "install_id", "fails", "then"} == set(planted[0])
        listed = requests.get(
            f"{url}/api/v3/change-orders?per_page=500", headers={"api-key": "sandbox-key"}, timeout=10
        ).json()["results"]
        ids = {one["change_order_id"] for one in planted}
        status = {row["id"]: row["status"] for row in listed if row["id"] in ids}
        assert status.keys() == ids
        assert list(drop.iterdir()) == []
        later = {one["change_order_id"]: one["then"] for one in planted if one["then"]}
        told = run.invoke(app, ["step", "--url", url, "--finish-orders", "--emit"])
        assert told.output.startswith(f"{len(later)} planted change orders have their last status\n")
        signed = [json.loads(path.read_bytes()) for path in drop.glob("*signed_change_order*")]
        orders = {order["id"]: order["status"] for event in signed for order in event["change_orders"]}
        assert orders == {order_id: then for order_id, then in later.items() if then == "complete"}
        assert all(status[order_id] != then for order_id, then in later.items())
    made = ["crm-tables", "--warehouse", empty_warehouse_url, *company]
    assert run.invoke(app, made).exit_code == 0
    with psycopg.connect(empty_warehouse_url.replace("+psycopg", "")) as connection:
        known = {i for (i,) in connection.execute("select enerflo_change_order_id from crm.change_orders")}
    assert known
    assert not known & ids


def test_crm_tables_names_the_rows_and_the_plants(empty_warehouse_url: str) -> None:
    options = ["--warehouse", empty_warehouse_url, "--installs", "100", "--per-cause", "1"]
    told = run.invoke(app, ["crm-tables", *options])
    assert told.exit_code == 0, told.output
    assert "crm.installs" in told.output
    assert "planted duplicate_identity" in told.output
    made = json.loads(run.invoke(app, ["crm-tables", *options, "--json"]).output)
    assert made["rows"]["installs"] == 101
    assert made["causes"]["voided"] == 1
    with psycopg.connect(empty_warehouse_url.replace("+psycopg", "")) as connection:
        assert connection.execute("select installs, seed, per_cause from sandbox.company").fetchone() == (
            100,
            7,
            1,
        )


def test_no_plant_gives_tables_that_agree(empty_warehouse_url: str) -> None:
    options = ["--warehouse", empty_warehouse_url, "--installs", "100", "--no-plant", "--json"]
    assert json.loads(run.invoke(app, ["crm-tables", *options]).output)["planted"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["step", "--url", "http://127.0.0.1:1"], "no sandbox took the order"),
        (["step", "--state", "/nowhere"], "no running sandbox has left its address"),
        (["serve", "--fault", "999=1"], "999"),
        (["serve", "--script", "504"], "KIND@PATH#N"),
        (["serve", "--installs", "1", "--host", "192.0.2.1", "--port", "1"], "cannot be taken"),
        (["crm-tables", "--installs", "1", "--warehouse", ""], "no warehouse is named"),
        (["serve", "--installs", "40", "--bad-orders"], "too small for the planted change orders"),
        (["serve", "--webhooks", "nosuchstore://x"], "webhook drop cannot be opened"),
        (["serve", "--webhooks", "http://127.0.0.1:1", "--webhook-secret-header", "x"], "NAME=VALUE"),
    ],
)
def test_a_wrong_call_says_what_to_change(arguments: list[str], said: str) -> None:
    result = run.invoke(app, arguments, env={"WAREHOUSE_URL": ""})
    assert isinstance(result.exception, ConfigurationError)
    assert said in str(result.exception)
