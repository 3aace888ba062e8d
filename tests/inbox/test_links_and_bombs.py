"""Nothing in a drop leads out of it, and no small file fills the memory."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from enerflo_sync.drop.drop import Content, DropFile, NotRead
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.inbox.batch import BATCH_BYTES, Reader
from tests.inbox.conftest import LIMITS, Inbox, ignored


def test_links_are_not_followed_and_that_is_said(inbox: Inbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text(json.dumps(ignored(1)))
    (inbox.folder / "file.json").symlink_to(outside / "secret.json")
    (inbox.folder / "folder").symlink_to(outside)
    inner = inbox.folder / "real"
    inner.mkdir()
    (inner / "up.json").symlink_to("../../outside/secret.json")
    inbox.drop(ignored(2), "good.json")
    report = inbox.load()
    assert (report.read, report.state) == (1, "ok")
    assert report.reasons["notice"]["symbolic links in the drop, not followed"] == 3
    assert (outside / "secret.json").exists()
    assert inbox.archived() == ["good.json"]


@pytest.mark.parametrize("what", ["file", "folder", "pipe"])
def test_what_becomes_a_link_between_listing_and_reading_is_not_followed(tmp_path: Path, what: str) -> None:
    outside, drop = tmp_path / "outside", tmp_path / "drop"
    for folder in (outside / "a", drop / "day" / "a"):
        folder.mkdir(parents=True)
        (folder / "x.json").write_text(json.dumps({"from": str(folder)}))
    place = LocalDrop(str(drop), None)
    (file,) = place.waiting()
    if what == "folder":
        os.rename(drop / "day", drop / "was")
        (drop / "day").symlink_to(outside)
    else:
        (drop / "day" / "a" / "x.json").unlink()
        if what == "file":
            (drop / "day" / "a" / "x.json").symlink_to(outside / "a" / "x.json")
        else:
            os.mkfifo(drop / "day" / "a" / "x.json")
    (found,) = place.read([file], 1_000)
    assert isinstance(found, NotRead)
    assert not found.vanished


def test_what_becomes_a_link_between_reading_and_moving_stays(tmp_path: Path) -> None:
    outside, drop = tmp_path / "outside.json", tmp_path / "drop"
    drop.mkdir()
    outside.write_text("{}")
    (drop / "x.json").write_text("{}")
    place = LocalDrop(str(drop), None)
    (file,) = place.waiting()
    (content,) = place.read([file], 1_000)
    assert isinstance(content, Content)
    (drop / "x.json").unlink()
    (drop / "x.json").symlink_to(outside)
    assert (
        place.move(content, f"{place.archive_uri}/2026/03/02/x.json") == "it was replaced after it was read"
    )
    assert outside.exists()


def test_a_batch_counts_what_its_files_hold_unpacked(inbox: Inbox) -> None:
    event = json.dumps({**ignored(1), "x": "y" * 3_000_000})
    for number in range(12):
        inbox.drop(
            gzip.compress(event.replace('"id": 1', f'"id": {number}').encode()), f"{number:02}.json.gz"
        )
    with inbox.warehouse.connect() as connection:
        reader = Reader(connection, inbox.place, inbox.account, LIMITS, inbox.clock, {})
        sizes = [len(batch.block.data) for batch in reader.batches(list(inbox.place.waiting()))]
    assert len(sizes) >= 4
    assert max(sizes) < BATCH_BYTES + 2 * LIMITS.event


def test_a_file_of_a_million_gzip_members_costs_little(inbox: Inbox) -> None:
    inbox.drop(gzip.compress(b"") * 500_000, "members.json.gz")
    inbox.drop(ignored(1), "good.json")
    inbox.load()
    assert inbox.reasons() == {"too_many_gzip_members": 1}
    assert inbox.states() == {"ignored": 1}


def test_a_file_of_its_own_name_is_read(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "elsewhere.json").write_text("{}")
    place = LocalDrop(str(tmp_path / "drop"), None)
    (found,) = place.read([DropFile("elsewhere.json", str(tmp_path / "elsewhere.json"))], 10)
    assert isinstance(found, Content)
