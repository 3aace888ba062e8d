"""A customer is found by words, and an event's words may be old."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enerflo_sandbox.exchange import Request, Response, json_answer
from tests.inbox.conftest import Inbox, answering

UUID = "f6ac5e81-ef2d-4981-863a-86bbb4590601"
HEAD = {"content-type": "application/json"}


def customers(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.rows("select customer_id, first_name, email from enerflo.customers order by 1")


def listing(inbox: Inbox, rows: dict[str, list[Any]]) -> None:
    """Let the list's search find these rows by these words, and nothing by any other."""
    real = inbox.api._route

    def route(request: Request, asked: str, key: str) -> Response:
        if asked != "/api/v1/customers":
            return real(request, asked, key)
        found = rows.get(request.parameters().get("search", ""), [])
        return json_answer({"dataCount": len(found), "data": found})

    inbox.api._route = route  # type: ignore[method-assign]


def itself(inbox: Inbox, key: int | str, **values: Any) -> None:
    answering(inbox, f"/api/v3/customers/{key}", Response(200, HEAD, json.dumps(values).encode()))


def test_an_unknown_customer_whom_no_word_finds_has_the_values_of_their_own_answer(inbox: Inbox) -> None:
    itself(inbox, 77, id=77, first_name="New", email="new@example.com")
    listing(inbox, {})
    inbox.drop(
        {"webhook_event": "update_customer", "id": 77, "first_name": "Old", "email": "old@example.com"}
    )
    report = inbox.ingest()
    assert customers(inbox) == [(77, "New", "new@example.com")]
    assert inbox.states() == {"applied": 1}
    assert report.reasons["notice"]["taken from the customer's own record"] == 1


@pytest.mark.parametrize("words", ["new@example.com", "+1 555 0100", "New Name"])
def test_the_words_of_the_own_answer_find_the_lists_row(inbox: Inbox, words: str) -> None:
    itself(
        inbox, 77, id=77, first_name="New", last_name="Name", email="new@example.com", mobile="+1 555 0100"
    )
    listing(inbox, {words: [{"id": 78, "first_name": "Another"}, {"id": 77, "first_name": "Listed"}]})
    inbox.drop({"webhook_event": "update_customer", "id": 77, "email": "old@example.com"})
    inbox.ingest()
    assert customers(inbox) == [(77, "Listed", None)]


def test_a_uuid_that_the_list_does_not_find_is_found_by_the_words_of_its_answer(inbox: Inbox) -> None:
    itself(inbox, UUID, id=77, email="new@example.com")
    listing(inbox, {"new@example.com": [{"id": 77, "first_name": "Listed"}]})
    inbox.drop({"event": "customer.created", "payload": {"customer": {"id": UUID}}})
    inbox.ingest()
    assert customers(inbox) == [(77, "Listed", None)]


def test_an_answer_about_another_customer_is_refused(inbox: Inbox) -> None:
    itself(inbox, 77, id=78, first_name="Other")
    listing(inbox, {})
    inbox.drop({"webhook_event": "update_customer", "id": 77, "email": "old@example.com"})
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1}
    assert list(inbox.reasons()) == ["not_readable: another_id at customers"]
    assert customers(inbox) == []


@pytest.mark.parametrize("bad", [{"id": "x"}, {"id": None}, 5, [], None])
def test_a_bad_row_that_a_search_finds_beside_the_right_one_harms_nothing(inbox: Inbox, bad: Any) -> None:
    listing(inbox, {"a@example.com": [bad, {"id": 77, "first_name": "Right"}]})
    inbox.drop({"webhook_event": "new_customer", "id": 77, "email": "a@example.com"})
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert customers(inbox) == [(77, "Right", None)]


def test_a_customer_with_a_bad_value_is_quarantined_with_its_event(inbox: Inbox) -> None:
    listing(inbox, {"a@example.com": [{"id": 77, "created": "one day"}]})
    inbox.drop({"webhook_event": "new_customer", "id": 77, "email": "a@example.com"})
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1}
    assert inbox.rows("select kind, reason from sync.quarantine order by 1") == [
        ("event", "not_a_time at created"),
        ("record", "not_a_time at created"),
    ]
