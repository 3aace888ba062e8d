from __future__ import annotations

import base64
import gzip
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from enerflo_sandbox.delivery import DropFormat, FileDrop, HttpPost
from enerflo_sandbox.emitter import Emitter, Fate, Mess
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import DEFAULT_START, World
from enerflo_sync.errors import ConfigurationError, RetriableError

HEADERS = {"content-type": "application/json"}


def body(n: int) -> bytes:
    return json.dumps({"webhook_event": "update_install", "id": n, "note": "Grüße\n☀"}).encode()


def bodies_in(data: bytes, name: str) -> list[Any]:
    """All bodies of a file, by the format that it shows."""
    if name.endswith(".gz"):
        data, name = gzip.decompress(data), name.removesuffix(".gz")
    lines = data.splitlines() if name.endswith(".jsonl") else [data]
    values = [json.loads(line) for line in lines]
    values = [inner for value in values for inner in (value if isinstance(value, list) else [value])]
    return [_unwrapped(value) for value in values]


def _unwrapped(value: dict[str, Any]) -> Any:
    if "received_at" in value:
        return value["body"]
    if "isBase64Encoded" in value:
        text = value["body"]
        return json.loads(base64.b64decode(text) if value["isBase64Encoded"] else text)
    return value


@pytest.mark.parametrize("formats", list(DropFormat))
def test_every_format_holds_every_body(tmp_path: Path, formats: DropFormat) -> None:
    drop = FileDrop(
        tmp_path / "new" / "drop",
        clock=VirtualClock(DEFAULT_START),
        formats=formats,
        rng=random.Random(5),
    )
    places = [drop.send(body(n), HEADERS) for n in range(100)]
    assert drop.flush() == frozenset()
    files = sorted((tmp_path / "new" / "drop").iterdir())
    assert {path.name for path in files} == set(places)
    found = [one["id"] for path in files for one in bodies_in(path.read_bytes(), path.name)]
    assert sorted(found) == list(range(100))
    packed = formats in (DropFormat.ARRAY, DropFormat.LINES, DropFormat.MIXED)
    assert (len(files) < 100) == packed


def test_mixed_uses_every_format_and_one_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        clock = VirtualClock(DEFAULT_START)
        drop = FileDrop(tmp_path / name, clock=clock, formats=DropFormat.MIXED, rng=random.Random(5))
        for n in range(300):
            drop.send(body(n), HEADERS)
        drop.flush()
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("a", "b")
    )
    assert first == second
    endings = Counter(name.partition(".")[2] for name in first)
    assert set(endings) == {"json", "jsonl", "json.gz", "jsonl.gz"}
    plain = b"".join(data for name, data in first.items() if not name.endswith(".gz"))
    assert b'"received_at":"2025-01-06T00:00:00.000000+00:00"' in plain
    assert b'"isBase64Encoded":true' in plain
    assert b'"isBase64Encoded":false' in plain


def test_names_sort_by_time_and_a_taken_one_is_passed_over(tmp_path: Path) -> None:
    clock = VirtualClock(DEFAULT_START)
    names = []
    for _ in range(2):
        drop = FileDrop(tmp_path, clock=clock)
        names += [drop.send(body(n), HEADERS) for n in range(3)]
    assert names[0] == "20250106T000000-update_install-000001.json"
    assert names == sorted(names)
    assert len({*names}) == len(list(tmp_path.iterdir())) == 6


def test_a_name_holds_nothing_of_a_strange_event(tmp_path: Path) -> None:
    drop = FileDrop(tmp_path, clock=VirtualClock(DEFAULT_START))
    strange = b'{"event": "../../etc/pass wd"}'
    drop.send(strange, HEADERS)
    drop.send(b"no json at all", HEADERS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20250106T000000-....etcpasswd-000001.json",
        "20250106T000000-unknown-000002.json",
    ]


def test_a_file_is_never_seen_half_written(tmp_path: Path) -> None:
    drop = FileDrop(tmp_path)
    large = json.dumps({"event": "x", "filling": "y" * 3_000_000}).encode()
    ended, torn, seen = threading.Event(), [], 0

    def look() -> None:
        nonlocal seen
        while not ended.is_set():
            for path in tmp_path.glob("[!.]*"):
                seen += 1
                if path.stat().st_size != len(large):
                    torn.append(path.name)

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(40):
        drop.send(large, HEADERS)
    ended.set()
    reader.join()
    assert torn == []
    assert seen > 0
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.parametrize("formats", [DropFormat.RAW, DropFormat.LINES])
def test_a_folder_that_vanishes_fails_what_was_to_go_there(tmp_path: Path, formats: DropFormat) -> None:
    world = World(30, 7)
    drop = FileDrop(tmp_path / "drop", clock=world.clock, formats=formats)
    emitter = Emitter(world, 1, Mess(), drop, noise=0)
    emitter.watch()
    world.set_status(world.install_id(3), 4)
    (tmp_path / "drop").rmdir()
    (one,) = emitter.deliver_due()
    assert (one.fate, one.sent_at) == (Fate.FAILED, None)
    (tmp_path / "drop").mkdir()
    world.set_status(world.install_id(3), 1301)
    (two,) = emitter.deliver_due()
    assert two.fate is Fate.SENT
    assert (tmp_path / "drop" / two.place).exists()


def test_any_store_of_fsspec_takes_files() -> None:
    store = fsspec.filesystem("memory")
    drop = FileDrop("memory://enerflo-sandbox-drop", clock=VirtualClock(DEFAULT_START))
    try:
        name = drop.send(body(1), HEADERS)
        assert store.cat_file(f"/enerflo-sandbox-drop/{name}") == body(1)
    finally:
        store.rm("/enerflo-sandbox-drop", recursive=True)


@pytest.mark.parametrize("uri", ["nosuchstore://bucket/x", "/proc/none/drop"])
def test_a_place_that_cannot_be_opened_is_a_configuration_error(uri: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        FileDrop(uri)


@contextmanager
def receiver(status: int) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    taken: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["content-length"]))
            taken.append((self.path, {k.lower(): v for k, v in self.headers.items()}, data))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.send_header("location", "/elsewhere")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hooks/default/hidden-path", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_post_carries_the_body_and_the_secret_header() -> None:
    with receiver(200) as (url, taken):
        assert HttpPost(url, {"x-webhook-secret": "s3"}).send(body(1), HEADERS) == "200"
    ((path, headers, data),) = taken
    assert (path, data) == ("/hooks/default/hidden-path", body(1))
    assert (headers["x-webhook-secret"], headers["content-type"]) == ("s3", "application/json")


@pytest.mark.parametrize("status", [302, 401, 503])
def test_an_answer_that_is_no_success_is_an_error_without_the_path(status: int) -> None:
    with receiver(status) as (url, taken), pytest.raises(RetriableError) as caught:
        HttpPost(url).send(body(1), HEADERS)
    assert str(status) in str(caught.value)
    assert "hidden-path" not in str(caught.value)
    assert len(taken) == 1


def test_a_receiver_that_is_not_there_is_an_error_without_the_path() -> None:
    with pytest.raises(RetriableError) as caught:
        HttpPost("http://127.0.0.1:1/hidden-path").send(body(1), HEADERS)
    assert "127.0.0.1:1" in str(caught.value)
    assert "hidden-path" not in str(caught.value)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    moto_server = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        s3fs.S3FileSystem().mkdir("sandbox-drop")
        yield "s3://sandbox-drop/hooks"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


def test_a_bucket_takes_files(bucket: str) -> None:
    drop = FileDrop(bucket, clock=VirtualClock(DEFAULT_START), formats=DropFormat.ENVELOPE)
    names = [drop.send(body(n), HEADERS) for n in range(3)]
    store, root = fsspec.core.url_to_fs(bucket)
    store.invalidate_cache()
    assert sorted(path.rpartition("/")[2] for path in store.ls(root)) == names
    assert bodies_in(store.cat_file(f"{root}/{names[2]}"), names[2])[0]["id"] == 2
