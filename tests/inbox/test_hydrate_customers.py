"""Events about customers: what is read of them, and what of those that Enerflo does not show."""

from __future__ import annotations

import pytest

from enerflo_sandbox.exchange import Request, Response, json_answer
from tests.inbox.conftest import Inbox, answering, sample, update_install
from tests.inbox.test_hydrate import IDLESS, NONSENSE, ids


@pytest.mark.parametrize("answer", [*NONSENSE, *IDLESS])
def test_a_customer_that_is_answered_with_nonsense_holds_no_other(inbox: Inbox, answer: bytes) -> None:
    uuid = "f6ac5e81-ef2d-4981-863a-86bbb4590601"
    head = {"content-type": "application/json"}
    answering(inbox, f"/api/v3/customers/{uuid}", Response(200, head, answer))
    inbox.drop({"event": "customer.created", "payload": {"customer": {"id": uuid}}})
    inbox.drop(update_install(ids(inbox)[0]))
    inbox.ingest()
    states = dict(inbox.rows("select event, state from sync.webhook_events"))  # type: ignore[arg-type]
    assert states["update_install"] == "applied"
    assert inbox.one("select count(*) from enerflo.customers") == 0


@pytest.mark.parametrize("rows", [b"[]", b"[5]", b'[{"id":"x"}]', b"null", b'{"a":5}'])
def test_a_search_for_customers_that_finds_nonsense_holds_no_other(inbox: Inbox, rows: bytes) -> None:
    head = {"content-type": "application/json"}
    answer = Response(200, head, b'{"dataCount":1,"data":%s}' % rows)
    answering(inbox, "/api/v1/customers", answer)
    inbox.drop({"webhook_event": "new_customer", "id": 5, "email": "a@example.com"})
    inbox.drop(update_install(ids(inbox)[0]))
    inbox.ingest()
    states = dict(inbox.rows("select event, state from sync.webhook_events"))  # type: ignore[arg-type]
    assert states["update_install"] == "applied"


def test_a_customer_that_may_not_be_read_is_taken_from_its_payload(inbox: Inbox) -> None:
    refusal = Response(
        403, {"content-type": "application/json"}, b'{"message":"This action is unauthorized."}'
    )
    answering(inbox, "/api/v3/customers/2860314", refusal)
    inbox.drop(sample("new_customer"))
    report = inbox.ingest()
    row = inbox.rows(
        "select customer_id, first_name, email, city, state, zip, observed_by from enerflo.customers"
    )
    assert row == [(2860314, "Test", "test.rcustomer@example.com", "Sample City", "EX", "12345", "webhook")]
    assert report.reasons["notice"]["taken from the payload"] == 1


def test_a_known_customer_is_not_overwritten_from_a_payload(polled: Inbox) -> None:
    (known, name) = polled.rows("select customer_id, first_name from enerflo.customers limit 1")[0]
    refusal = Response(
        403, {"content-type": "application/json"}, b'{"message":"This action is unauthorized."}'
    )
    answering(polled, f"/api/v3/customers/{known}", refusal)
    answering(polled, "/api/v1/customers", json_answer({"dataCount": 0, "data": []}))
    polled.drop(
        {"webhook_event": "update_customer", "id": known, "first_name": "Old", "email": "x@example.com"}
    )
    polled.ingest()
    assert polled.one("select first_name from enerflo.customers where customer_id = :i", i=known) == name


def _unlisted(inbox: Inbox, known: int) -> None:
    """Enerflo gives the customer to nobody but who reads the whole list."""
    refusal = Response(403, {"content-type": "application/json"}, b"{}")
    answering(inbox, f"/api/v3/customers/{known}", refusal)
    real = inbox.api._route

    def route(request: Request, path: str, key: str) -> Response:
        searched = path == "/api/v1/customers" and "search" in request.parameters()
        return json_answer({"dataCount": 0, "data": []}) if searched else real(request, path, key)

    inbox.api._route = route  # type: ignore[method-assign]


def test_an_update_of_a_known_customer_whom_nothing_shows_waits_for_the_poll(polled: Inbox) -> None:
    """Applied it would say that the mirror has what the event told, which nobody has read."""
    known = polled.one("select min(customer_id) from enerflo.customers")
    _unlisted(polled, known)
    polled.drop({"webhook_event": "update_customer", "id": known, "email": "new@example.com"})
    report = polled.ingest()
    assert polled.rows("select state, reason from sync.webhook_events") == [("received", "not_listed")]
    assert report.reasons["notice"] == {"waiting, Enerflo does not list the record yet": 1}
    polled.company.poll()
    polled.ingest()
    assert polled.states() == {"applied": 1}


def test_an_update_of_a_known_customer_whom_no_poll_shows_either_is_quarantined(polled: Inbox) -> None:
    known = polled.one("select min(customer_id) from enerflo.customers")
    _unlisted(polled, known)
    polled.drop({"webhook_event": "update_customer", "id": known, "email": "new@example.com"})
    polled.ingest()
    polled.later(61)
    polled.ingest()
    assert polled.states() == {"quarantined": 1}
    assert polled.reasons() == {"not_listed at customers": 1}


def test_a_customer_that_is_found_under_no_old_word_is_read_by_its_number(polled: Inbox) -> None:
    """An old payload tells of an e-mail, a name and a phone that are all gone since."""
    known = polled.world.installs.get(0).customer_id
    old = {
        "webhook_event": "update_customer",
        "id": known,
        "email": "gone@example.com",
        "full_name": "Gone By",
    }
    polled.world.edit_customer(known, {"first_name": "Newname", "email": "new@example.com"})
    polled.drop(old)
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.one("select first_name from enerflo.customers where customer_id = :i", i=known) == "Newname"
