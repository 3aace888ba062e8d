"""Where the drop and its archive are, for every way of writing their addresses."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from enerflo_sync.drop.drop import Content, NotRead, is_temporary, moment
from enerflo_sync.drop.local import LocalDrop
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.errors import ConfigurationError

TODAY = date(2026, 3, 5)


def read(drop: object, limit: int = 1_000) -> list[Content | NotRead]:
    assert isinstance(drop, LocalDrop)
    return list(drop.read(list(drop.waiting()), limit))


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "local://{}", "file://{}/"])
def test_a_folder_in_every_spelling(tmp_path: Path, form: str) -> None:
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.json").write_bytes(b"{}")
    drop = open_drop(form.format(tmp_path / "drop"))
    (content,) = read(drop)
    assert isinstance(content, Content)
    assert drop.move(content, drop.archive_name(content, TODAY)) is None
    (moved,) = (tmp_path / "archive").rglob("a.json")
    assert moved.read_bytes() == b"{}"


def test_a_relative_folder_has_its_archive_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in ("./drop", "drop"):
        assert open_drop(uri).archive_uri == str(tmp_path / "archive")


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/"])
def test_the_archive_of_a_whole_bucket_is_not_somebody_elses_bucket(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="whole bucket"):
        open_drop(uri)
    assert open_drop(uri, "s3://other/archive").archive_uri == "s3://other/archive"


@pytest.mark.parametrize(
    ("uri", "archive"),
    [
        ("/data/drop", "/data/drop"),
        ("/data/drop", "/data/drop/archive"),
        ("/data/drop/", "/data/drop/a/b"),
        ("s3://bucket/drop", "s3://bucket/drop/archive"),
        ("s3://bucket", "s3://bucket/archive"),
        ("/", None),
    ],
)
def test_an_archive_inside_the_drop_is_refused(uri: str, archive: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_drop(uri, archive)
    assert caught.value.where == "webhook_archive_uri"


@pytest.mark.parametrize(
    ("uri", "archive"),
    [
        ("file:///data/drop", "/data/drop/archive"),
        ("/data/drop", "file:///data/drop/archive"),
        ("/data/drop", "/data/other/../drop/archive"),
        ("/data//drop", "/data/drop/archive"),
        ("drop", f"{os.getcwd()}/drop/archive"),
    ],
)
def test_an_archive_inside_the_drop_is_refused_in_another_spelling(uri: str, archive: str) -> None:
    with pytest.raises(ConfigurationError):
        open_drop(uri, archive)


@pytest.mark.parametrize(
    ("uri", "archive"), [("/data/drop", "s3://bucket/archive"), ("s3://bucket/drop", "/data/archive")]
)
def test_an_archive_on_another_kind_of_storage_is_refused(uri: str, archive: str) -> None:
    with pytest.raises(ConfigurationError):
        open_drop(uri, archive)


@pytest.mark.parametrize("uri", ["nonsense://x/y", "gopher://x"])
def test_an_unknown_storage_is_one_clear_error(uri: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_drop(uri)
    assert caught.value.where == "webhook_drop_uri"


def test_a_file_as_drop_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "drop").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="is a file"):
        list(open_drop(str(tmp_path / "drop")).waiting())


@pytest.mark.parametrize("name", ["a.json", "part-0000.json", "x_y.json.gz", "a~b", "temp", "a.b.c"])
def test_finished_names(name: str) -> None:
    assert not is_temporary(name)


@pytest.mark.parametrize(
    "name", [".a", "_a", "~a", "#a#", "a~", "a.tmp", "a.json.part", "x/.b/c", "a.tmp.123", "A.TMP"]
)
def test_unfinished_names(name: str) -> None:
    assert is_temporary(name)


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    (folder / "empty").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "a").write_bytes(b"x")
    assert [file.name for file in open_drop(str(folder)).waiting()] == ["a"]


def test_a_file_that_grows_between_read_and_move_stays(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    (folder / "a").write_bytes(b"half")
    drop = open_drop(str(folder))
    (content,) = read(drop)
    assert isinstance(content, Content)
    with (folder / "a").open("ab") as file:
        file.write(b", and the rest")
    assert drop.move(content, drop.archive_name(content, TODAY)) is not None
    assert (folder / "a").read_bytes() == b"half, and the rest"
    assert not (tmp_path / "archive").exists()


def test_a_file_over_the_limit_is_read_to_its_beginning(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    with (folder / "a").open("wb") as file:
        file.truncate(10_000_000_000)
    (content,) = read(open_drop(str(folder)))
    assert isinstance(content, Content)
    assert content.too_large
    assert len(content.data) <= 65_536


@pytest.mark.parametrize(
    ("seconds", "day"), [(0, date(1970, 1, 1)), (4e11, date(9999, 12, 31)), (-4e11, date(1, 1, 2))]
)
def test_a_date_beyond_the_calendar_is_its_end(seconds: float, day: date) -> None:
    assert moment(seconds).date() == day


def test_a_date_beyond_the_calendar_holds_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "drop"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_bytes(b"{}")
    os.utime(folder / "a", (400_000_000_000, 400_000_000_000))
    if (folder / "a").stat().st_mtime < 300_000_000_000:
        pytest.skip("this file system keeps no such date")
    found = read(open_drop(str(folder)))
    assert [part.file.name for part in found] == ["a", "b"]


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_drop("sftp://user:s3cret@host/drop")
    assert "s3cret" not in str(refused.value)
