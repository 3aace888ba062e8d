"""Deletion on the evidence of a direct read: what is evidence, and how much of it is believed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.exchange import Response
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.sweep import tombstone
from enerflo_sync.resources.installs import INSTALLS
from tests.inbox.conftest import Inbox, answering, update_install

NOT_FOUND = Response(404, {}, b'{"message":"Not Found"}')


def ids(inbox: Inbox, count: int = 3) -> list[int]:
    world = inbox.world
    return [world.install_id(number) for number in range(count)]


def note_event(install_id: int) -> dict[str, Any]:
    return {"webhook_event": "new_install_note", "id": install_id}


def test_a_404_of_a_known_record_is_a_tombstone_and_applies_the_event(polled: Inbox) -> None:
    one, two, _ = ids(polled)
    polled.world.delete_install(one)
    polled.drop(update_install(one))
    report = polled.ingest()
    assert polled.states() == {"applied": 1}
    assert report.state == "ok"
    assert polled.install(one, "deleted_at is not null", "status_name is not null") == (True, True)
    assert polled.install(two, "deleted_at") == (None,)
    left = "select count(*) from enerflo.{} where install_id = :i and deleted_at is null"
    for table in ("milestones", "notes", "change_orders"):
        assert polled.one(left.format(table), i=one) == 0, table


def test_so_is_an_answer_that_says_when_the_record_was_deleted(polled: Inbox) -> None:
    one = ids(polled)[0]
    shown = json.loads(polled.world.rendered(0)) | {"deleted_at": "2026-03-01 10:00:00"}
    answering(polled, f"/api/v3/installs/{one}", Response(200, {}, json.dumps(shown).encode()))
    polled.drop(update_install(one))
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.install(one, "deleted_at is not null") == (True,)


def test_a_404_of_a_known_deal_is_a_tombstone(polled: Inbox) -> None:
    one = ids(polled)[0]
    deal = polled.world.installs.get(0).deal_id
    polled.world.delete_install(one)
    polled.drop({"event": "deal.projectReceived", "payload": {"deal": {"id": deal}}})
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.install(one, "deleted_at is not null") == (True,)


def test_a_signed_order_of_a_deleted_install_leaves_no_living_order(polled: Inbox) -> None:
    one = ids(polled)[0]
    polled.world.delete_install(one)
    order = {"id": 987_654, "status": "complete", "change_values": {}}
    polled.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": [order]})
    polled.ingest()
    assert polled.states() == {"applied": 1}
    alive = "select count(*) from enerflo.change_orders where install_id = :i and deleted_at is null"
    assert polled.one(alive, i=one) == 0


def test_a_missing_list_of_notes_is_no_evidence_about_the_install(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}/notes", NOT_FOUND)
    answering(polled, "/api/v3/installs/notes", NOT_FOUND)
    polled.drop(note_event(one))
    assert polled.ingest().state == "partial"
    assert polled.install(one, "deleted_at") == (None,)


def test_a_missing_list_of_customers_is_no_evidence_about_one(polled: Inbox) -> None:
    found = polled.rows("select customer_id, email from enerflo.customers where deleted_at is null limit 1")
    customer_id, email = found[0]
    answering(polled, "/api/v1/customers", NOT_FOUND)
    polled.drop({"webhook_event": "update_customer", "id": customer_id, "email": email})
    polled.ingest()
    query = "select deleted_at from enerflo.customers where customer_id = :c"
    assert polled.rows(query, c=customer_id) == [(None,)]


def test_an_address_that_knows_nothing_deletes_nothing(polled: Inbox) -> None:
    polled.api._route = lambda *_: NOT_FOUND  # type: ignore[method-assign]
    for number in range(3):
        polled.drop(update_install(polled.world.install_id(number)))
    with pytest.raises(ConfigurationError, match="404 to everything"):
        polled.ingest()
    assert polled.one("select count(*) from enerflo.installs where deleted_at is not null") == 0
    assert polled.states() == {"received": 3}


def test_not_everything_is_gone_at_once(polled: Inbox) -> None:
    """A key of another company: statuses are answered, and none of the installs."""
    known = polled.one("select count(*) from enerflo.installs where deleted_at is null")
    for number in range(known):
        install_id = polled.world.install_id(number)
        answering(polled, f"/api/v3/installs/{install_id}", NOT_FOUND)
        polled.drop(update_install(install_id))
    assert polled.ingest().state == "partial"
    assert polled.one("select count(*) from enerflo.installs where deleted_at is not null") == 0
    assert polled.states() == {"received": known}


@pytest.mark.parametrize("answer", [Response(403, {}, b"{}"), Response(200, {}, b'"Access not Permitted"')])
def test_a_key_that_may_not_read_statuses_is_answered_by_enerflo(polled: Inbox, answer: Response) -> None:
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}", NOT_FOUND)
    answering(polled, "/api/v3/install-statuses", answer)
    polled.drop(update_install(one))
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert polled.install(one, "deleted_at") != (None,)


def test_while_enerflo_does_not_answer_otherwise_a_404_waits(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}", NOT_FOUND)
    answering(polled, "/api/v3/install-statuses", Response(503, {}, b""))
    polled.drop(update_install(one))
    assert polled.ingest().state == "partial"
    assert polled.states() == {"received": 1}
    assert polled.install(one, "deleted_at") == (None,)


def test_an_older_404_does_not_bury_what_was_seen_later(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    later = polled.clock.now()
    with polled.warehouse.begin() as connection:
        connection.execute(
            sa.text("update enerflo.installs set observed_at = :at where install_id = :id"),
            {"at": later, "id": one},
        )
        before = later - timedelta(seconds=1)
        assert tombstone(connection, INSTALLS, polled.account, one, before) == 0
        assert tombstone(connection, INSTALLS, polled.account, one, later) == 1
