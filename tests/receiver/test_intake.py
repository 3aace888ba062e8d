"""Senders and stores that are slow, crowds, and a defect: with short waits, in this process."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sync.clock import SystemClock
from enerflo_sync.drop.writer import DropWriter, LocalWriter
from enerflo_sync.receiver import intake as module
from enerflo_sync.receiver.app import make_app
from enerflo_sync.receiver.health import TRIAL_SECONDS, Health
from enerflo_sync.receiver.intake import Intake
from enerflo_sync.receiver.outcomes import PostOutcome, RefusedError
from enerflo_sync.receiver.settings import Hook, ReceiverSettings
from tests.receiver.conftest import SECRET

HOOK = Hook("default", "", (SECRET,))
SETTINGS = ReceiverSettings((HOOK,))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BODY_SECONDS", "STORE_SECONDS", "WAIT_SECONDS"):
        monkeypatch.setattr(module, name, 0.2)
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)
    monkeypatch.setattr(module, "MOST_WAITING", 2)


def intake(drop: DropWriter) -> Intake:
    return Intake(SETTINGS, {"default": drop}, SystemClock(), random.Random(1))


async def at_once(body: bytes = b"{}") -> AsyncIterator[bytes]:
    yield body


async def never(begun: list[int]) -> AsyncIterator[bytes]:
    begun.append(1)
    yield b"{"
    await asyncio.sleep(3600)


async def outcome(desk: Intake, chunks: AsyncIterator[bytes]) -> PostOutcome:
    try:
        await desk.take(HOOK, {}, chunks)
    except RefusedError as refused:
        return refused.outcome
    return PostOutcome.STORED


def test_a_slow_sender_is_given_up_and_its_turn_is_free_again(drop: LocalWriter, tmp_path: Path) -> None:
    async def run() -> list[PostOutcome]:
        desk = intake(drop)
        return [await outcome(desk, never([])) for _ in range(3)] + [await outcome(desk, at_once())]

    assert asyncio.run(run()) == [PostOutcome.TOO_SLOW] * 3 + [PostOutcome.STORED]
    assert len(list((tmp_path / "drop").iterdir())) == 1


def crowd(drop: LocalWriter, count: int) -> tuple[list[PostOutcome], int]:
    """Return how ``count`` slow posts end that come at once, and how many of them were begun to be read."""
    begun: list[int] = []

    async def run() -> list[PostOutcome]:
        desk = intake(drop)
        return await asyncio.gather(*(outcome(desk, never(begun)) for _ in range(count)))

    return asyncio.run(run()), len(begun)


def test_a_crowd_waits_for_its_turn_and_what_is_too_many_is_sent_away(
    drop: LocalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 30)
    assert crowd(drop, 5) == ([PostOutcome.TOO_SLOW] * 4 + [PostOutcome.OVERLOADED], 4)


def test_who_waits_in_vain_is_sent_away_unread(drop: LocalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 1)
    assert crowd(drop, 4) == ([PostOutcome.TOO_SLOW] * 2 + [PostOutcome.OVERLOADED] * 2, 2)


class SlowDrop(LocalWriter):
    """A drop whose disk answers when it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.go = threading.Event()

    def put(self, name: str, data: bytes) -> None:
        self.go.wait(30)
        super().put(name, data)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowDrop]:
    (tmp_path / "slow").mkdir()
    drop = SlowDrop(tmp_path / "slow")
    yield drop
    drop.go.set()


def test_a_slow_store_is_not_waited_for_for_ever_and_the_end_waits_for_it(
    slow: SlowDrop, tmp_path: Path
) -> None:
    async def run() -> PostOutcome:
        desk = intake(slow)
        found = await outcome(desk, at_once())
        threading.Timer(0.3, slow.go.set).start()
        desk.close()
        (file,) = (tmp_path / "slow").iterdir()
        assert json.loads(file.read_bytes())["body"] == {}
        return found

    assert asyncio.run(run()) == PostOutcome.NOT_STORED


class BrokenDrop(LocalWriter):
    """A drop with a defect whose text holds what nobody should read."""

    def put(self, name: str, data: bytes) -> None:
        raise ValueError(f"{data!r} {SECRET}")


async def ask(app: Any, path: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, dict[str, Any]]:
    """Post ``{}`` to an ASGI application and return its answer."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_defect_is_500_and_said_by_its_kind_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = make_app(SETTINGS, {"default": BrokenDrop(tmp_path)}, SystemClock(), random.Random(1))
    answer = asyncio.run(ask(app, f"/hooks/default/{SECRET}", []))
    assert answer == (500, {"detail": "Internal Server Error"})
    assert "defect account=default kind=ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_a_header_that_comes_twice_is_kept_with_both_values(drop: LocalWriter, tmp_path: Path) -> None:
    app = make_app(SETTINGS, {"default": drop}, SystemClock(), random.Random(1))
    twice = [(b"x-request-id", b"1"), (b"x-request-id", b"2")]
    status, answer = asyncio.run(ask(app, f"/hooks/default/{SECRET}", twice))
    assert status == 200
    envelope = json.loads((tmp_path / "drop" / answer["stored"]).read_bytes())
    assert envelope["headers"] == {"x-request-id": "1, 2"}


def test_a_trial_is_made_once_in_a_while_however_often_it_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    clock = VirtualClock(datetime(2025, 1, 6, tzinfo=UTC))
    health = Health({"default": LocalWriter(folder)}, clock)
    assert health.reasons() == {}
    folder.rmdir()
    clock.sleep(TRIAL_SECONDS - 1)
    assert health.reasons() == {}
    clock.sleep(1)
    assert health.reasons() == {"default": "the drop takes no file (No such file or directory)."}
    folder.mkdir()
    clock.sleep(TRIAL_SECONDS)
    assert health.reasons() == {}
