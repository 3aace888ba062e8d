"""A receiver as it runs in production: a process of its own, spoken to over its socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

import enerflo_sync
from enerflo_sync.drop.writer import LocalWriter

SECRET = "0123456789abcdef" * 4
NEXT_SECRET = "fedcba9876543210" * 4
HMAC_KEY = "k3y-of-the-gateway-" * 2
ENGINE = Path(enerflo_sync.__path__[0]).parent
SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"
COMMAND = [sys.executable, "-c", "from enerflo_sync.cli import main; main()", "receiver", "serve"]


def environment(**own: str) -> dict[str, str]:
    """What the process finds in its environment: nothing of the caller's settings, and ``own``."""
    foreign = ("ENERFLO_", "WAREHOUSE_", "WEBHOOK_", "RECEIVER_", "AWS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "PYTHONPATH": str(ENGINE), "ENERFLO_SYNC_CONFIG": str(SHIPPED), **own}


@dataclass
class Running:
    """One receiver that listens."""

    process: subprocess.Popen[str]
    url: str
    drop: Path
    log: Path

    @property
    def hook(self) -> str:
        return f"{self.url}/hooks/default/{SECRET}"

    def post(self, body: Any = b"{}", *, path: str = "", **headers: str) -> requests.Response:
        """Post with these headers, ``_`` standing for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("content-type", "application/json")
        return requests.post(self.url + path if path else self.hook, data=body, headers=named, timeout=60)

    def files(self) -> list[Path]:
        return sorted(path for path in self.drop.iterdir() if not path.name.startswith("."))

    def hidden(self) -> list[str]:
        return [path.name for path in self.drop.iterdir() if path.name.startswith(".")]

    def envelope(self, answer: requests.Response) -> dict[str, Any]:
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = json.loads((self.drop / answer.json()["stored"]).read_bytes())
        return found

    def metrics(self) -> dict[str, float]:
        """Every series of /metrics with its value."""
        text = requests.get(f"{self.url}/metrics", timeout=10).text
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name.removeprefix("enerflo_receiver_"): float(value) for name, value in pairs}

    def count(self, outcome: str, account: str = "default") -> int:
        return int(self.metrics()[f'received_total{{account="{account}",outcome="{outcome}"}}'])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


Start = Callable[..., Running]


def started(drop: Path, log: Path, *options: str, **settings: str) -> Running:
    """Return a receiver once it listens; its standard error goes to ``log``."""
    settings = {"RECEIVER_SECRET": SECRET, "WEBHOOK_DROP_URI": str(drop), **settings}
    with log.open("a") as stream:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", "--json", *options],
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    assert process.stdout is not None
    said = ""
    while not said.rstrip().endswith("\n}"):
        line = process.stdout.readline()
        assert line, log.read_text()
        said += line
    about = json.loads(said)
    assert about["pid"] == process.pid
    return Running(process, about["url"], drop, log)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One receiver for the tests of a module: a limit of 1,000 bytes, no signature."""
    folder = tmp_path_factory.mktemp("receiver")
    (folder / "drop").mkdir()
    running = started(folder / "drop", folder / "log", RECEIVER_MAX_BYTES="1000")
    yield running
    assert running.end() == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start receivers whose drop is ``tmp_path/drop``; those that still run are ended."""
    begun: list[Running] = []
    drop = tmp_path / "drop"
    drop.mkdir()

    def begin(*options: str, **settings: str) -> Running:
        begun.append(started(drop, tmp_path / "log", *options, **settings))
        return begun[-1]

    yield begin
    for running in begun:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)


@pytest.fixture
def drop(tmp_path: Path) -> LocalWriter:
    """A drop in an empty folder ``tmp_path/drop``."""
    (tmp_path / "drop").mkdir()
    return LocalWriter(tmp_path / "drop")
