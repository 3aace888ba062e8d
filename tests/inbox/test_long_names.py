"""Files whose names are as long as a file system allows are archived, and erased there, like any other."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from enerflo_sync.drop.drop import Content
from enerflo_sync.drop.open_drop import open_drop
from tests.inbox.conftest import Inbox, ignored

LONG = "n" * 250 + ".json"


def test_a_file_of_the_longest_name_is_archived_on_another_file_system(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def refused(source: str, target: str) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refused)
    inbox.drop(json.dumps(ignored(1)).encode(), LONG)
    report = inbox.load()
    assert (report.state, report.reasons.get("incomplete", {})) == ("ok", {})
    assert [path.name for path in inbox.archive.rglob("*") if path.is_file()] == [LONG]


def test_a_file_of_the_longest_name_is_replaced_in_the_archive(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / LONG).write_bytes(b"somebody's name")
    drop = open_drop(str(tmp_path / "drop"))
    (found,) = drop.read(list(drop.waiting()), 1_000)
    assert isinstance(found, Content)
    uri = f"{drop.archive_uri}/{LONG}"
    assert drop.move(found, uri) is None
    drop.replace(uri, b"{}")
    assert Path(uri).read_bytes() == b"{}"
    assert [path.name for path in Path(drop.archive_uri).iterdir()] == [LONG]


def test_a_second_file_of_the_longest_name_is_archived_beside_the_first(inbox: Inbox) -> None:
    for number in (1, 2):
        inbox.drop(json.dumps(ignored(number)).encode(), LONG)
        report = inbox.load()
        assert (report.state, report.reasons.get("incomplete", {})) == ("ok", {})
    assert list(inbox.folder.iterdir()) == []
    assert len([path for path in inbox.archive.rglob("*") if path.is_file()]) == 2
