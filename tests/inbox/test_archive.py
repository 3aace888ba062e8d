"""The archive: what is moved there, under which name, and for how long it stays."""

from __future__ import annotations

import json
import os
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.clock import DatabaseClock
from enerflo_sync.drop.drop import Content
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.inbox.batch import Limits
from tests.inbox.conftest import Inbox, ignored, update_install

TODAY = date(2026, 3, 5)


def test_one_name_twice_with_one_content_keeps_both_files(inbox: Inbox) -> None:
    for _ in range(2):
        inbox.drop(ignored(1), "same.json")
        inbox.load()
    assert inbox.copies() == [2]
    assert len(inbox.archived()) == 2


def test_nothing_in_the_archive_is_overwritten_by_other_content(inbox: Inbox) -> None:
    contents = [json.dumps(ignored(number)).encode() for number in range(3)]
    for data in contents:
        inbox.drop(data, "same.json")
        inbox.load()
    kept = sorted(path.read_bytes() for path in inbox.archive.rglob("*.json"))
    assert kept == sorted(contents)
    uris = {Path(uri).read_bytes() for (uri,) in inbox.rows("select source_uri from sync.webhook_events")}
    assert uris == set(contents)


def test_large_files_of_one_name_and_one_beginning_are_all_kept(inbox: Inbox) -> None:
    contents = [b"x" * 70_000 + bytes([65 + at]) for at in range(3)]
    for data in contents:
        inbox.drop(data, "same.json")
        inbox.load(limits=Limits(69_000, 69_000))
    kept = sorted(path.read_bytes()[-1:] for path in inbox.archive.rglob("*.json"))
    assert kept == [b"A", b"B", b"C"]
    assert inbox.reasons() == {"file_too_large": 3}


def test_a_place_taken_since_the_crash_is_not_overwritten(inbox: Inbox) -> None:
    """Killed between commit and move; meanwhile another account archives a file under the same name."""

    class Killed(LocalDrop):
        def move(self, content: Content, archived_uri: str) -> str | None:
            raise KeyboardInterrupt

    path = inbox.drop(ignored(1), "same.json")
    with pytest.raises(KeyboardInterrupt):
        inbox.load(drop=Killed(str(inbox.folder), str(inbox.archive)))
    other = inbox.archive / "2026/03/02/same.json"
    other.parent.mkdir(parents=True)
    other.write_bytes(b'{"of":"somebody else"}')
    assert path.exists()
    inbox.load()
    assert b'{"of":"somebody else"}' in [one.read_bytes() for one in inbox.archive.rglob("*.json")]
    assert len(inbox.archived()) == 2


def test_two_accounts_that_share_an_archive_keep_all_their_files(inbox: Inbox) -> None:
    """Both read before either moves: the names were free when they were chosen."""
    folders = [inbox.folder.parent / name for name in ("one", "two")]
    drops = []
    for folder in folders:
        folder.mkdir()
        (folder / "same.json").write_bytes(str(folder).encode())
        os.utime(folder / "same.json", (1_772_000_000,) * 2)
        drops.append(open_drop(str(folder)))
    assert drops[0].archive_uri == drops[1].archive_uri
    found = []
    for drop in drops:
        (content,) = drop.read(list(drop.waiting()), 1_000)
        assert isinstance(content, Content)
        found.append((drop, content, drop.archive_name(content, TODAY)))
    for drop, content, name in found:
        drop.move(content, name)
    left = [path.read_bytes() for path in inbox.folder.parent.rglob("*.json")]
    assert sorted(left) == sorted(str(folder).encode() for folder in folders)


def test_no_permission_for_the_archive_loses_nothing(inbox: Inbox) -> None:
    inbox.archive.write_bytes(b"a file where the folder should be")
    inbox.drop(ignored(1), "a.json")
    assert inbox.load().state == "partial"
    assert inbox.states() == {"ignored": 1}
    inbox.archive.unlink()
    assert inbox.load().state == "ok"
    assert inbox.copies() == [1]
    assert inbox.archived() == ["a.json"]


def test_archived_files_are_kept_for_the_retention_and_then_deleted(inbox: Inbox) -> None:
    inbox.drop(ignored(1), "old.json")
    inbox.load()
    inbox.clock.advance(timedelta(days=20).total_seconds())
    inbox.drop(ignored(2), "new.json")
    inbox.load(keep_archive=timedelta(days=30))
    assert inbox.archived() == ["new.json", "old.json"]
    inbox.clock.advance(timedelta(days=12).total_seconds())
    report = inbox.load(keep_archive=timedelta(days=30))
    assert inbox.archived() == ["new.json"]
    assert report.reasons["notice"] == {"archived, deleted by age": 1}
    assert inbox.states() == {"ignored": 2}


def test_no_file_is_deleted_by_a_clock_that_jumped(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox.drop(ignored(1), "old.json")
    inbox.load()
    right = inbox.clock
    ahead = DatabaseClock(right, lambda: right.now() + timedelta(days=366))
    with monkeypatch.context() as patch:
        patch.setattr(ahead, "advance", right.advance, raising=False)
        patch.setattr(Inbox, "clock", ahead)
        report = inbox.load(keep_archive=timedelta(days=30))
    assert inbox.archived() == ["old.json"]
    assert report.state == "partial"
    assert "old archived ones are kept: the clocks are days apart" in str(report.reasons)


def test_a_file_of_an_old_date_is_kept_for_the_retention_too(inbox: Inbox) -> None:
    """A folder of last year's payloads, copied into the drop with its dates."""
    path = inbox.drop(b"what nobody can read", "old.json")
    long_ago = (inbox.clock.now() - timedelta(days=400)).timestamp()
    os.utime(path, (long_ago, long_ago))
    inbox.load(keep_archive=timedelta(days=365))
    assert inbox.archived() == ["old.json"]


def test_what_is_not_ours_in_the_archive_is_not_deleted(inbox: Inbox) -> None:
    for name in ("readme.txt", "2019/summary.txt", "2019/13/40/x", "old/01/01/x"):
        path = inbox.archive / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    inbox.load(keep_archive=timedelta(days=1))
    assert sum(path.is_file() for path in inbox.archive.rglob("*")) == 4


def test_a_name_that_is_a_folder_in_the_archive_is_archived(inbox: Inbox) -> None:
    inbox.drop(ignored(1), "b")
    inbox.load()
    (inbox.folder / "b").mkdir()
    inbox.drop(ignored(2), "b/c.json")
    assert inbox.load().state == "ok"
    assert inbox.waiting() == []


def test_an_archive_that_cannot_be_cleared_is_said_and_holds_nothing(polled: Inbox) -> None:
    (polled.archive / "2020/01").mkdir(parents=True)
    (polled.archive / "2020/01/02").write_text("not a folder")
    polled.drop(update_install(polled.world.install_id(0)))
    report = polled.ingest(keep_archive=timedelta(days=3))
    assert report.state == "partial"
    assert polled.states() == {"applied": 1}


def test_a_file_that_an_open_item_was_read_from_outlives_the_bound(polled: Inbox) -> None:
    polled.drop(b'{"webhook_event": "update_install"', "broken.json")
    polled.drop(ignored(1), "fine.json")
    polled.load()
    polled.later(60 * 24 * 30)
    report = polled.ingest(keep_archive=timedelta(days=3))
    assert report.reasons["notice"] == {"archived, deleted by age": 1}
    assert polled.archived() == ["broken.json"]
    # Its day's folder goes with the last file of it.
    with polled.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.quarantine set state = 'dismissed'"))
    polled.ingest(keep_archive=timedelta(days=3))
    assert list(polled.archive.iterdir()) == []
