"""Events become what Enerflo says now: read once, in no order, and never older than what is known."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.exchange import Request, Response
from enerflo_sandbox.payloads import events_of
from enerflo_sync.enerflo.failures import AuthenticationError
from tests.inbox.conftest import Inbox, NewInbox, answering, update_install


def ids(inbox: Inbox, count: int = 3) -> list[int]:
    world = inbox.world
    return [world.install_id(number) for number in range(count)]


def test_events_of_one_record_are_one_read(inbox: Inbox) -> None:
    one, two, _ = ids(inbox)
    for number in range(5):
        inbox.drop(update_install(one, n=number))
        inbox.drop({"webhook_event": "project_milestone_updated", "epc_install_id": one, "n": number})
    inbox.drop({"webhook_event": "submit_install", "id": str(one)})
    inbox.drop(update_install(two))
    report = inbox.ingest()
    assert inbox.states() == {"applied": 12}
    assert inbox.asked(f"/api/v3/installs/{one}") == 1
    assert inbox.asked(f"/api/v3/installs/{two}") == 1
    # Each install with its notes, and nothing else.
    assert report.requests == 4
    assert report.reasons["notice"]["applied"] == 12


def test_a_deals_read_serves_its_installs_events(inbox: Inbox) -> None:
    one = ids(inbox)[0]
    deal = inbox.world.installs.get(0).deal_id
    inbox.drop({"event": "deal.projectSubmitted", "payload": {"deal": {"id": deal}}})
    inbox.drop({"event": "deal.projectReceived", "payload": {"deal": {"id": deal.upper()}}})
    inbox.drop(update_install(one))
    inbox.drop({"webhook_event": "new_install_note", "epc_install_id": one})
    inbox.ingest()
    assert inbox.states() == {"applied": 4}
    assert inbox.asked(f"/api/v3/installs/find/{deal}") == 1
    assert inbox.asked(f"/api/v3/installs/{one}") == 0
    installs = inbox.rows("select distinct install_id from sync.webhook_events")
    assert installs == [(one,)]


def test_the_mirror_says_what_enerflo_says_now_and_not_what_payloads_say(polled: Inbox) -> None:
    one = ids(polled)[0]
    begin = len(polled.world.changes)
    polled.world.set_status(one, 4)
    first = events_of(polled.world, polled.world.changes[begin], random.Random(1))[0]
    polled.world.set_status(one, c.VOIDED)
    second = events_of(polled.world, polled.world.changes[begin + 1], random.Random(1))[0]
    # The later one arrives first.
    polled.drop(second.body, "1.json")
    polled.ingest()
    assert polled.install(one, "status_id", "observed_by") == (c.VOIDED, "webhook")
    polled.drop(first.body, "2.json")
    polled.ingest()
    assert polled.install(one, "status_id") == (c.VOIDED,)
    assert polled.states() == {"applied": 2}


def test_a_poll_that_began_later_is_not_overwritten(polled: Inbox) -> None:
    """The read's answer is stored after a poll that asked later has stored a newer one."""
    one = ids(polled)[0]
    polled.world.set_status(one, 4)

    def overtaken(request: Request, world: Any) -> None:
        if request.path == f"/api/v3/installs/{one}/notes":
            polled.api.before_request = None
            world.set_status(one, c.VOIDED)
            polled.clock.advance(30)
            polled.company.poll()

    polled.api.before_request = overtaken
    polled.drop(update_install(one))
    polled.ingest()
    assert polled.install(one, "status_id") == (c.VOIDED,)


def test_while_the_api_is_down_events_wait_and_are_applied_later(inbox: Inbox) -> None:
    for one in ids(inbox, 10):
        inbox.drop(update_install(one))
    inbox.fault("503@/*#1-9999")
    report = inbox.ingest()
    assert inbox.states() == {"received": 10}
    assert report.state == "partial"
    assert inbox.waiting() == []
    # It gives up after a few: a night's outage costs no thousands of requests.
    assert sum(inbox.api.requests.values()) < 40
    inbox.fault()
    for _ in range(3):
        inbox.later(20)
        inbox.ingest()
    assert inbox.states() == {"applied": 10}
    assert inbox.one("select count(*) from enerflo.installs") == 10
    assert inbox.last_run()[0] == "ok"


@pytest.mark.parametrize(
    "fault", ["429", "500", "502", "504", "dropped", "cut_body", "truncated_json", "answer_lost"]
)
def test_a_passing_fault_only_costs_time(inbox: Inbox, fault: str) -> None:
    one = ids(inbox)[0]
    inbox.drop(update_install(one))
    inbox.fault(f"{fault}@/api/v3/installs/{one}#1")
    inbox.ingest()
    inbox.later()
    inbox.ingest()
    assert inbox.states() == {"applied": 1}


@pytest.mark.parametrize("fault", ["success_false", "bare_string", "html_page"])
def test_a_refusal_that_passes_is_not_taken_for_the_record(inbox: Inbox, fault: str) -> None:
    one = ids(inbox)[0]
    inbox.drop(update_install(one))
    inbox.fault(f"{fault}@/api/v3/installs/{one}#1-99")
    inbox.ingest()
    assert inbox.one("select count(*) from enerflo.installs") == 0
    (state,) = inbox.states()
    assert state in ("received", "quarantined")


def test_a_404_of_an_unknown_record_is_asked_again_and_then_quarantined(inbox: Inbox) -> None:
    inbox.drop(update_install(999_999_999))
    report = inbox.ingest()
    assert report.state == "ok"
    assert inbox.states() == {"received": 1}
    asked = inbox.asked("/api/v3/installs/999999999")
    inbox.ingest(pause=0)
    inbox.later(30)
    inbox.ingest()
    assert inbox.states() == {"received": 1}
    assert inbox.asked("/api/v3/installs/999999999") > asked
    inbox.later(40)
    report = inbox.ingest()
    assert report.state == "partial"
    assert inbox.states() == {"quarantined": 1}
    assert list(inbox.reasons()) == ["not_found at installs"]
    asked = inbox.asked("/api/v3/installs/999999999")
    inbox.later(60)
    assert inbox.ingest().state == "ok"
    assert inbox.asked("/api/v3/installs/999999999") == asked


def test_an_unknown_record_that_appears_in_time_is_applied(inbox: Inbox) -> None:
    uuid = inbox.world.installs.get(0).deal_id
    inbox.drop({"event": "deal.projectReceived", "payload": {"deal": {"id": uuid}}})
    inbox.api.before_request = None
    real = inbox.api._route
    answering(inbox, f"/api/v3/installs/find/{uuid}", Response(404, {}, b'{"message":"No query results"}'))
    inbox.ingest()
    assert inbox.states() == {"received": 1}
    inbox.api._route = real  # type: ignore[method-assign]
    inbox.later(10)
    inbox.ingest()
    assert inbox.states() == {"applied": 1}


def test_without_patience_an_unknown_record_is_quarantined_at_once(inbox: Inbox) -> None:
    inbox.drop(update_install(999_999_999))
    inbox.ingest(not_found_for=timedelta(0))
    assert inbox.states() == {"quarantined": 1}


def test_a_wrong_key_fails_the_run_and_takes_everything_in(inbox: Inbox) -> None:
    for one in ids(inbox):
        inbox.drop(update_install(one))
    inbox.key = "not-the-key"
    with pytest.raises(AuthenticationError) as caught:
        inbox.ingest()
    assert "not-the-key" not in str(caught.value)
    assert inbox.last_run()[0] == "failed"
    assert inbox.states() == {"received": 3}
    assert inbox.waiting() == []
    assert len(inbox.archived()) == 3
    inbox.key = "sandbox-key"
    inbox.ingest()
    assert inbox.states() == {"applied": 3}
    assert inbox.copies() == [1, 1, 1]


NONSENSE = [b"{}", b"[]", b"null", b'"x"', b"5"]
IDLESS = [b'{"id":"x"}', b'{"id":null}', b'{"data":[1]}', b'{"id":[]}']


@pytest.mark.parametrize("answer", [*NONSENSE, *IDLESS])
def test_a_record_that_is_answered_with_nonsense_holds_no_other(inbox: Inbox, answer: bytes) -> None:
    one, two, three = ids(inbox)
    for install in (one, two, three):
        inbox.drop(update_install(install))
    answering(inbox, f"/api/v3/installs/{two}", Response(200, {"content-type": "application/json"}, answer))
    inbox.ingest()
    mirrored = {install for (install,) in inbox.rows("select install_id from enerflo.installs")}
    assert mirrored == {one, three}
    states = dict(inbox.rows("select install_id, state from sync.webhook_events"))  # type: ignore[arg-type]
    assert states[one] == states[three] == "applied"
    assert states[two] in ("received", "quarantined")


def test_an_install_answered_under_another_id_is_not_that_install(inbox: Inbox) -> None:
    one = ids(inbox)[0]
    other = inbox.world.rendered(1)
    answering(inbox, f"/api/v3/installs/{one}", Response(200, {"content-type": "application/json"}, other))
    inbox.drop(update_install(one))
    inbox.ingest()
    assert inbox.states() != {"applied": 1}


@pytest.mark.parametrize(
    "orders", [7, True, "abc", [5], [{"id": True}], [{"id": -5}], [{"id": "x"}], {"a": 1}, [[]]]
)
def test_senseless_orders_in_a_payload_hold_no_other_event(inbox: Inbox, orders: Any) -> None:
    """Where Enerflo lists no orders of an install, those of the payload are read one by one."""
    one, two, _ = ids(inbox)
    answering(inbox, f"/api/v3/installs/{one}/change-order-data", Response(404, {}, b"{}"))
    inbox.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": orders})
    inbox.drop(update_install(two))
    inbox.ingest()
    states = dict(inbox.rows("select install_id, state from sync.webhook_events"))  # type: ignore[arg-type]
    assert states[two] == "applied"
    assert states[one] in ("applied", "quarantined", "received")


def test_webhook_and_poll_in_turn_do_not_write_the_same_over_and_over(new_inbox: NewInbox) -> None:
    inbox = new_inbox(lean_lists=True)
    inbox.company.poll()
    one = ids(inbox)[0]
    inbox.world.set_status(one, 4)
    inbox.drop_changes(len(inbox.world.changes) - 1)
    inbox.ingest()
    inbox.company.poll()
    before = inbox.rows("select * from enerflo.install_versions order by install_id, first_seen_at")
    seen = inbox.rows("select install_id, observed_at, observed_by from enerflo.installs order by 1")
    for number in range(3):
        inbox.drop(update_install(one, n=number))
        assert inbox.ingest().resources["installs"]["applied"] == 0
        report = inbox.company.poll()
        assert report.resources["installs"]["applied"] == 0
    assert inbox.rows("select * from enerflo.install_versions order by install_id, first_seen_at") == before
    assert inbox.rows("select install_id, observed_at, observed_by from enerflo.installs order by 1") == seen
    inbox.company.assert_mirror_is_true()


def test_a_second_quiet_poll_after_a_webhook_writes_nothing(polled: Inbox) -> None:
    one = ids(polled)[0]
    polled.world.set_status(one, 4)
    polled.drop_changes(len(polled.world.changes) - 1)
    polled.ingest()
    polled.company.poll()
    report = polled.company.poll()
    assert report.applied == 0
    assert polled.install(one, "observed_by") == ("webhook",)


def test_no_more_records_are_read_than_the_run_may(inbox: Inbox) -> None:
    for one in ids(inbox, 6):
        inbox.drop(update_install(one))
    report = inbox.ingest(most=4)
    assert inbox.states() == {"applied": 4, "received": 2}
    assert "waiting, the next run's work" in report.reasons["notice"]
    assert inbox.ingest().state == "ok"
    assert inbox.states() == {"applied": 6}


def test_each_event_is_in_exactly_one_state_and_ends_applied(inbox: Inbox) -> None:
    rng = random.Random(5)
    inbox.company.poll()
    for _ in range(4):
        before = len(inbox.world.changes)
        inbox.world.step(60, 6)
        inbox.drop_changes(before, rng.randrange(1_000))
        inbox.fault(f"503@/*#{rng.randrange(1, 6)}-{rng.randrange(6, 20)}")
        inbox.ingest()
    inbox.fault()
    for _ in range(8):
        inbox.later()
        inbox.ingest()
    assert set(inbox.states()) <= {"applied", "ignored"}
    inbox.company.poll(full=True)
    inbox.company.assert_mirror_is_true()


def test_nothing_of_a_record_is_logged(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    mark = "quux.zanzibar@example.com"
    inbox.world.edit_customer(inbox.world.installs.get(0).customer_id, {"email": mark, "first_name": "Zanzi"})
    inbox.drop_changes(len(inbox.world.changes) - 1)
    one = ids(inbox)[0]
    inbox.drop(update_install(one))
    bad = Response(200, {}, json.dumps({"id": mark}).encode())
    answering(inbox, f"/api/v3/installs/{one}", bad)
    report = inbox.ingest()
    for word in (mark, "Zanzi"):
        assert word not in caplog.text
        assert word not in repr(report)


def test_an_event_of_a_newer_release_holds_no_other(inbox: Inbox) -> None:
    inbox.drop(update_install(inbox.world.install_id(0)))
    inbox.load()
    with inbox.warehouse.begin() as connection:
        connection.execute(sa.text("update sync.webhook_events set event = 'install.fromTheNextRelease'"))
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
