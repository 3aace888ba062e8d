"""The triggers, run as the triggerer runs them, on a real folder."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow._shared.module_loading import import_string
from airflow.serialization.encoders import encode_trigger
from airflow.triggers.base import BaseTrigger
from enerflo_airflow.triggers import WebhookDropEventTrigger, WebhookDropTrigger
from enerflo_airflow.watcher import drop_asset

from tests.airflow_environment import ROOT

SHIPPED = ROOT / "include" / "config" / "sync.yaml"
QUICK = 0.02
# Many looks long.
A_WHILE = 0.5


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(SHIPPED))
    monkeypatch.setenv("WEBHOOK_DROP_URI", str(folder))
    return folder


@asynccontextmanager
async def running(trigger: BaseTrigger) -> Any:
    """Run a trigger until the block ends, and yield the payloads of its events as they come."""
    seen: list[Any] = []

    async def listen() -> None:
        async for event in trigger.run():
            seen.append(event.payload)

    task = asyncio.create_task(listen())
    try:
        yield seen
        assert not task.done() or isinstance(trigger, WebhookDropTrigger), "the event trigger has ended"
    finally:
        task.cancel()


async def until(what: Callable[[], bool]) -> None:
    for _ in range(500):
        if what():
            return
        await asyncio.sleep(QUICK)
    raise AssertionError("waited 10 s for nothing")


def file(folder: Path, name: str = "one.json") -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("{}")
    return folder / name


def go(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))


def event_trigger() -> WebhookDropEventTrigger:
    return WebhookDropEventTrigger("default", QUICK)


@pytest.mark.parametrize(
    "trigger",
    [WebhookDropTrigger("west", 3, 1.5), WebhookDropEventTrigger("west", 2.0)],
    ids=lambda t: type(t).__name__,
)
def test_a_trigger_is_rebuilt_from_plain_values_without_an_address(
    trigger: BaseTrigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_DROP_URI", "ftp://user:password@host/drop")
    classpath, kwargs = trigger.serialize()
    again = import_string(classpath)(**json.loads(json.dumps(kwargs)))
    assert type(again) is type(trigger)
    assert again.serialize() == trigger.serialize()
    assert vars(again).keys() == vars(trigger).keys()
    assert kwargs["account"] == "west"
    assert "password" not in str(
        encode_trigger(trigger) if isinstance(trigger, WebhookDropEventTrigger) else kwargs
    )


def test_each_account_has_a_drop_asset_with_a_watcher_of_its_own() -> None:
    default, west = drop_asset("default"), drop_asset("west")
    assert (default.name, default.uri) == ("enerflo_drop", "enerflo://default/drop")
    assert (west.name, west.uri) == ("enerflo_drop__west", "enerflo://west/drop")
    [watcher] = west.watchers
    assert isinstance(watcher.trigger, WebhookDropEventTrigger)
    assert watcher.trigger.serialize()[1] == {"account": "west", "poll_interval": 3.0}


def test_each_new_name_wakes_once_and_a_name_that_came_back_wakes_again(drop: Path) -> None:
    async def test() -> None:
        async with running(event_trigger()) as seen:
            await asyncio.sleep(A_WHILE)
            assert seen == []
            file(drop, "one.json")
            await until(lambda: seen == [{"waiting": 1}])
            file(drop, "below/two.json")
            await until(lambda: seen[1:] == [{"waiting": 2}])
            # What stays is told once.
            await asyncio.sleep(A_WHILE)
            assert len(seen) == 2
            (drop / "one.json").unlink()
            await asyncio.sleep(A_WHILE)
            assert len(seen) == 2
            file(drop, "one.json")
            await until(lambda: seen[2:] == [{"waiting": 2}])

    go(test())


def test_files_that_were_there_before_the_trigger_wake_as_well(drop: Path) -> None:
    for number in range(1_000):
        file(drop, f"{number:04}.json")

    async def test() -> None:
        async with running(event_trigger()) as seen:
            await until(lambda: seen == [{"waiting": 1_000}])
            await asyncio.sleep(A_WHILE)
            assert len(seen) == 1

    go(test())


def test_unfinished_files_wake_nobody_until_they_are_renamed(drop: Path) -> None:
    async def test() -> None:
        async with running(event_trigger()) as seen:
            for name in (".one.json", "one.json.tmp", "two.part", "_three.json"):
                file(drop, name)
            await asyncio.sleep(A_WHILE)
            assert seen == []
            (drop / ".one.json").rename(drop / "one.json")
            await until(lambda: seen == [{"waiting": 1}])

    go(test())


def test_a_file_that_may_still_be_written_is_left_alone_for_the_settle_time(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "sync.yaml"
    config.write_text(
        SHIPPED.read_text().replace("webhooks:\n  max", "webhooks:\n  settle_seconds: 60\n  max")
    )
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))

    async def test() -> None:
        async with running(event_trigger()) as seen:
            path = file(drop)
            await asyncio.sleep(A_WHILE)
            assert seen == []
            os.utime(path, (path.stat().st_mtime - 61,) * 2)
            await until(lambda: seen == [{"waiting": 1}])

    go(test())


@pytest.mark.parametrize("state", ["missing", "a file", "unset"])
def test_a_drop_that_cannot_be_read_is_said_once_and_looked_at_again(
    state: str,
    drop: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log: list[str] = []
    drop.rmdir()
    config = tmp_path / "sync.yaml"
    text = SHIPPED.read_text()
    config.write_text(text)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    if state == "a file":
        drop.write_text("no folder")
    if state == "unset":
        monkeypatch.delenv("WEBHOOK_DROP_URI")

    def said(word: str) -> list[str]:
        log.extend(capsys.readouterr().out.splitlines())
        return [line for line in log if word in line]

    async def test() -> None:
        async with running(event_trigger()) as seen:
            await until(lambda: bool(said("drop_not_readable")))
            await asyncio.sleep(A_WHILE)
            assert len(said("drop_not_readable")) == 1
            assert seen == []
            drop.unlink(missing_ok=True)
            drop.mkdir()
            file(drop)
            if state == "unset":
                config.write_text(text.replace("${WEBHOOK_DROP_URI:-}", str(drop)))
            await until(lambda: seen == [{"waiting": 1}])
            assert len(said("drop_not_readable")) == 1

    go(test())
    next_step = {"unset": "Set WEBHOOK_DROP_URI"}.get(state, "Create the folder")
    assert next_step in said("drop_not_readable")[0]


def test_a_changed_file_of_an_account_is_noticed_at_the_next_look(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, account = tmp_path / "sync.yaml", tmp_path / "accounts" / "default.yaml"
    _, _, shared = SHIPPED.read_text().partition("\npoll:\n")
    config.write_text(f"version: 1\npoll:\n{shared}")
    account.parent.mkdir()
    account.write_text(f"webhook_drop_uri: {drop}\n")
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    file(tmp_path / "other", "other.json")

    async def test() -> None:
        async with running(event_trigger()) as seen:
            file(drop)
            await until(lambda: seen == [{"waiting": 1}])
            # In its place, as an editor may save it, so that only this file shows that it was written.
            account.write_text(f"webhook_drop_uri: {tmp_path / 'other'}\n")
            file(tmp_path / "other", "second.json")
            await until(lambda: len(seen) > 1 and seen[-1] == {"waiting": 2})

    go(test())


def test_a_changed_configuration_is_noticed_at_the_next_look(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "sync.yaml"
    config.write_text(SHIPPED.read_text())
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    file(tmp_path / "other", "other.json")

    async def test() -> None:
        async with running(event_trigger()) as seen:
            file(drop)
            await until(lambda: seen == [{"waiting": 1}])
            config.write_text(config.read_text().replace("${WEBHOOK_DROP_URI:-}", str(tmp_path / "other")))
            await until(lambda: seen[1:] == [{"waiting": 1}])

    go(test())


def test_a_look_that_takes_long_never_blocks_the_event_loop(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration is a pipe that nobody has written to yet: reading it hangs until somebody does."""
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(pipe))
    file(drop)

    async def test() -> None:
        async with running(event_trigger()) as seen:
            for _ in range(20):
                await asyncio.sleep(QUICK)
            assert seen == []
            await asyncio.to_thread(pipe.write_bytes, SHIPPED.read_bytes())
            await until(lambda: seen == [{"waiting": 1}])

    go(test())


def test_the_task_trigger_fires_once_when_enough_files_are_there(drop: Path) -> None:
    async def test() -> None:
        async with running(WebhookDropTrigger("default", 2, QUICK)) as seen:
            file(drop, "one.json")
            await asyncio.sleep(A_WHILE)
            assert seen == []
            file(drop, "two.json")
            await until(lambda: seen == [{"waiting": 2}])
            file(drop, "three.json")
            await asyncio.sleep(A_WHILE)
            assert len(seen) == 1

    go(test())


def test_the_task_trigger_says_at_once_that_the_drop_is_missing(drop: Path) -> None:
    drop.rmdir()

    async def test() -> None:
        async with running(WebhookDropTrigger("default", 1, QUICK)) as seen:
            await until(lambda: bool(seen))
            assert seen[0]["problem"]["where"] == "webhook_drop_uri"
            assert "Create the folder" in seen[0]["problem"]["next_step"]

    go(test())
