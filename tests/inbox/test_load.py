"""From files to ``sync.webhook_events``: each event once, each file archived once, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.drop.drop import Content
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.batch import Limits
from tests.inbox.conftest import Inbox, digest_of, ignored, packed, update_install

TODAY = date(2026, 3, 5)

MARK = "Zanzibar Quux"


def lines(*bodies: Any) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def test_an_event_is_a_row_with_the_contracts_columns(inbox: Inbox) -> None:
    body = update_install(12345, status={"name": "On Hold", "id": 4})
    inbox.drop({"received_at": "2026-03-01T10:00:00Z", "headers": {}, "body": body}, "in.json")
    report = inbox.load()
    assert (report.state, report.read, report.applied) == ("ok", 1, 1)
    (row,) = inbox.rows(
        "select account, event_id, event, install_id, deal_id, content_hash, received_at, source_uri, state,"
        " applied_at, copies, body::text from sync.webhook_events"
    )
    archived = str(inbox.archive / "2026/03/02/in.json")
    digest = digest_of(body)
    received = datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert row == (
        *("default", digest[:32], "update_install", 12345, None, digest, received, archived),
        *("received", None, 1, json.dumps(body, sort_keys=True, separators=(",", ":"))),
    )
    assert Path(archived).is_file()
    assert inbox.waiting() == []


def test_the_same_content_in_whatever_form_is_one_event_with_its_copies(inbox: Inbox) -> None:
    body = {"webhook_event": "new_note", "id": 1, "z": {"b": 1, "a": [2]}}
    other = {"z": {"a": [2], "b": 1}, "id": 1, "webhook_event": "new_note"}
    inbox.drop(body, "a.json")
    inbox.drop(json.dumps(other, indent=3).encode(), "b.json")
    inbox.drop(packed(lines(body, other)), "c.jsonl.gz")
    inbox.drop({"headers": {}, "body": json.dumps(other)}, "d.json")
    report = inbox.load()
    assert inbox.copies() == [5]
    assert (report.read, report.skipped, report.unchanged) == (5, 1, 4)
    inbox.drop(body, "e.json")
    assert inbox.load().unchanged == 1
    assert inbox.copies() == [6]
    assert len(inbox.archived()) == 5


def test_a_file_replaced_between_read_and_move_is_read_again(inbox: Inbox) -> None:
    class Replacing(LocalDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            inbox.drop(ignored(2), "new.tmp").rename(content.file.uri)
            return super().move(content, archived_uri)

    inbox.drop(ignored(1), "a.json")
    report = inbox.load(drop=Replacing(str(inbox.folder), str(inbox.archive)))
    assert report.state == "partial"
    assert "replaced after it was read" in str(report.reasons["incomplete"])
    assert inbox.waiting() == ["a.json"]
    assert inbox.load().state == "ok"
    ids = inbox.rows("select body->>'id', copies from sync.webhook_events order by 1")
    assert ids == [("1", 1), ("2", 1)]
    assert inbox.waiting() == []


def test_unfinished_files_are_left_alone(inbox: Inbox) -> None:
    names = [".hidden", "_SUCCESS", "~x.json", "x.json~", "x.json.tmp", "x.TMP", "x.part", "x.filepart"]
    names += ["x.crdownload", "x.json.tmp-91", ".sub/x.json", "x.swp", "x.lock", "#x#", "x.partial"]
    for name in names:
        inbox.drop(ignored(1), name)
    inbox.drop(ignored(2), "sub/deeper/x.json")
    report = inbox.load()
    assert report.read == 1
    assert inbox.archived() == ["sub/deeper/x.json"]
    assert inbox.waiting() == sorted(names)


def test_files_younger_than_the_settle_time_are_left_alone(inbox: Inbox) -> None:
    old, young = inbox.drop(ignored(1), "old.json"), inbox.drop(ignored(2), "young.json")
    now = datetime.now(UTC).timestamp()
    os.utime(old, (now - 60,) * 2)
    os.utime(young, (now - 2,) * 2)
    assert inbox.load(drop=open_drop(str(inbox.folder), settle_seconds=30)).read == 1
    assert inbox.waiting() == ["young.json"]


def test_a_sub_folder_without_permission_does_not_hold_the_others(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything: the refusal is the only thing that is made up.
    inbox.drop(ignored(1), "closed/a.json")
    inbox.drop(ignored(2), "open/b.json")
    real = os.scandir

    def scandir(folder: str) -> Any:
        if str(folder).endswith("/closed"):
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    report = inbox.load()
    assert report.skipped == 1
    assert report.state == "partial"


def test_a_sub_folder_that_vanishes_does_not_hold_the_others(inbox: Inbox) -> None:
    for name in ("a/1.json", "b/2.json", "c/3.json"):
        inbox.drop(ignored(1), name)
    waiting = inbox.place.waiting()
    found = [next(waiting).name]
    shutil.rmtree(inbox.folder / "b")
    found += [file.name for file in waiting]
    assert found == ["a/1.json", "c/3.json"]


def test_a_drop_that_vanished_is_one_clear_error(inbox: Inbox) -> None:
    shutil.rmtree(inbox.folder)
    with pytest.raises(ConfigurationError, match="does not exist") as caught:
        inbox.load()
    assert caught.value.where == "webhook_drop_uri"
    assert inbox.last_run()[0] == "failed"


def test_files_that_vanish_before_they_are_read_are_said_and_the_others_go_on(inbox: Inbox) -> None:
    class Vanishing(LocalDrop):
        def read(self, files: Any, limit: int) -> Any:
            (inbox.folder / "b.json").unlink()
            return super().read(files, limit)

    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    report = inbox.load(drop=Vanishing(str(inbox.folder), str(inbox.archive)))
    assert (report.state, report.skipped) == ("ok", 2)
    assert report.reasons["notice"]["vanished before it was read"] == 1


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, type[OSError]], Callable[[], None]]:
    """Let one function of ``os`` refuse paths that end with a word. Root is refused nothing by itself."""

    def refuse(function: str, ending: str, number: int) -> Callable[[], None]:
        real = getattr(os, function)

        def refused(path: Any, *rest: Any, **more: Any) -> Any:
            if str(path).endswith(ending):
                raise OSError(number, os.strerror(number), path)
            return real(path, *rest, **more)

        monkeypatch.setattr(os, function, refused)
        return lambda: monkeypatch.setattr(os, function, real)

    return refuse  # type: ignore[return-value]


@pytest.mark.parametrize("number", [13, 30, 28, 5])
def test_a_file_that_cannot_be_moved_counts_once_and_is_moved_later(
    inbox: Inbox, refusing: Any, number: int
) -> None:
    allow = refusing("rename", "/b.json", number)
    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    for _ in range(2):
        report = inbox.load()
        assert report.state == "partial"
        assert inbox.waiting() == ["b.json"]
        assert inbox.copies() == [1, 1, 1]
    assert report.read == 0
    allow()
    assert inbox.load().state == "ok"
    assert inbox.waiting() == []
    assert inbox.archived() == ["a.json", "b.json", "c.json"]
    assert inbox.copies() == [1, 1, 1]
    assert inbox.one("select count(*) from sync.webhook_moves") == 0


def test_a_file_that_cannot_be_read_is_said_and_the_others_go_on(inbox: Inbox, refusing: Any) -> None:
    allow = refusing("open", "/b.json", 13)
    for name in "abc":
        inbox.drop(ignored(ord(name)), f"{name}.json")
    report = inbox.load()
    assert (report.state, report.skipped) == ("partial", 2)
    assert inbox.waiting() == ["b.json"]
    allow()
    assert inbox.load().state == "ok"
    assert inbox.copies() == [1, 1, 1]


def test_a_file_that_could_be_neither_moved_nor_read_again_counts_once(inbox: Inbox, refusing: Any) -> None:
    inbox.drop(ignored(1), "b.json")
    may_move = refusing("rename", "/b.json", 13)
    inbox.load()
    may_move()
    may_read = refusing("open", "/b.json", 13)
    inbox.load()
    may_read()
    inbox.load()
    assert inbox.waiting() == []
    assert inbox.copies() == [1]


def test_two_ingests_at_a_time_take_each_event_once(inbox: Inbox) -> None:
    for number in range(60):
        inbox.drop(lines(ignored(number), ignored(number + 1)), f"{number:03}.json")
    threads = [threading.Thread(target=inbox.load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inbox.copies() == [1] * 2 + [2] * 59
    assert len(inbox.archived()) == 60
    assert {run.state for run in inbox.runs} == {"ok"}


def test_many_files_go_in_batches(inbox: Inbox) -> None:
    for number in range(1_050):
        inbox.drop(ignored(number % 1_040), f"{number:05}.json")
    report = inbox.load(read_ahead=1)
    assert (report.read, report.skipped, report.unchanged) == (1_050, 1_040, 10)
    assert inbox.copies() == [1] * 1_030 + [2] * 10
    assert inbox.waiting() == []
    assert inbox.one("select count(*) from sync.webhook_moves") == 0


def test_declared_events_are_ignored(inbox: Inbox) -> None:
    inbox.drop({"webhook_event": "moon_landing", "id": 1})
    inbox.drop(update_install(5))
    names = frozenset({"moon_landing", "update_install"})
    assert inbox.load(limits=Limits(10**6, 10**6, names)).state == "ok"
    assert inbox.states() == {"ignored": 2}


def test_an_empty_drop_is_an_ok_run_without_requests(inbox: Inbox) -> None:
    report = inbox.ingest()
    assert (report.state, report.read, report.requests) == ("ok", 0, 0)


def test_a_list_of_moves_is_kept_while_its_folder_cannot_be_listed(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox.drop(ignored(1), "closed/a.json")
    rename, scandir = os.rename, os.scandir

    def not_moved(source: Any, target: Any) -> None:
        if str(source).endswith("a.json"):
            raise PermissionError(13, "refused")
        rename(source, target)

    def not_listed(folder: Any) -> Any:
        if str(folder).endswith("/closed"):
            raise PermissionError(13, "refused")
        return scandir(folder)

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "rename", not_moved)
        inbox.load()
        refusing.setattr(os, "scandir", not_listed)
        assert inbox.load().state == "partial"
    inbox.load()
    assert inbox.copies() == [1]


def test_a_file_replaced_in_the_moment_of_the_move_is_read(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inbox.drop(ignored(1), "latest.json")
    rename = os.rename

    def replaced(source: Any, target: Any) -> None:
        if source == str(path):
            os.replace(inbox.drop(ignored(2), ".next"), path)
        rename(source, target)

    with monkeypatch.context() as racing:
        racing.setattr(os, "rename", replaced)
        assert inbox.load().state == "partial"
    inbox.load()
    assert inbox.copies() == [1, 1]
