"""Payloads of change orders that no list of Enerflo's has: the later one counts, by the order's own time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enerflo_sandbox.exchange import Response
from enerflo_sync.enerflo.failures import AuthenticationError
from enerflo_sync.mirror.company import AnotherCompanyError
from tests.inbox.conftest import Inbox, answering, update_install

HEAD = {"content-type": "application/json"}
ORDER = 987_654


def answer(inbox: Inbox, path: str, said: Any, status: int = 200) -> None:
    answering(inbox, path, Response(status, HEAD, json.dumps(said).encode()))


def signed(inbox: Inbox, status: str, updated_at: str | None, **more: Any) -> None:
    order = {"id": ORDER, "status": status, "change_values": {}, "updated_at": updated_at, **more}
    one = inbox.world.install_id(0)
    inbox.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": [order]})


def status(inbox: Inbox) -> Any:
    return inbox.one("select status from enerflo.change_orders where change_order_id = :o", o=ORDER)


@pytest.fixture(params=["no_list", "list_without_it"])
def unlisted(polled: Inbox, request: pytest.FixtureRequest) -> Inbox:
    one = polled.world.install_id(0)
    answer(polled, f"/api/v3/installs/{one}/change-order-data", {}, 404)
    signed(polled, "complete", "2026-03-02 08:00:00")
    polled.ingest()
    assert status(polled) == "complete"
    if request.param == "list_without_it":
        answer(polled, f"/api/v3/installs/{one}/change-order-data", {"change_orders": []})
    return polled


def test_a_later_payload_is_taken_and_an_older_one_is_not(unlisted: Inbox) -> None:
    signed(unlisted, "voided", "2026-03-02 09:00:00")
    report = unlisted.ingest()
    assert status(unlisted) == "voided"
    assert unlisted.states() == {"applied": 2}
    assert "taken from the payload" in str(report.reasons["notice"])
    signed(unlisted, "pending", "2026-03-02 07:00:00")
    unlisted.ingest()
    assert status(unlisted) == "voided"


def test_in_one_second_the_later_arrival_counts(unlisted: Inbox) -> None:
    signed(unlisted, "voided", "2026-03-02 08:00:00")
    unlisted.ingest()
    assert status(unlisted) == "voided"


def test_a_payload_without_a_time_does_not_replace_what_is_known(unlisted: Inbox) -> None:
    signed(unlisted, "voided", None)
    report = unlisted.ingest()
    assert status(unlisted) == "complete"
    # Nobody can tell which is the newer one: a person looks, and no event says that it was taken.
    assert unlisted.states() == {"applied": 1, "quarantined": 1}
    assert report.reasons["quarantined"] == {"order_without_time at change_orders": 1}


def test_a_payload_without_a_time_that_says_what_is_known_is_applied(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answer(polled, f"/api/v3/installs/{one}/change-order-data", {}, 404)
    for extra in ("a", "b"):
        order = {"id": ORDER, "status": "complete", "change_values": {}}
        polled.drop(
            {"webhook_event": "signed_change_order", "id": one, "change_orders": [order], "extra": extra}
        )
        polled.ingest()
    assert polled.states() == {"applied": 2}
    assert status(polled) == "complete"


def test_what_the_orders_own_endpoint_says_goes_before_the_payload(unlisted: Inbox) -> None:
    order = {"id": ORDER, "status": "override", "change_values": {}, "updated_at": "2026-03-02 08:30:00"}
    answer(unlisted, f"/api/v3/change-orders/{ORDER}", order)
    signed(unlisted, "voided", "2026-03-02 08:15:00")
    unlisted.ingest()
    assert status(unlisted) == "override"


def test_an_order_that_the_mirror_never_knew_is_not_made_of_a_payload_beside_a_list(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answer(polled, f"/api/v3/installs/{one}/change-order-data", {"change_orders": []})
    signed(polled, "complete", "2026-03-02 08:00:00")
    polled.ingest()
    assert polled.rows("select 1 from enerflo.change_orders where change_order_id = :o", o=ORDER) == []


# -- what nothing shows ------------------------------------------------------------------------------------


def test_an_event_of_which_neither_list_nor_payload_tells_an_order_waits_for_the_poll(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answer(polled, f"/api/v3/installs/{one}/change-order-data", {}, 403)
    polled.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": []})
    polled.ingest()
    assert polled.rows("select state, reason from sync.webhook_events") == [("received", "not_listed")]
    polled.company.poll()
    polled.ingest()
    assert polled.states() == {"applied": 1}


def test_where_no_poll_may_read_the_orders_either_such_an_event_is_quarantined(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    polled.fault("403@/api/v3/change-orders#1-99", f"403@/api/v3/installs/{one}/change-order-data#1-99")
    polled.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": []})
    for _ in range(3):
        polled.ingest()
        polled.company.poll()
        polled.later(30)
    polled.ingest()
    assert polled.states() == {"quarantined": 1}
    assert polled.reasons() == {"not_listed at change_orders_of": 1}


def test_an_order_that_the_mirror_never_knew_and_nothing_shows_waits_for_the_poll(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answer(polled, f"/api/v3/installs/{one}/change-order-data", {"change_orders": []})
    signed(polled, "complete", "2026-03-02 08:00:00")
    polled.ingest()
    assert polled.states() == {"received": 1}
    polled.company.poll()
    polled.ingest()
    assert polled.states() == {"applied": 1}


def test_an_event_without_an_order_of_an_install_that_is_gone_buries_it(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    polled.world.delete_install(one)
    polled.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": []})
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.install(one, "deleted_at is not null") == (True,)


# -- whose key it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        lambda one: update_install(one),
        lambda one: {"webhook_event": "new_install_note", "id": one},
        lambda one: {"webhook_event": "update_customer", "id": 1, "email": "a@example.com"},
        lambda one: {"webhook_event": "signed_change_order", "id": one, "change_orders": [{"id": ORDER}]},
    ],
)
def test_events_wait_while_the_key_answers_for_another_company(polled: Inbox, event: Any) -> None:
    polled.drop(event(polled.world.install_id(0)))
    polled.fault("other_company@/api/*#1-999")
    with pytest.raises(AnotherCompanyError):
        polled.ingest()
    assert polled.states() == {"received": 1}
    assert polled.one("select count(*) from enerflo.installs where deleted_at is not null") == 0
    assert polled.one("select count(*) from enerflo.change_orders where change_order_id = :o", o=ORDER) == 0


def test_an_unknown_install_of_another_company_is_not_stored(polled: Inbox) -> None:
    """A webhook of another company's, which its key shows."""
    theirs = polled.api.other_company.world.install_id(0) + 50_000_000
    polled.drop(update_install(theirs))
    polled.fault("other_company@/api/*#1-999")
    with pytest.raises(AnotherCompanyError):
        polled.ingest()
    assert polled.rows("select 1 from enerflo.installs where install_id = :i", i=theirs) == []


def test_events_wait_while_everything_is_refused_to_the_key(polled: Inbox) -> None:
    polled.drop(update_install(polled.world.install_id(0)))
    polled.fault("403@/api/*#1-999")
    with pytest.raises(AuthenticationError, match="refuses everything"):
        polled.ingest()
    assert polled.states() == {"received": 1}
