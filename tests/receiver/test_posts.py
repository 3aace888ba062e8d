"""What a post gets, over a real socket."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.receiver.conftest import SECRET, Running, Start

SAMPLES = [
    {"webhook_event": "update_install", "id": 12345, "status": {"id": 4, "name": "On Hold"}},
    {"event": "customer.created", "payload": {"customer": {"firstName": "Ana", "lastName": "Müller"}}},
]


@pytest.mark.parametrize("body", SAMPLES, ids=["v1", "v2"])
def test_a_post_becomes_one_file_that_says_when_and_whose(shared: Running, body: dict[str, Any]) -> None:
    before, count = datetime.now(UTC), len(shared.files())
    answer = shared.post(
        json.dumps(body), x_request_id="r-1", x_enerflo_event="e", cookie="c=1", authorization="Bearer t"
    )
    envelope = shared.envelope(answer)
    assert envelope["body"] == body
    assert envelope["source"] == "receiver/default"
    assert before <= datetime.fromisoformat(envelope["received_at"]) <= datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", envelope["received_at"])
    assert set(envelope["headers"]) == {"content-type", "user-agent", "x-request-id", "x-enerflo-event"}
    assert re.fullmatch(r"\d{8}T\d{12}Z-[0-9a-f]{16}\.json", answer.json()["stored"])
    assert len(shared.files()) == count + 1
    assert shared.hidden() == []


def test_names_sort_by_arrival(shared: Running) -> None:
    names = [shared.post(b'{"n": 1}').json()["stored"] for _ in range(5)]
    assert names == sorted(names)


@pytest.mark.parametrize(
    "body",
    [
        b'{"b": 1, "a": 2, "b": 3}',
        b'{"id": 123456789012345678901234567890, "amount": 1.10, "e": 1E+2}',
        b'{\n  "note": "<script>\\u0041\\/"\n}',
        b"[1, 2]",
        b"null",
    ],
    ids=["repeated keys and their order", "digits", "escapes and lines", "array", "null"],
)
def test_json_is_kept_byte_for_byte(shared: Running, body: bytes) -> None:
    answer = shared.post(body)
    text = (shared.drop / answer.json()["stored"]).read_bytes()
    assert text.endswith(b'"body":' + body + b"}")
    json.loads(text)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"cut": ', '{"cut": '),
        (b"plain words", "plain words"),
        (b"<html>\x00</html>", "<html>\x00</html>"),
        (b"[" * 990, "[" * 990),
        (b" ", " "),
        ('\ufeff{"a":1}'.encode(), {"a": 1}),
    ],
    ids=["cut off", "text", "html with NUL", "nesting", "blank", "byte order mark"],
)
def test_what_is_no_json_is_kept_as_text(shared: Running, body: bytes, kept: Any) -> None:
    assert shared.envelope(shared.post(body))["body"] == kept


def test_what_is_no_utf8_is_kept_as_base64(shared: Running) -> None:
    envelope = shared.envelope(shared.post(b'{"name": "\xe9"}'))
    assert envelope["body_base64"] == "eyJuYW1lIjogIukifQ=="
    assert "body" not in envelope


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json", "text/plain"],
)
def test_content_types_that_are_taken(shared: Running, kind: str) -> None:
    assert shared.post(b"{}", content_type=kind).status_code == 200


def test_a_post_without_content_type_is_taken(shared: Running) -> None:
    request = requests.Request("POST", shared.hook, data=iter([b"{}"])).prepare()
    assert "content-type" not in request.headers
    with requests.Session() as session:
        assert session.send(request, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "outcome"),
    [
        ({"content_type": "application/x-www-form-urlencoded"}, 415, "unsupported"),
        ({"content_type": "multipart/form-data; boundary=x"}, 415, "unsupported"),
        ({"content_type": "text/html"}, 415, "unsupported"),
        ({"content_encoding": "br"}, 415, "unsupported"),
        ({"content_encoding": "gzip, gzip"}, 415, "unsupported"),
    ],
)
def test_other_kinds_are_refused(shared: Running, headers: dict[str, str], status: int, outcome: str) -> None:
    files, count = shared.files(), shared.count(outcome)
    assert shared.post(b"{}", **headers).status_code == status
    assert shared.count(outcome) == count + 1
    assert shared.files() == files


def test_an_empty_body_is_refused(shared: Running) -> None:
    files = shared.files()
    assert shared.post(b"").status_code == 400
    assert shared.post(gzip.compress(b""), content_encoding="gzip").status_code == 400
    assert shared.files() == files


def chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_the_limit_holds_however_the_body_comes(shared: Running) -> None:
    files, count = shared.files(), shared.count("too_large")
    exact, more = b'"' + b"x" * 998 + b'"', b'"' + b"x" * 999 + b'"'
    for body in (exact, chunks(exact[:500], exact[500:])):
        assert shared.post(body).status_code == 200
    assert shared.post(gzip.compress(exact), content_encoding="gzip").status_code == 200
    for body in (more, chunks(more[:500], more[500:])):
        assert shared.post(body).status_code == 413
    assert shared.post(gzip.compress(more), content_encoding="gzip").status_code == 413
    assert len(shared.files()) == len(files) + 3
    assert shared.count("too_large") == count + 3


def test_a_large_post_reads_its_refusal_and_the_connection_stays_usable(shared: Running) -> None:
    with requests.Session() as session:
        for _ in range(2):
            large = session.post(shared.hook, data=b"x" * 3_000_000, headers={"content-type": "text/plain"})
            assert large.status_code == 413
        assert session.post(shared.hook, json={}).status_code == 200


def test_gzip_is_unpacked_and_damaged_gzip_is_kept_as_sent(shared: Running) -> None:
    packed = gzip.compress(b'{"a": ') + gzip.compress(b"1}")
    assert shared.envelope(shared.post(packed, content_encoding="gzip"))["body"] == {"a": 1}
    for damaged in (packed[:-3], b"no gzip"):
        envelope = shared.envelope(shared.post(damaged, content_encoding="gzip"))
        assert "body_base64" in envelope
        assert envelope["headers"]["content-encoding"] == "gzip"


def test_a_gzip_bomb_is_refused_and_not_unpacked(start: Start) -> None:
    running = start()
    bomb = gzip.compress(b"0" * 200_000_000)
    assert len(bomb) < 1_000_000
    peak = memory_peak(running)
    for _ in range(3):
        assert running.post(bomb, content_encoding="gzip").status_code == 413
    assert memory_peak(running) - peak < 60_000_000
    assert running.files() == []


def memory_peak(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (f"/hooks/default/{SECRET[:-1]}", {}),
        (f"/hooks/default/{SECRET}0", {}),
        ("/hooks/default/%C3%A9", {}),
        (f"/hooks/default/{SECRET.upper()}", {}),
        (f"/hooks/other/{SECRET}", {}),
        (f"/hooks/..%2fdefault/{SECRET}", {}),
        (f"/hooks//{SECRET}", {}),
        (f"/hooks/default/{SECRET}/", {}),
        ("/hooks/default", {}),
        ("/hooks/default", {"x_webhook_secret": "wrong"}),
        ("/hooks/other", {"x_webhook_secret": SECRET}),
        ("/hooks/default", {"authorization": SECRET}),
        ("/nothing", {}),
    ],
)
def test_a_wrong_account_a_wrong_secret_and_a_wrong_path_get_one_answer(
    shared: Running, path: str, headers: dict[str, str]
) -> None:
    files = shared.files()
    answer = shared.post(b'{"a": 1}', path=path, **headers)
    assert (answer.status_code, answer.text) == (404, '{"detail":"Not Found"}')
    assert "www-authenticate" not in answer.headers
    assert shared.files() == files


def test_wrong_accounts_leave_no_names_in_the_metrics(shared: Running) -> None:
    count = shared.count("unknown_hook", "")
    shared.post(path=f"/hooks/intruder/{SECRET}")
    assert shared.count("unknown_hook", "") == count + 1
    assert not [series for series in shared.metrics() if "intruder" in series]


def test_the_secret_may_come_in_a_header(shared: Running) -> None:
    answer = shared.post(b'{"a": 1}', path="/hooks/default", x_webhook_secret=SECRET)
    assert SECRET not in json.dumps(shared.envelope(answer))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("secret", [SECRET, "wrong"])
def test_only_post_is_a_method_of_a_hook(shared: Running, method: str, secret: str) -> None:
    answer = requests.request(method, f"{shared.url}/hooks/default/{secret}", timeout=10)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_sender_that_hangs_up_leaves_nothing(shared: Running) -> None:
    files, count = shared.files(), shared.count("aborted")
    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /hooks/default/{SECRET} HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n"
        connection.sendall(head.encode() + b"x" * 100)
    for _ in range(100):
        if shared.count("aborted") > count:
            break
    assert shared.count("aborted") == count + 1
    assert shared.files() == files


def test_two_hundred_posts_at_once_are_two_hundred_files(start: Start) -> None:
    running = start()

    def send(number: int) -> str:
        return str(running.post(json.dumps({"id": number, "pad": "x" * 2000})).json()["stored"])

    with ThreadPoolExecutor(50) as senders:
        names = list(senders.map(send, range(200)))
    assert [path.name for path in running.files()] == sorted(names)
    kept = [json.loads(path.read_bytes())["body"]["id"] for path in running.files()]
    assert sorted(kept) == list(range(200))
    assert running.hidden() == []
    assert running.count("stored") == 200
