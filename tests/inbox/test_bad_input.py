"""What is no event, or a strange one: put aside or kept, and the others go on."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from enerflo_sync.inbox.batch import Limits
from tests.inbox.conftest import Inbox, ignored, packed, update_install

MARK = "Zanzibar Quux"


def lines(*bodies: Any) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies)


def test_all_bad_input_is_put_aside_with_its_reason_and_the_others_go_on(inbox: Inbox) -> None:
    """The issue's table; each file lies between two good ones."""
    big = b'{"webhook_event":"new_note","id":1,"x":"' + b"y" * 50_000_000 + b'"}'
    table: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "empty_file"),
        "truncated": (b'{"webhook_event":"update_ins', "truncated_json"),
        "deep": (b'{"a":' + b"[" * 1_000 + b"]" * 1_000 + b"}", "nested_too_deep"),
        "twice": (b'{"webhook_event":"update_install","id":1,"id":2}', "repeated_key"),
        "large": (big, "file_too_large"),
        "nul": (b'{"webhook_event":"update_install","id":1,"x":"\x00"}', "not_json"),
        "latin": ('{"webhook_event":"update_install","id":1,"x":"é"}'.encode("latin-1"), "not_utf8"),
        "type of event": (b'{"webhook_event":7,"id":1}', "missing_event_name at webhook_event"),
        "no event": (b'{"id":1}', "missing_event_name at webhook_event"),
        "type of id": (b'{"webhook_event":"update_install","id":{"a":1}}', "id_not_a_whole_number at id"),
        "no id": (b'{"webhook_event":"update_install"}', "missing_id at id"),
        "path": (b'{"webhook_event":"update_install","id":"../../x"}', "id_not_a_whole_number at id"),
        "path v2": (
            b'{"event":"deal.projectSubmitted","payload":{"deal":{"id":"../../x"}}}',
            "id_not_a_uuid at payload.deal.id",
        ),
        "no deal": (b'{"event":"deal.projectReceived","payload":[]}', "missing_id at payload.deal.id"),
        "65 bits": (
            b'{"webhook_event":"new_customer","id":36893488147419103232}',
            "id_not_a_whole_number at id",
        ),
        "64 bits": (
            b'{"webhook_event":"new_customer","id":9223372036854775808}',
            "id_not_a_whole_number at id",
        ),
        "negative": (b'{"webhook_event":"update_install","id":-4}', "id_not_a_whole_number at id"),
        "unknown": (b'{"webhook_event":"moon_landing","id":1}', "unknown_event at moon_landing"),
        "bomb": (packed(b"0" * 40_000_000), "too_large_unpacked"),
        "name": (b'{"webhook_event":"a\\nb","id":1}', "bad_event_name at webhook_event"),
    }
    for number, (name, (data, _)) in enumerate(table.items()):
        inbox.drop(ignored(2 * number), f"{name}-0.json")
        inbox.drop(data, f"{name}-1.json")
        inbox.drop(ignored(2 * number + 1), f"{name}-2.json")
    report = inbox.load(limits=Limits(32_000_000, 4_000_000))
    expected: dict[str, int] = {}
    for _, reason in table.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert inbox.reasons() == expected
    assert (report.state, report.read) == ("partial", 3 * len(table))
    assert (report.skipped, report.quarantined) == (2 * len(table), len(table))
    assert report.reasons["quarantined"] == expected
    assert inbox.waiting() == []
    assert len(inbox.archived()) == 3 * len(table)
    evidence = {uri.partition("#")[0] for (uri,) in inbox.rows("select evidence_uri from sync.quarantine")}
    assert evidence == {str(inbox.archive / f"2026/03/02/{name}-1.json") for name in table}


def test_the_unknown_event_is_kept_with_its_body_and_counted(inbox: Inbox) -> None:
    body = {"webhook_event": "moon_landing", "id": 1, "x": "y"}
    inbox.drop(lines(body, body))
    inbox.drop({"event": "deal.exploded", "payload": {}})
    inbox.load()
    rows = inbox.rows("select event, state, copies, reason from sync.webhook_events order by 1")
    assert rows == [
        ("deal.exploded", "quarantined", 1, "unknown_event at deal.exploded"),
        ("moon_landing", "quarantined", 2, "unknown_event at moon_landing"),
    ]
    kept = json.loads(inbox.one("select body::text from sync.webhook_events where event = 'moon_landing'"))
    assert kept == body


def test_a_position_leads_to_the_line(inbox: Inbox) -> None:
    inbox.drop(lines(ignored(1), b"nope", ignored(2), b"no"), "x.jsonl")
    inbox.load()
    uris = [uri for (uri,) in inbox.rows("select evidence_uri from sync.quarantine order by 1")]
    assert [uri.rpartition("#")[2] for uri in uris] == ["1", "3"]
    assert inbox.states() == {"ignored": 2}


def test_html_and_sql_are_kept_verbatim(inbox: Inbox) -> None:
    text = "<img src=x onerror=alert(1)>'; drop schema sync cascade; -- %s {x} \\ \u2028 \U0001f600"
    body = {"webhook_event": "new_note", "id": 1, "note": text}
    inbox.drop(body)
    inbox.load()
    assert inbox.one("select body->>'note' from sync.webhook_events") == text


def test_an_escaped_nul_is_taken_out_and_said(inbox: Inbox) -> None:
    inbox.drop(b'{"webhook_event":"new_note","id":1,"x":"a\\u0000b"}')
    report = inbox.load()
    assert inbox.one("select body->>'x' from sync.webhook_events") == "ab"
    assert report.reasons["notice"] == {"nul_removed": 1}


def test_five_thousand_bad_lines_are_put_aside(inbox: Inbox) -> None:
    """A table of numbers that somebody exported into the drop: no line is an event."""
    inbox.drop(b"\n".join(b"install,%d,x" % number for number in range(5_100)), "export.csv")
    inbox.drop(ignored(1), "z.json")
    report = inbox.load()
    assert (report.quarantined, report.skipped) == (1, 1)
    assert inbox.reasons() == {"not_json": 1}


def test_of_very_many_bad_lines_the_first_ones_stand_for_all(inbox: Inbox) -> None:
    bad = [b"install,%d,x" % number for number in range(5_100)]
    inbox.drop(b"\n".join([*bad, json.dumps(ignored(1)).encode()]), "export.jsonl")
    report = inbox.load()
    assert (report.read, report.quarantined, report.skipped) == (5_101, 5_100, 1)
    assert inbox.reasons() == {"not_json": 100, "further_problems_in_the_file": 1}


def test_a_name_that_is_no_utf8_does_not_stop_the_others(inbox: Inbox) -> None:
    odd = os.fsencode(inbox.folder) + b"/caf\xe9.json"
    with open(odd, "wb") as file:
        file.write(json.dumps(ignored(1)).encode())
    inbox.drop(ignored(2), "good.json")
    report = inbox.load()
    assert report.skipped == 2
    assert inbox.waiting() == []


@pytest.mark.parametrize(
    "name", ["a b'c\"#1.json", "x\ny.json", "%2e%2e.json", "ü\U0001f600.json", "-rf", "x" * 240]
)
def test_odd_names_are_names(inbox: Inbox, name: str) -> None:
    inbox.drop(ignored(1), name)
    assert inbox.load().skipped == 1
    assert inbox.archived() == [name]


def test_nothing_of_a_payload_is_said(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for number, data in enumerate(
        [
            json.dumps(update_install(1, name=MARK)).encode(),
            f'{{"webhook_event":"update_install","id":"{MARK}"}}'.encode(),
            f'{{"webhook_event":["{MARK}"],"id":1}}'.encode(),
            f'{{"webhook_event":"new_customer","id":7,"id":8,"x":"{MARK}"}}'.encode(),
            f"{MARK} is not JSON".encode(),
            f'{{"x":"{MARK}"'.encode(),
            f'{{"received_at":"{MARK}","headers":{{"k":"{MARK}"}},"body":"{MARK}"}}'.encode(),
            packed(MARK.encode())[:-4],
        ]
    ):
        inbox.drop(data, f"{number}.json")
    report = inbox.load()
    assert report.quarantined == 7
    assert MARK not in caplog.text
    assert MARK not in repr(report)
    (row,) = inbox.rows("select reasons::text || resources::text from sync.runs")
    assert MARK not in row[0]
    reasons = inbox.rows("select reason from sync.quarantine union select reason from sync.webhook_events")
    assert MARK not in repr(reasons)


def test_large_files_of_one_beginning_are_items_of_their_own(inbox: Inbox) -> None:
    beginning = b"[" + b'{"webhook_event":"new_note","id":1},' * 4000
    inbox.drop(beginning + b'{"webhook_event":"new_note","id":2}]', "a.json")
    inbox.drop(beginning + b'{"webhook_event":"new_note","id":3}]', "b.json")
    inbox.load(limits=Limits(100_000, 50_000))
    assert inbox.one("select count(*) from sync.quarantine") == 2


def test_a_name_that_is_no_name_is_not_shown(inbox: Inbox) -> None:
    inbox.drop({"event": "Call from jane.doe@example.com"})
    report = inbox.load()
    assert "jane.doe" not in str(report.reasons)
    assert inbox.one("select event from sync.webhook_events") == "?"
