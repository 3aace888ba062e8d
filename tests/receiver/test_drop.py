"""Putting files: folders as they can be, S3 through moto's server, and stores without whole objects."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from enerflo_sync.drop.writer import LocalWriter, StorageWriter, open_writer
from enerflo_sync.errors import ConfigurationError, RetriableError
from tests.receiver.conftest import ENGINE, started

NAME = "20250106T000001000002Z-00000000000000ff.json"
UNFINISHED = f".{NAME}.part"


def test_a_file_is_there_whole_and_not_for_everybody(drop: LocalWriter, tmp_path: Path) -> None:
    drop.put(NAME, b"whole")
    (file,) = (tmp_path / "drop").iterdir()
    assert (file.name, file.read_bytes()) == (NAME, b"whole")
    assert stat.S_IMODE(file.stat().st_mode) & 0o007 == 0


def test_the_bytes_are_synced_before_the_name_and_the_name_before_the_answer(
    drop: LocalWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bytes | None, bool]] = []
    sync = os.fsync

    def seen(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        content = None if path.is_dir() else path.read_bytes()
        synced.append((path.name, content, (tmp_path / "drop" / NAME).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", seen)
    drop.put(NAME, b"whole")
    assert synced == [(UNFINISHED, b"whole", False), ("drop", None, True)]


def test_a_drop_is_opened_by_path_or_file_uri_and_left_empty(tmp_path: Path) -> None:
    for uri in (str(tmp_path), f"file://{tmp_path}", f"{tmp_path}/"):
        assert isinstance(open_writer(uri), LocalWriter)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    old, young, locked = (tmp_path / UNFINISHED.replace("ff", two) for two in ("01", "02", "03"))
    foreign = tmp_path / ".upload.part"
    for path in (old, young, locked, foreign):
        path.write_bytes(b"half")
    for path in (old, locked, foreign):
        os.utime(path, (1, 1))
    with locked.open("rb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        LocalWriter(tmp_path)
        assert set(tmp_path.iterdir()) == {young, locked, foreign}
    LocalWriter(tmp_path)
    assert set(tmp_path.iterdir()) == {young, foreign}


def test_a_write_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    code = f"""
import pathlib, resource, signal
from enerflo_sync.drop.writer import LocalWriter, RetriableError
drop = LocalWriter(pathlib.Path({str(tmp_path)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
drop.put("fits.json", b"x" * 1000)
try:
    drop.put("grows.json", b"x" * 1001)
except RetriableError as error:
    print(error, error.retry_after)
"""
    environment = {**os.environ, "PYTHONPATH": str(ENGINE)}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "the drop takes no file (File too large)" in told.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["fits.json"]


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("missing", "No such file or directory"),
        ("file", "Not a directory"),
        ("nothing://bucket/hooks", "no storage is known for nothing://"),
        ("/proc", "the drop takes no file"),
    ],
)
def test_a_drop_that_cannot_be_used_is_refused_at_once(tmp_path: Path, uri: str, said: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError) as refused:
        open_writer(uri if uri.startswith("/") or ":" in uri else str(tmp_path / uri))
    assert said in str(refused.value)
    assert refused.value.next_step
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_a_user_and_password_in_a_uri_are_not_told() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_writer("nothing://me:hidden@host/hooks?token=hidden")
    assert "hidden" not in str(refused.value)
    assert "nothing://host/hooks" in str(refused.value)


class Half:
    """A store of files that appear with their first byte, and that breaks off when told to."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks = False
        self.seen: list[set[str]] = []

    def pipe_file(self, path: str, data: bytes) -> None:
        self.files[path] = data[: len(data) // 2]
        self.seen.append(set(self.files))
        if self.breaks:
            raise ConnectionError("https://store.test/?signature=hidden")
        self.files[path] = data

    def mv(self, source: str, target: str) -> None:
        self.files[target] = self.files.pop(source)

    def rm_file(self, path: str) -> None:
        del self.files[path]


def test_a_store_that_shows_half_files_gets_a_hidden_name_first(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Half()
    monkeypatch.setattr("fsspec.core.url_to_fs", lambda *_, **__: (store, "/hooks"))
    drop = StorageWriter("sftp://host/hooks")
    drop.put(NAME, b"whole")
    assert store.seen == [{f"/hooks/{UNFINISHED}"}]
    assert store.files == {f"/hooks/{NAME}": b"whole"}
    store.breaks = True
    with pytest.raises(RetriableError) as refused:
        drop.put("other.json", b"whole")
    assert store.files == {f"/hooks/{NAME}": b"whole"}
    assert "hidden" not in str(refused.value)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The variables with which moto's S3, with the bucket ``hooks``, is found."""
    s3fs = pytest.importorskip("s3fs")
    # fsspec keeps one store per set of arguments, with the address that was set when it was made.
    s3fs.S3FileSystem.clear_instance_cache()
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert requests.put(f"http://{host}:{port}/hooks", timeout=10).ok
    yield variables
    server.stop()


def objects() -> dict[str, bytes]:
    import s3fs

    store = s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    found: dict[str, bytes] = {key: store.cat_file(key) for key in store.find("hooks")}
    return {key: data for key, data in found.items() if not key.rpartition("/")[2].startswith(".")}


def test_a_post_becomes_one_object_in_s3(s3: dict[str, str], tmp_path: Path) -> None:
    running = started(tmp_path, tmp_path / "log", WEBHOOK_DROP_URI="s3://hooks/in/drop", **s3)
    try:
        answers = [running.post(json.dumps({"id": number})) for number in range(5)]
        stored: dict[str, Any] = {key: json.loads(data) for key, data in objects().items()}
        assert set(stored) == {f"hooks/in/drop/{answer.json()['stored']}" for answer in answers}
        assert sorted(envelope["body"]["id"] for envelope in stored.values()) == list(range(5))
        assert requests.get(f"{running.url}/health", timeout=10).status_code == 200
        assert not [series for series in running.metrics() if series.startswith("drop_free_bytes")]
        requests.post(f"{s3['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10)
        refused = running.post(b"{}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "30")
        assert "hooks?" not in running.log.read_text()
    finally:
        assert running.end() == 0


def test_a_bucket_that_is_not_there_is_refused_at_once(s3: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_writer("s3://nobody/drop")
    assert "the store takes no object (FileNotFoundError)" in str(refused.value)
