"""The command line as a person runs it: a served company, a warehouse, the environment, one command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.cli import main
from enerflo_sync.clock import SystemClock

SHIPPED = Path(__file__).parent.parent.parent / "include" / "config" / "sync.yaml"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def world() -> World:
    return World(60, seed=7, clock=SystemClock(), per_cause=1)


@pytest.fixture
def served(world: World) -> Iterator[SandboxServer]:
    with SandboxServer(SandboxApi(world)) as server:
        yield server


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, served: SandboxServer, warehouse_url: str) -> None:
    for name in [name for name in os.environ if name.startswith(("ENERFLO_", "WAREHOUSE_", "WEBHOOK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENERFLO_BASE_URL", served.url)
    monkeypatch.setenv("ENERFLO_API_KEY", DEFAULT_KEY)
    monkeypatch.setenv("WAREHOUSE_URL", warehouse_url)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(SHIPPED))


@pytest.fixture
def run(environment: None, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run ``enerflo-sync`` with the given words in this process."""

    def command(*words: str) -> Result:
        monkeypatch.setattr("sys.argv", ["enerflo-sync", *words])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfdbinary.readouterr()
        code = ended.value.code
        return Result(code if isinstance(code, int) else 0, out.decode(errors="replace"), err.decode())

    return command


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def init_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``enerflo-sync init`` with further words: its exit code and all that it printed."""

    def command(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["enerflo-sync", "init", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return code if isinstance(code, int) else 0, "".join(capsys.readouterr())

    return command
