"""What one file may be: every form of the vendor's, a gateway's and a receiver's, and what is none of them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
import tracemalloc
from typing import Any

import pytest

from enerflo_sync.inbox.unpack import Document, Problem, unpack
from tests.inbox.conftest import digest_of, packed

A = {"webhook_event": "update_install", "id": 5, "status": {"name": "Sold", "id": 3}}
B = {"event": "customer.created", "payload": {"customer": {"id": "x"}}}
C = {"webhook_event": "new_note", "id": 7}
RECEIVED = "2026-03-01T12:30:00.250000Z"


def opened(data: bytes, most_file: int = 32_000_000, most_event: int = 4_000_000) -> list[Document | Problem]:
    return list(unpack(data, most_file=most_file, most_event=most_event))


def bodies(data: bytes) -> list[dict[str, Any]]:
    found = opened(data)
    assert all(isinstance(part, Document) for part in found), found
    return [part.body for part in found if isinstance(part, Document)]


def outline(data: bytes, **limits: int) -> list[Any]:
    """Bodies of what could be read, reasons of what could not, in the file's order."""
    return [part.body if isinstance(part, Document) else part.reason for part in opened(data, **limits)]


def reason(data: bytes, **limits: int) -> str:
    (problem,) = opened(data, **limits)
    assert isinstance(problem, Problem), problem
    return problem.reason


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def raw(body: dict[str, Any]) -> Any:
    return body


def receivers(body: dict[str, Any]) -> Any:
    return {"received_at": RECEIVED, "source": "receiver/default", "headers": {"a": "b"}, "body": body}


def receivers_base64(body: dict[str, Any]) -> Any:
    text = base64.b64encode(dumped(body)).decode()
    return {"received_at": RECEIVED, "source": "receiver/default", "headers": {}, "body_base64": text}


def gateways_text(body: dict[str, Any]) -> Any:
    return {
        "version": "2.0",
        "headers": {"content-type": "application/json"},
        "requestContext": {"timeEpoch": 1_772_368_200_250},
        "body": json.dumps(body, indent=1),
        "isBase64Encoded": False,
    }


def gateways_base64(body: dict[str, Any]) -> Any:
    text = base64.b64encode(dumped(body)).decode()
    return {**gateways_text(body), "body": text, "isBase64Encoded": True}


def gateways_v1(body: dict[str, Any]) -> Any:
    return {
        "httpMethod": "POST",
        "headers": {},
        "requestContext": {"requestTimeEpoch": 1_772_368_200_250},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


ENVELOPES = [raw, receivers, receivers_base64, gateways_text, gateways_base64, gateways_v1]
FORMS = {
    "one": lambda values: dumped(values[0]),
    "pretty": lambda values: json.dumps(values[0], indent=2).encode(),
    "array": dumped,
    "pretty array": lambda values: json.dumps(values, indent=2).encode(),
    "lines": lambda values: b"\n".join(map(dumped, values)),
    "lines with blanks": lambda values: b"\r\n\r\n".join(map(dumped, values)) + b"\r\n",
    "bom": lambda values: b"\xef\xbb\xbf" + dumped(values),
    "white space": lambda values: b" \n\t" + dumped(values) + b"\n\n",
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("envelope", ENVELOPES, ids=lambda one: one.__name__)
def test_every_form_in_every_envelope_gives_the_same_events(envelope: Any, form: str, zipped: bool) -> None:
    events = [A] if form in ("one", "pretty") else [A, B, C]
    data = FORMS[form]([envelope(event) for event in events])
    found = opened(packed(data) if zipped else data)
    assert [part.body for part in found if isinstance(part, Document)] == events
    assert [part.position for part in found if isinstance(part, Document)] == sorted(
        part.position for part in found
    )
    times = {part.received_at for part in found if isinstance(part, Document)}
    if envelope is raw:
        assert times == {None}
    else:
        (moment,) = times
        assert moment is not None
        assert moment.isoformat().startswith("2026-03-01T12:30:00.25")


def test_an_envelope_may_hold_several_events() -> None:
    assert bodies(dumped({"received_at": RECEIVED, "headers": {}, "body": [A, B]})) == [A, B]
    assert bodies(dumped({"headers": {}, "body": json.dumps([A, B])})) == [A, B]


def test_gzip_of_several_members_is_one_file() -> None:
    assert bodies(packed(dumped(A) + b"\n") + packed(dumped(B) + b"\n")) == [A, B]


def test_a_payload_that_only_looks_like_an_envelope_is_none() -> None:
    note = {"webhook_event": "new_note", "id": 3, "body": {"x": 1}, "source": "app", "headers": 1}
    assert bodies(dumped(note)) == [note]
    assert bodies(dumped({"body": {"x": 1}})) == [{"body": {"x": 1}}]


def test_the_canonical_form_is_the_contracts() -> None:
    forms = [
        b'{"id":5,"webhook_event":"update_install","status":{"name":"Sold","id":3}}',
        b' {"webhook_event" : "update_install",\n "status":{"id": 3, "name":"S\\u006fld"},"id":5}\r\n',
        dumped(receivers(A)),
        dumped(gateways_base64(A)),
    ]
    for form in forms:
        (found,) = opened(form)
        assert isinstance(found, Document)
        assert hashlib.sha256(found.canonical).hexdigest() == digest_of(A)


@pytest.mark.parametrize(
    "bad", [b"nope", b'{"a":', b"[1", b"5", b'"x"', b"{} {}", b'{"a":"\xff"}', b'{"a":1,"a":2}']
)
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_a_bad_line_in_the_middle_is_put_aside_and_the_others_go_on(bad: bytes, zipped: bool) -> None:
    data = b"\n".join([dumped(A), bad, dumped(B)])
    first, problem, last = opened(packed(data) if zipped else data)
    assert isinstance(first, Document)
    assert first.body == A
    assert isinstance(problem, Problem)
    assert problem.position == 1
    assert problem.payload == bad
    assert isinstance(last, Document)
    assert last.body == B


@pytest.mark.parametrize(
    "bad",
    [
        b"nope",
        b'{"a":',
        b'{"webhook_event":"upd',
        b"{" + b'"a":[' * 1_000,
    ],
)
def test_a_bad_first_line_is_put_aside_and_the_others_go_on(bad: bytes) -> None:
    found = outline(b"\n".join([bad, dumped(A), dumped(B)]))
    assert found[1:] == [A, B]
    assert isinstance(found[0], str)


def test_a_deep_first_line_is_put_aside_and_the_others_go_on() -> None:
    deep = b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}"
    assert outline(b"\n".join([deep, dumped(A)])) == ["nested_too_deep", A]


def test_what_stands_whole_before_the_end_of_a_cut_array_is_taken() -> None:
    assert outline(dumped([A, B])[:-5]) == [A, "truncated_json"]


def test_a_bad_element_of_an_array_is_put_aside_and_the_others_go_on() -> None:
    assert outline(b"[%s,5,%s]" % (dumped(A), dumped(B))) == [A, "not_an_object", B]
    assert outline(b'[%s,{"a":1,"a":2},%s]' % (dumped(A), dumped(B))) == [A, "repeated_key", B]
    assert outline(b'[%s,{"a":"\xff"},%s]' % (dumped(A), dumped(B))) == [A, "not_utf8", B]


def test_a_deep_element_of_an_array_is_put_aside_and_the_others_go_on() -> None:
    deep = b"[" * 100 + b"]" * 100
    assert outline(b"[%s,%s,%s]" % (dumped(A), deep, dumped(B))) == [A, "nested_too_deep", B]


def test_an_element_too_deep_for_the_decoder_is_put_aside_and_the_others_go_on() -> None:
    deep = b"[" * 1_000 + b"]" * 1_000
    assert outline(b"[%s,%s,%s]" % (dumped(A), deep, dumped(B))) == [A, "nested_too_deep", B]


def test_a_bad_element_of_an_envelopes_body_is_put_aside_and_the_others_go_on() -> None:
    assert outline(dumped({"received_at": RECEIVED, "headers": {}, "body": [A, 5, B]})) == [
        A,
        "not_an_object",
        B,
    ]


def test_a_bad_element_of_a_lines_array_is_put_aside_and_the_others_go_on() -> None:
    assert outline(dumped(C) + b"\n" + dumped([A, None, B])) == [C, A, "not_an_object", B]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty_file"),
        (b" \n\t\r\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (packed(b""), "empty_file"),
        (b"{", "truncated_json"),
        (dumped(A)[:-5], "truncated_json"),
        (b"<html><body>502 Bad Gateway</body></html>", "not_json"),
        (b"a=1&b=2", "not_json"),
        (b'{"a":"\xe9"}', "not_utf8"),
        (json.dumps(A).encode("utf-16"), "not_utf8"),
        (b'{"a":"x\x00y"}', "not_json"),
        (b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "nested_too_deep"),
        (b'{"a":' * 1_000 + b"1" + b"}" * 1_000, "nested_too_deep"),
        (b"[" * 100_000, "nested_too_deep"),
        (b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", "nested_too_deep"),
        (b'{"a":1,"b":2,"a":1}', "repeated_key"),
        (b'{"a":{"b":1,"b":1}}', "repeated_key"),
        (b'{"webhook_event":"x","id":1,"\\u0069d":2}', "repeated_key"),
        (b"5", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"[]", "no_event_in_it"),
        (b"[[]]", "no_event_in_it"),
        (b'{"a":1e400}', "number_out_of_range"),
        (b'{"a":' + b"9" * 5_000 + b"}", "number_out_of_range"),
        (packed(dumped(A))[:-9], "truncated_gzip"),
        (packed(dumped(A))[:20], "truncated_gzip"),
        (b"\x1f\x8bnot gzip at all", "damaged_gzip"),
        (dumped({"headers": {}, "body": ""}), "empty_body"),
        (dumped({"headers": {}, "body": None}), "not_an_object"),
        (dumped({"headers": {}, "body": 5}), "not_an_object"),
        (dumped({"headers": {}, "body": "{"}), "truncated_json"),
        (dumped({"headers": {}, "body": "***", "isBase64Encoded": True}), "body_not_base64"),
        (dumped({"headers": {}, "body": {}, "isBase64Encoded": True}), "body_not_base64"),
        (dumped({"headers": {}, "body_base64": 7}), "body_not_base64"),
    ],
)
def test_what_is_no_event_has_one_clear_reason(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_deep_but_plausible_nesting_is_taken() -> None:
    assert len(bodies(b'{"a":' + b"[" * 60 + b"]" * 60 + b"}")) == 1


def test_base64_with_letters_beyond_ascii_has_a_reason() -> None:
    text = json.dumps({"headers": {}, "body": "é", "isBase64Encoded": True}, ensure_ascii=False)
    assert reason(text.encode()) == "body_not_base64"


@pytest.mark.parametrize("body", [[], "[]"], ids=["array", "text"])
def test_an_envelope_without_an_event_is_not_passed_over(body: Any) -> None:
    assert reason(dumped({"received_at": RECEIVED, "headers": {}, "body": body})) == "no_event_in_it"


def test_a_repeated_key_is_seen_beside_a_number_that_grows() -> None:
    # Written canonically, 1E7 gets as much longer as the lost key makes the text shorter.
    assert reason(b'{"webhook_event":"update_install","id":1,"id":2,"x":1E7}') == "repeated_key"


def test_numbers_that_differ_beyond_64_bits_are_not_taken_for_copies() -> None:
    found = opened(b'{"a":100000000000000000000000001}\n{"a":100000000000000000000000002}')
    kept = {part.canonical if isinstance(part, Document) else part.payload for part in found}
    assert len(kept) == 2


def test_nul_is_taken_out_where_it_is_escaped() -> None:
    (found,) = opened(b'{"webhook_event":"x","a":"b\\u0000c","d":"\\\\u0000"}')
    assert isinstance(found, Document)
    assert found.nul_removed
    assert found.body == {"webhook_event": "x", "a": "bc", "d": "\\u0000"}


def test_html_and_sql_are_text() -> None:
    body = {
        "webhook_event": "new_install_note",
        "id": 1,
        "note": "<script>alert(1)</script>'; drop table x; --",
    }
    assert bodies(dumped(body)) == [body]


@pytest.mark.parametrize(
    "value", [1e30, -1e18, True, [1], {"date": 5}, "soon", "0001-01-01T00:00:00+12:00", 10**30]
)
def test_a_senseless_time_of_arrival_is_as_none(value: Any) -> None:
    (found,) = opened(dumped({"received_at": value, "headers": {}, "body": A}))
    assert isinstance(found, Document)
    assert found.received_at is None


def test_an_event_over_its_size_is_put_aside_and_the_others_go_on() -> None:
    large = {**A, "x": "y" * 1_000}
    assert outline(dumped([A, large, B]), most_event=500) == [A, "event_too_large", B]


def test_a_problem_keeps_the_first_64_kilobytes() -> None:
    (problem,) = opened(b"x" * 100_000)
    assert isinstance(problem, Problem)
    assert problem.payload == b"x" * 65_536


def _peak(data: bytes, most_file: int) -> tuple[int, list[Any]]:
    tracemalloc.start()
    try:
        last = [
            part.reason if isinstance(part, Problem) else part.body
            for part in unpack(data, most_file=most_file, most_event=4_000_000)
        ][-1:]
        return tracemalloc.get_traced_memory()[1], last
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_is_refused_with_bounded_memory() -> None:
    bomb = packed(b"0" * 100_000_000)
    peak, found = _peak(bomb, 4_000_000)
    assert found == ["too_large_unpacked"]
    assert peak < 20_000_000


def test_a_gzip_bomb_of_tiny_elements_is_taken_with_bounded_memory() -> None:
    # A KB that unpacks to the limit's 1 MB, half a million elements: memory may be a few times the limit.
    bomb = packed(b"[" + b"0," * 499_990 + b"0]")
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        for _ in unpack(bomb, most_file=1_000_000, most_event=4_000_000):
            if tracemalloc.get_traced_memory()[1] > 20_000_000:
                pytest.fail("20 times the size of the unpacked file")
            break
    finally:
        tracemalloc.stop()


def test_a_gzip_of_many_empty_members_takes_no_time_of_its_own() -> None:
    data = gzip.compress(b"", mtime=0) * 120_000
    began = time.process_time()
    assert reason(data) == "too_many_gzip_members"
    assert time.process_time() - began < 1.5
