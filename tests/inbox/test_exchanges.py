"""The exchanges that Enerflo begins (design §2): something happens there, a payload is dropped, the mirror follows."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.exchange import Response
from enerflo_sandbox.payloads import events_of
from tests.inbox.conftest import Inbox, answering, sample

DONE = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def told(inbox: Inbox, event: str, seed: int = 1) -> bool:
    """Drop that event of the company's last change, and only it; False where there is none."""
    events = events_of(inbox.world, inbox.world.changes[-1], random.Random(seed))
    bodies = [one.body for one in events if one.name == event]
    for body in bodies:
        inbox.drop(body)
    return bool(bodies)


def applied(inbox: Inbox) -> None:
    report = inbox.ingest()
    assert report.state == "ok", report.reasons
    assert set(inbox.states()) == {"applied"}
    assert inbox.waiting() == []


def evidence_is_archived(inbox: Inbox, install_id: int) -> None:
    uris = inbox.rows(
        "select evidence from enerflo.install_versions where install_id = :i and observed_by = 'webhook'",
        i=install_id,
    )
    assert uris
    for (uri,) in uris:
        assert uri.partition("#")[0].startswith(str(inbox.archive))


@pytest.mark.parametrize("event", ["new_customer", "customer.created"])
def test_exchange_1_2_a_new_customer(polled: Inbox, event: str) -> None:
    for number in range(20):
        values: dict[str, object] = {
            "first_name": "Ann",
            "last_name": f"Lee{number}",
            "email": f"ann{number}@x.example",
        }
        lead = polled.world.add_lead(values, None)
        if told(polled, event):
            break
    else:
        pytest.skip("the company has no customer of that kind")
    polled.ingest()
    # Some copies come without the customer's data (REFERENCE.md §11).
    assert polled.states().keys() <= {"applied", "ignored"}
    row = polled.rows(
        "select first_name, last_name, observed_by from enerflo.customers where customer_id = :i", i=lead
    )
    assert row == [("Ann", f"Lee{number}", "webhook")]


@pytest.mark.parametrize("event", ["update_customer", "customer.updated.v2"])
def test_exchange_1_2_a_customer_is_edited(polled: Inbox, event: str) -> None:
    for number in range(12):
        customer = polled.world.installs.get(number).customer_id
        polled.world.edit_customer(customer, {"email": f"new{number}@x.example", "city": "Elsewhere"})
        if told(polled, event):
            break
    applied(polled)
    row = polled.rows(
        "select email, city, observed_by from enerflo.customers where customer_id = :i", i=customer
    )
    assert row == [(f"new{number}@x.example", "Elsewhere", "webhook")]


def test_exchange_1_2_the_vendors_sample_of_a_new_customer(polled: Inbox) -> None:
    customer = polled.world.add_lead(
        {"first_name": "Test", "last_name": "RCustomer", "email": "t@x.example"}, None
    )
    polled.drop({**sample("new_customer"), "id": customer, "email": "t@x.example"})
    applied(polled)
    row = polled.rows(
        "select last_name, observed_by from enerflo.customers where customer_id = :i", i=customer
    )
    assert row == [("RCustomer", "webhook")]


def test_exchange_1_2_the_vendors_sample_of_customer_created(inbox: Inbox) -> None:
    inbox.drop(sample("customer.created"))
    inbox.ingest()
    # Nobody here knows that uuid: asked for again, and never dropped.
    assert inbox.states() == {"received": 1}


@pytest.mark.parametrize(
    "event", ["new_install", "submit_install", "deal.projectSubmitted", "deal.projectReceived"]
)
def test_exchange_2_a_submission(polled: Inbox, event: str) -> None:
    one = polled.world.create_install()
    assert told(polled, event)
    applied(polled)
    truth = next(row for row in polled.world.truth.installs() if row.install_id == one)
    columns = ("deal_id", "status_name", "panel_type", "panel_count", "observed_by")
    assert polled.install(one, *columns) == (
        truth.deal_id,
        truth.status_name,
        truth.panel_type,
        truth.panel_count,
        "webhook",
    )
    evidence_is_archived(polled, one)
    designs = polled.rows("select panel_count, event from enerflo.submissions where install_id = :i", i=one)
    assert len(designs) == (1 if event.startswith("deal.") else 0)
    for count, name in designs:
        assert name == event
        assert count == truth.panel_count


def test_exchange_2_the_real_payload(polled: Inbox) -> None:
    body = sample("deal.projectSubmitted")
    body["payload"]["deal"]["id"] = polled.world.installs.get(2).deal_id
    polled.drop(body)
    applied(polled)
    row = polled.rows("select install_id, panel_count, postal_code, gross_cost from enerflo.submissions")
    assert [tuple(map(str, one)) for one in row] == [
        (str(polled.world.install_id(2)), "38", "50000", "62076")
    ]


def test_exchange_2_a_restored_install(polled: Inbox) -> None:
    one = polled.world.install_id(1)
    polled.world.void_install(one)
    polled.company.poll()
    polled.world.resubmit_install(one, panel_count=27)
    assert told(polled, "restore_install")
    applied(polled)
    status = polled.world.status_name(c.IN_PROGRESS)
    assert polled.install(one, "status_name", "panel_count", "observed_by") == (status, 27, "webhook")


@pytest.mark.parametrize("seed", range(4))
def test_exchange_3_2_a_milestone_is_edited(polled: Inbox, seed: int) -> None:
    one = polled.world.install_id(seed)
    milestone = next(iter(c.MILESTONE_POSITION))
    polled.world.set_milestone(one, milestone, {"completed": DONE})
    assert told(polled, "project_milestone_updated", seed)
    applied(polled)
    row = polled.rows(
        "select completed_at, observed_by from enerflo.milestones where install_id = :i and milestone_id = :m",
        i=one,
        m=milestone,
    )
    assert row == [(DONE, "webhook")]


@pytest.mark.parametrize("seed", range(4))
def test_exchange_4_2_a_status_in_both_shapes(polled: Inbox, seed: int) -> None:
    one = polled.world.install_id(seed)
    polled.world.set_status(one, 4)
    assert told(polled, "update_install", seed)
    applied(polled)
    assert polled.install(one, "status_id", "status_name", "observed_by") == (
        4,
        polled.world.status_name(4),
        "webhook",
    )
    evidence_is_archived(polled, one)


def test_exchange_4_2_the_real_payload_and_the_flat_one(polled: Inbox) -> None:
    one, two = polled.world.install_id(0), polled.world.install_id(1)
    polled.world.void_install(one)
    polled.world.void_install(two)
    polled.drop({**sample("update_install"), "id": one})
    polled.drop(
        {"webhook_event": "update_install", "id": two, "status_id": 323, "epc_company_id": 1, "survey_id": 2}
    )
    applied(polled)
    # What counts is the API's answer, not the payload's status 323.
    assert polled.install(one, "status_id") == polled.install(two, "status_id") == (c.VOIDED,)


@pytest.mark.parametrize("seed", range(6))
def test_exchange_5_2_a_note_is_written(polled: Inbox, seed: int) -> None:
    one = polled.world.install_id(seed)
    note = polled.world.add_note(one, "Roof is <b>fine</b>'; --")
    assert told(polled, "new_install_note", seed)
    applied(polled)
    row = polled.rows("select install_id, body, observed_by from enerflo.notes where note_id = :n", n=note)
    assert row == [(one, "Roof is <b>fine</b>'; --", "webhook")]


def test_exchange_5_2_without_an_endpoint_for_one_installs_notes(polled: Inbox) -> None:
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}/notes", Response(404, {}, b'{"message":"Not Found"}'))
    note = polled.world.add_note(one, "Call back")
    assert told(polled, "new_install_note")
    polled.ingest()
    row = polled.rows("select body, observed_by from enerflo.notes where note_id = :n", n=note)
    assert row == [("Call back", "webhook")]


def test_exchange_6_a_signed_change_order(polled: Inbox) -> None:
    for _ in range(30):
        changes: list[Any] = polled.world.step(15, 1, (ChangeKind.CHANGE_ORDER_SIGNED,))
        if changes and changes[-1].kind is ChangeKind.CHANGE_ORDER_SIGNED:
            break
    change = changes[-1]
    assert told(polled, "signed_change_order")
    applied(polled)
    truth = next(
        row for row in polled.world.truth.change_orders() if row.change_order_id == change.change_order_id
    )
    columns = [name for name in truth._fields if name not in ("change_order_id",)]
    row = polled.rows(
        f"select {', '.join(columns)}, observed_by from enerflo.change_orders where change_order_id = :o",
        o=change.change_order_id,
    )
    assert row == [(*(getattr(truth, name) for name in columns), "webhook")]
    adders = {
        tuple(row) for row in polled.world.truth.adders() if row.change_order_id == change.change_order_id
    }
    stored = polled.rows(
        "select count(*) from enerflo.change_order_adders where change_order_id = :o",
        o=change.change_order_id,
    )
    assert stored == [(len(adders),)]
    install = next(row for row in polled.world.truth.installs() if row.install_id == change.install_id)
    assert polled.install(install.install_id, "panel_type", "panel_count", "battery_configuration") == (
        install.panel_type,
        install.panel_count,
        install.battery_configuration,
    )


def test_a_day_of_the_company_reaches_the_mirror_by_webhooks_alone(polled: Inbox) -> None:
    before = len(polled.world.changes)
    polled.world.step(24 * 60, 60)
    polled.drop_changes(before)
    polled.ingest()
    polled.later()
    polled.ingest()
    polled.company.poll(full=True)
    polled.company.assert_mirror_is_true()
