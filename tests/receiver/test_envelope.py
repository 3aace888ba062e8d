"""What lies in a file, for any body; and that the inbox reads it."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sync.inbox.unpack import Document, Problem, unpack
from enerflo_sync.receiver.envelope import file_name, kept_headers, sealed, sealed_as_sent

AT = datetime(2025, 1, 6, 0, 0, 1, 2, tzinfo=UTC)
EVENT = b'{"webhook_event": "update_install", "id": 7, "amount": 1.10}'


def parts(body: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(sealed(AT, "default", {}, body))
    return found


def recovered(body: bytes) -> bytes:
    """The body out of the file: the text after ``"body":`` where it was JSON."""
    data = sealed(AT, "default", {}, body)
    envelope = json.loads(data)
    if "body_base64" in envelope:
        return base64.b64decode(envelope["body_base64"])
    raw = data.partition(b'"body":')[2].removesuffix(b"}")
    return raw if raw == body.strip(b" \t\r\n") else str(envelope["body"]).encode()


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_come_back_out_of_a_valid_file(body: bytes) -> None:
    assert recovered(body) in (body, body.strip(b" \t\r\n"))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values, st.sampled_from([None, 2]), st.booleans())
def test_any_json_stays_as_it_was_written(value: object, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    data = sealed(AT, "default", {}, body)
    assert data.endswith(b'"body":' + body + b"}")
    assert json.loads(data)["body"] == value


def test_a_lone_surrogate_does_not_spoil_the_file() -> None:
    assert parts(b'{"a": "\\ud800"}')["body"] in ({"a": "\ud800"}, '{"a": "\\ud800"}')


def test_the_whole_file() -> None:
    assert sealed(AT, "east", {"user-agent": "a"}, b'{"b":1}') == (
        b'{"received_at":"2025-01-06T00:00:01.000002Z","source":"receiver/east","headers":{"user-agent":"a"},'
        b'"body":{"b":1}}'
    )


def test_a_name_is_utc_and_the_random_part_keeps_two_of_one_moment_apart() -> None:
    rng = random.Random(1)
    here = AT.astimezone(timezone(timedelta(hours=-7)))
    first, second = file_name(here, rng), file_name(here, rng)
    assert first.startswith("20250106T000001000002Z-")
    assert len({first, second, file_name(AT + timedelta(microseconds=1), rng)}) == 3
    assert file_name(AT + timedelta(microseconds=1), rng) > max(first, second)


def test_headers_that_say_who_or_with_what_right_are_left_out() -> None:
    given_headers = {
        "content-type": "application/json",
        "user-agent": "x" * 2000,
        "authorization": "Bearer t",
        "cookie": "c",
        "x-webhook-secret": "s",
        "x-forwarded-for": "192.0.2.1",
        "x-request-id": "s",
    }
    kept = kept_headers(given_headers, without=frozenset({"x-request-id"}))
    assert kept == {"content-type": "application/json", "user-agent": "x" * 1000}


@pytest.mark.parametrize(
    "body",
    [EVENT, EVENT.replace(b", ", b",\n  "), b"[" + EVENT + b"]", json.dumps(EVENT.decode()).encode()],
    ids=["plain", "lines", "array", "in a string"],
)
def test_the_inbox_reads_what_the_receiver_writes(body: bytes) -> None:
    (document,) = unpack(sealed(AT, "default", {}, body), most_file=10_000, most_event=10_000)
    assert isinstance(document, Document)
    assert document.body == json.loads(EVENT)
    assert document.received_at == AT


@pytest.mark.parametrize("body", [b'{"cut', b"\xff\xfe", b"plain", b" ", b"[" * 990, b"null"])
def test_the_inbox_puts_aside_what_is_no_event(body: bytes) -> None:
    (problem,) = unpack(sealed(AT, "default", {}, body), most_file=10_000, most_event=10_000)
    assert isinstance(problem, Problem)
    (damaged,) = unpack(sealed_as_sent(AT, "default", {}, body), most_file=10_000, most_event=10_000)
    assert isinstance(damaged, Problem)
