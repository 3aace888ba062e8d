"""``enerflo-sync receiver serve`` as a person starts it."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.receiver.conftest import COMMAND, SECRET, environment


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
