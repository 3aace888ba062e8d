"""The ten exchanges of the vendor's guide (design §2), each from one side to the other, end to end.

Enerflo's side is a served company, the CRM's the demo's tables; in between are the webhook drop, the mirror, a
plan that is approved, and its application. After each, nothing is left to do and nothing is written again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.changes import ChangeKind
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.kept import brought

DONE = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.fixture
def both(agreed: Desk) -> Desk:
    """An account in which both sides may be written, and agree on everything to begin with."""
    brought(agreed, _at_rest)
    return agreed


def _at_rest(agreed: Desk) -> None:
    agreed.settled()


def an_install(desk: Desk, status: str = "In progress") -> int:
    return desk.one(
        "select min(i.install_id) from enerflo.installs i where i.status_name = :status"
        " and (select m.completed_at from enerflo.milestones m where m.install_id = i.install_id"
        "      order by m.sequence desc limit 1) is null",
        status=status,
    )


def truth(desk: Desk, install_id: int) -> Any:
    return next(row for row in desk.world.truth.installs() if row.install_id == install_id)


def last_milestone(desk: Desk, install_id: int) -> int:
    return desk.one(
        "select milestone_id from enerflo.milestones where install_id = :i order by sequence desc limit 1",
        i=install_id,
    )


def received(desk: Desk, method: str, path: str) -> list[Any]:
    return [one.body for one in desk.world.received if (one.method, one.path) == (method, path)]


def test_exchange_1_1_a_lead_that_becomes_qualified_is_delivered_with_a_deal(both: Desk) -> None:
    both.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " deal_type_id, updated_at) values ('L-1', 'Ann', 'Lee', 'ann.lee@x.example', '(512) 555-0123',"
        " '1 Main St', 'Austin', 'texas', '78701', 'working', 3, now())"
    )
    both.settled()
    both.sql("update crm.leads set status = 'qualified', updated_at = now() where lead_id = 'L-1'")
    assert both.carried().parked == 0
    (body,) = received(both, "POST", "/api/v1/partner/action/lead/add")
    assert body["lead"]["integration_record_id"] == "L-1"
    assert (body["lead"]["state"], body["lead"]["mobile"]) == ("TX", "5125550123")
    assert body["lead"]["createDeal"] == 3
    customer_id = both.crm("leads", lead_id="L-1")["enerflo_customer_id"]
    customer = both.world.customer(customer_id)
    assert len(customer.deals) == 1
    both.settled()


def test_exchange_1_2_a_new_customer_becomes_a_lead_of_the_crm(both: Desk) -> None:
    values: dict[str, object] = {"first_name": "Bo", "last_name": "Ray", "email": "bo@x.example"}
    customer_id = both.world.add_lead(values, None)
    both.told("new_customer")
    both.carried()
    lead = both.crm("leads", enerflo_customer_id=customer_id)
    assert (lead["first_name"], lead["last_name"], lead["email"]) == ("Bo", "Ray", "bo@x.example")
    assert lead["lead_id"] == f"enerflo-{customer_id}"
    both.settled()


@pytest.mark.parametrize("event", ["deal.projectSubmitted", "deal.projectReceived"])
def test_exchange_2_a_submission_and_a_resubmission_reach_the_crm(both: Desk, event: str) -> None:
    install_id = both.world.create_install()
    both.told(event)
    both.carried()
    row = both.crm("installs", enerflo_install_id=install_id)
    assert row["panel_count"] == truth(both, install_id).panel_count
    assert row["deal_id"] == truth(both, install_id).deal_id
    both.world.void_install(install_id)
    both.told("update_install")
    both.carried()
    assert both.crm("installs", enerflo_install_id=install_id)["status"] == "Voided"
    both.world.resubmit_install(install_id, panel_count=17)
    both.told(event)
    both.carried()
    row = both.crm("installs", enerflo_install_id=install_id)
    assert (row["panel_count"], row["status"]) == (17, truth(both, install_id).status_name)
    # Its customer is new as well, and becomes a lead.
    run_poll(both.context)
    both.carried()
    both.settled()


def test_exchange_3_1_milestone_dates_of_the_crm_reach_enerflo(both: Desk) -> None:
    install_id = an_install(both)
    milestone_id = last_milestone(both, install_id) - 1
    both.sql(
        "update crm.milestones set started_at = :start, due_at = :due, completed_at = :done, updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=milestone_id,
        start=DONE.replace(day=1),
        due=DONE.replace(day=9),
        done=DONE,
    )
    both.carried()
    bodies = received(both, "PUT", f"/api/v3/installs/{install_id}/milestones/{milestone_id}")
    assert [set(body) for body in bodies] == [{"started_at", "due_at", "completed_at"}]
    state = both.world.installs.get(both.world.number_of(install_id))
    row = next(r for r in both.world.truth.milestone_rows(state) if r.milestone_id == milestone_id)
    assert (row.started_at, row.due_at, row.completed_at) == (DONE.replace(day=1), DONE.replace(day=9), DONE)
    both.settled()


def test_exchange_3_2_a_completion_at_enerflo_reaches_the_crm(both: Desk) -> None:
    install_id = an_install(both)
    milestone_id = last_milestone(both, install_id)
    both.world.set_milestone(install_id, milestone_id, {"completed": DONE})
    both.told("project_milestone_updated")
    both.carried()
    row = both.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone_id)
    assert row["completed_at"] == DONE
    both.settled()


def test_exchange_4_1_a_status_of_the_crm_reaches_enerflo_by_its_id(both: Desk) -> None:
    install_id = an_install(both)
    both.sql(
        "update crm.installs set status = 'on hold', updated_at = now() where enerflo_install_id = :i",
        i=install_id,
    )
    both.carried()
    assert received(both, "PUT", f"/api/v3/installs/{install_id}") == [{"status_id": c.ON_HOLD}]
    assert truth(both, install_id).status_name == "On Hold"
    both.settled()


def test_exchange_4_1_the_last_milestone_completed_in_the_crm_completes_the_install(both: Desk) -> None:
    install_id = an_install(both)
    both.sql(
        "update crm.milestones set completed_at = :done, updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=last_milestone(both, install_id),
        done=DONE,
    )
    both.carried()
    assert truth(both, install_id).status_name == "Completed"
    # The CRM's own status follows, as any change in Enerflo does.
    both.carried()
    assert both.crm("installs", enerflo_install_id=install_id)["status"] == "Completed"
    both.settled()


@pytest.mark.parametrize(("status_id", "name"), [(c.ON_HOLD, "On Hold"), (c.COMPLETED, "Completed")])
def test_exchange_4_2_a_status_of_enerflo_reaches_the_crm(both: Desk, status_id: int, name: str) -> None:
    install_id = an_install(both)
    both.world.set_status(install_id, status_id)
    both.told("update_install")
    both.carried()
    assert both.crm("installs", enerflo_install_id=install_id)["status"] == name
    both.settled()


def test_exchange_4_2_a_voided_install_is_voided_in_the_crm_and_not_deleted(both: Desk) -> None:
    install_id = an_install(both)
    both.world.void_install(install_id)
    both.told("update_install")
    both.carried()
    assert both.crm("installs", enerflo_install_id=install_id)["status"] == "Voided"
    both.settled()


def test_exchange_5_1_a_note_of_the_crm_appears_at_enerflo_once_with_its_author(both: Desk) -> None:
    install_id = an_install(both)
    both.sql(
        "insert into crm.notes values ('N-1', :i, null, 'Ann Smith', 'Gate code is needed', now(), now())",
        i=install_id,
    )
    both.carried()
    (body,) = received(both, "POST", f"/api/v3/installs/{install_id}/notes")
    assert "Gate code is needed" in body["note"]
    assert "Ann Smith" in body["note"]
    assert both.crm("notes", note_id="N-1")["enerflo_note_id"] is not None
    both.settled()
    assert both.one("select count(*) from crm.notes where body like '%Gate code%'") == 1


def test_exchange_5_2_a_note_of_enerflo_appears_in_the_crm_once(both: Desk) -> None:
    install_id = an_install(both)
    note_id = both.world.add_note(install_id, "Customer prefers mornings", author_id=c.USERS[0].user_id)
    both.told("new_install_note")
    both.carried()
    row = both.crm("notes", enerflo_note_id=note_id)
    assert (row["enerflo_install_id"], row["body"]) == (install_id, "Customer prefers mornings")
    both.settled()
    assert received(both, "POST", f"/api/v3/installs/{install_id}/notes") == []


def test_exchange_6_a_signed_change_order_reaches_the_crm_with_its_adders(both: Desk) -> None:
    found: Any = None
    for _ in range(60):
        changes = both.world.step(15, 1, (ChangeKind.CHANGE_ORDER_SIGNED,))
        if changes and changes[-1].kind is ChangeKind.CHANGE_ORDER_SIGNED:
            found = changes[-1]
            break
    order = next(
        row for row in both.world.truth.change_orders() if row.change_order_id == found.change_order_id
    )
    both.told("signed_change_order")
    both.carried()
    row = both.crm("change_orders", enerflo_change_order_id=order.change_order_id)
    said = ("panel_type", "panel_count", "battery_configuration", "status", "signed_at")
    assert tuple(row[name] for name in said) == (
        *(order.panel_type_new, order.panel_count_new, order.battery_new),
        *(order.status, order.signed_at),
    )
    adders = [
        {"name": adder.name, "cost": float(adder.cost), "quantity": float(adder.quantity)}
        for adder in both.world.truth.adders()
        if (adder.change_order_id, adder.side) == (order.change_order_id, "new")
    ]
    assert row["adders"] == adders
    both.settled()
