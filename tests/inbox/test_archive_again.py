"""The archive read once more: files whose events the warehouse has lost, on a folder and on other storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import fsspec
import pytest

from enerflo_sync.drop.drop import Drop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.inbox.archive_again import archive_again
from tests.inbox.conftest import Inbox, ignored

DAY = date(2026, 1, 1)


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, inbox: Inbox) -> Iterator[Drop]:
    if request.param == "folder":
        yield open_drop(str(inbox.folder))
        return
    files = fsspec.filesystem("memory")
    files.mkdirs("/again/drop", exist_ok=True)
    yield open_drop("memory://again/drop")
    files.rm("/again", recursive=True)


def put(inbox: Inbox, place: Drop, name: str, content: Any) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    if "://" in place.uri:
        with fsspec.open(f"{place.uri}/{name}", "wb") as file:
            file.write(data)
    else:
        inbox.drop(data, name)


def again(inbox: Inbox, place: Drop, since: date = DAY) -> Any:
    with inbox.warehouse.connect() as connection:
        archive = archive_again(connection, place, inbox.account, since)
    return inbox.load(drop=archive)


def test_lost_events_come_back_once_and_known_files_are_left_alone(inbox: Inbox, place: Drop) -> None:
    put(inbox, place, "known #1.json", ignored(1))
    put(inbox, place, "lost.jsonl", "\n".join(json.dumps(ignored(n)) for n in (2, 3)).encode())
    put(inbox, place, "copy.json", ignored(1))
    put(inbox, place, "broken.json", b"{")
    inbox.load(drop=place)
    stored = inbox.rows("select event_id, source_uri, copies from sync.webhook_events order by 1")
    trouble = inbox.rows("select evidence_uri, count from sync.quarantine")
    assert (len(stored), len(trouble)) == (3, 1)
    with inbox.warehouse.begin() as connection:
        connection.exec_driver_sql("delete from sync.webhook_events where source_uri like '%%lost.jsonl%%'")
    report = again(inbox, place)
    assert (report.applied + report.skipped, report.quarantined) == (2, 0)
    for _ in range(2):
        assert inbox.rows("select event_id, source_uri, copies from sync.webhook_events order by 1") == stored
        assert inbox.rows("select evidence_uri, count from sync.quarantine") == trouble
        again(inbox, place)
    assert inbox.rows("select count(*) from sync.webhook_moves") == [(0,)]


def test_days_before_are_not_read(inbox: Inbox, place: Drop) -> None:
    put(inbox, place, "one.json", ignored(1))
    inbox.load(drop=place)
    with inbox.warehouse.begin() as connection:
        connection.exec_driver_sql("delete from sync.webhook_events")
    assert again(inbox, place, inbox.clock.now().date().replace(year=2027)).read == 0
    assert again(inbox, place, inbox.clock.now().date()).read == 1


def test_what_lies_beside_the_days_is_left_alone(inbox: Inbox, place: Drop) -> None:
    put(inbox, place, "one.json", ignored(1))
    inbox.load(drop=place)
    beside = open_drop(place.archive_uri, place.uri)
    put(inbox, beside, "zzz.json", ignored(2)) if "://" in place.uri else (
        inbox.archive / "zzz.json"
    ).write_text(json.dumps(ignored(2)))
    assert again(inbox, place).read == 0
