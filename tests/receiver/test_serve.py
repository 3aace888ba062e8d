"""``enerflo-sync receiver serve`` as a person starts it."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from enerflo_sync.shipped import shipped
from tests.receiver.conftest import COMMAND, SECRET, environment, started


def run(*options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"RECEIVER_SECRET": "short"}, "RECEIVER_SECRET: a secret of account default is shorter than 32"),
        ({"RECEIVER_SECRET": SECRET, "WEBHOOK_DROP_URI": "/nowhere/drop"}, "No such file or directory"),
    ],
    ids=["short secret", "missing drop"],
)
def test_it_does_not_start_with_a_wrong_setting(settings: dict[str, str], said: str, tmp_path: Path) -> None:
    ended = run(**{"WEBHOOK_DROP_URI": str(tmp_path), **settings})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert ended.stderr.startswith("enerflo-sync: ")
    assert "Traceback" not in ended.stderr
    assert SECRET not in ended.stderr


def test_an_address_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        ended = run("--port", port, RECEIVER_SECRET=SECRET, WEBHOOK_DROP_URI=str(tmp_path))
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}: the address cannot be taken (Address already in use)" in ended.stderr


def test_it_starts_with_one_line_and_ends_without_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "drop").mkdir()
    settings = {"RECEIVER_SECRET": SECRET, "WEBHOOK_DROP_URI": str(tmp_path / "drop"), "RECEIVER_PORT": "0"}
    with log.open("w") as stream:
        process = subprocess.Popen(COMMAND, env=environment(**settings), stderr=stream, stdout=stream)
    deadline = time.monotonic() + 30
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.05)
    # It may not listen to signals yet in the moment of its line.
    time.sleep(0.5)
    process.terminate()
    assert process.wait(timeout=30) == 0
    (line,) = log.read_text().splitlines()
    assert line.startswith("Receiver for default listens at http://127.0.0.1:")


def test_help_teaches_and_shows_no_secret() -> None:
    told = run("--help", RECEIVER_SECRET=SECRET, COLUMNS="100")
    assert told.returncode == 0
    for word in (
        "RECEIVER_SECRET",
        "openssl rand -hex 32",
        "WEBHOOK_DROP_URI",
        "8099",
        "RECEIVER_PORT",
        "503",
    ):
        assert word in told.stdout
    assert SECRET not in told.stdout


def test_an_account_whose_file_has_a_mistake_gets_503_and_keeps_no_other_from_its_posts(
    tmp_path: Path,
) -> None:
    """Its senders try again; a balancer must not take the service from the others for it."""
    for name in ("drop", "accounts"):
        (tmp_path / name).mkdir()
    (tmp_path / "sync.yaml").write_text(shipped("sync.yaml").read_text())
    (tmp_path / "accounts" / "west.yaml").write_text("mod: both\n")
    (tmp_path / "accounts" / "east.yaml").write_text("mod: both\n")
    other = SECRET[::-1]
    settings = {
        "ENERFLO_SYNC_CONFIG": str(tmp_path / "sync.yaml"),
        "RECEIVER_SECRET": SECRET,
        "RECEIVER_SECRET_WEST": other,
        "WEBHOOK_DROP_URI": str(tmp_path / "drop"),
        "RECEIVER_PORT": "0",
    }
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(COMMAND, env=environment(**settings), stderr=stream, stdout=stream)
    try:
        deadline = time.monotonic() + 30
        while "listens at" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        told = log.read_text()
        address = told.split("listens at ")[1].split()[0]
        assert "Receiver for default listens" in told
        for name in ("west", "east"):
            assert f"posts of account {name} are not stored: {tmp_path}/accounts/{name}.yaml:1" in told

        def post(path: str) -> requests.Response:
            return requests.post(f"{address}/hooks/{path}", json={"event": "x"}, timeout=30)

        assert post(f"default/{SECRET}").status_code == 200
        refused = post(f"west/{other}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        # Nobody without its secret learns that there is such an account.
        assert post(f"west/{SECRET}").status_code == post(f"east/{SECRET}").status_code == 404
        health = requests.get(f"{address}/health", timeout=30)
        assert (health.status_code, health.json()["closed"]) == (200, ["east", "west"])
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert len(list((tmp_path / "drop").glob("*.json"))) == 1
    ended = run("--account", "west", **settings)
    assert ended.returncode == 2
    assert "accounts.west.mod" in ended.stderr


def test_a_drop_that_is_not_there_yet_keeps_no_other_account_from_its_posts(tmp_path: Path) -> None:
    """A folder that is not mounted, a bucket without permission: taken as soon as it can be opened."""
    for name in ("drop", "accounts"):
        (tmp_path / name).mkdir()
    (tmp_path / "sync.yaml").write_text(shipped("sync.yaml").read_text())
    (tmp_path / "accounts" / "west.yaml").write_text(f"webhook_drop_uri: {tmp_path}/mounted-later\n")
    other = SECRET[::-1]
    settings = {"ENERFLO_SYNC_CONFIG": str(tmp_path / "sync.yaml"), "RECEIVER_SECRET_WEST": other}
    receiver = started(tmp_path / "drop", tmp_path / "log", **settings)
    try:
        told = f"posts of account west are not stored before its drop can be opened: {tmp_path}/mounted-later"
        assert told in (tmp_path / "log").read_text()
        assert receiver.post().status_code == 200
        refused = receiver.post(path=f"/hooks/west/{other}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        health = requests.get(f"{receiver.url}/health", timeout=30)
        assert (health.status_code, health.json()["status"]) == (200, "partial")
        assert health.json()["drops"].keys() == {"west"}
        (tmp_path / "mounted-later").mkdir()
        assert receiver.post(path=f"/hooks/west/{other}").status_code == 200
        assert len(list((tmp_path / "mounted-later").glob("*.json"))) == 1
    finally:
        receiver.end()
    # Where it is the only one, or was asked for, the receiver does not start without it.
    settings |= {"RECEIVER_SECRET": SECRET, "WEBHOOK_DROP_URI": str(tmp_path / "nowhere")}
    (tmp_path / "mounted-later").rename(tmp_path / "gone")
    for named in ((), ("--account", "west")):
        ended = run(*named, **settings)
        assert ended.returncode == 2
        assert "the drop takes no file" in ended.stderr
