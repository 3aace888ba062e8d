"""Exchange 6 from the event to the CRM's row: panel type, panel count, battery and adders; held, and let go."""

from __future__ import annotations

import random
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.changes import Change, ChangeKind
from enerflo_sandbox.payloads import events_of
from enerflo_sandbox.state import Adder, ChangeOrderState
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.quality import run_quality, run_release
from tests.writes.conftest import SHIPPED, Desk

CONCIERGE = Adder(986, "Customer Concierge Fee", 300, 1)
UPGRADE = Adder(987, "Main Panel Upgrade", 2_800, 2)


@pytest.fixture
def both(agreed: Desk) -> Desk:
    """Writing switched on, and both sides agree."""
    agreed.switched_on("both", ("nulling: true", "nulling: false"))
    return agreed


def whole_order(desk: Desk, battery: str) -> ChangeOrderState:
    """Sign an order that changes all four: panel type, panel count, battery and adders."""
    state = desk.a_site()
    panels = [panel.name for panel in c.PANELS]
    return desk.signs(
        panel=(panels[state.panel], panels[state.panel - 1]),
        battery=(state.battery, battery),
        adders_old=(CONCIERGE,),
        adders_new=(CONCIERGE, UPGRADE),
    )


def assert_whole(row: Any, order: ChangeOrderState, battery: str) -> None:
    assert order.panel is not None
    assert order.panel_count is not None
    assert (row["panel_type"], row["panel_count"]) == (order.panel[1], order.panel_count[1])
    assert row["battery_configuration"] == battery
    assert row["adders"] == [
        {"name": "Customer Concierge Fee", "cost": 300.0, "quantity": 1.0},
        {"name": "Main Panel Upgrade", "cost": 2_800.0, "quantity": 2.0},
    ]


def told_again(desk: Desk, order: ChangeOrderState) -> None:
    """Have Enerflo tell of the order once more, as it is now."""
    state = desk.world.installs.get(order.install_number)
    change = Change(
        ChangeKind.CHANGE_ORDER_SIGNED,
        desk.world.now(),
        state.install_id,
        state.deal_id,
        state.customer_id,
        change_order_id=order.change_order_id,
    )
    (event,) = (
        one for one in events_of(desk.world, change, random.Random(2)) if one.name == "signed_change_order"
    )
    (desk.folder / "drop" / "again.json").write_bytes(event.body)
    assert run_ingest(desk.context).state == "ok"


def held_at_the_gate(desk: Desk, order: ChangeOrderState, check: str) -> str:
    """Assert that the order is held by one check, that nothing of it is in the CRM; return the item's id."""
    report = run_quality(desk.context, with_expectations=False)
    [failed] = [one for one in report.failing if one.change_order_id == order.change_order_id]
    assert (failed.state, [one.check for one in failed.failing if one.severity == "hold"]) == (
        "held",
        [check],
    )
    desk.kept_out(order)
    assert desk.order_in_crm(order) is None
    assert failed.item_id is not None
    return failed.item_id


def test_exchange_6_from_the_event_to_the_row_of_the_crm(both: Desk) -> None:
    order = whole_order(both, "2 x Powerwall 3")
    assert run_ingest(both.context).state == "ok"
    # Great Expectations counts it as well, as in the DAG.
    report = run_quality(both.context)
    assert (report.held, report.not_validated) == (0, 0)
    assert both.order_in_crm(order) is None
    key = {"enerflo_change_order_id": order.change_order_id}
    plans = run_plan(both.context)
    planned = [one for plan in plans for one in both.changes(plan, table_name="change_orders", key=key)]
    assert {one.op for one in planned} == {"insert"}
    for plan in plans:
        assert run_apply(both.context, plan.plan_hash, approved_by="Pat").parked == 0
    assert_whole(both.order_in_crm(order), order, "2 x Powerwall 3")
    install = both.crm("installs", enerflo_install_id=both.world.install_id(order.install_number))
    assert (install["panel_count"], install["battery_configuration"]) == (
        *((order.panel_count or (0, 0))[1], "2 x Powerwall 3"),
    )
    rows = [row for row in both.ledger(table_name="change_orders") if row["key"] == key]
    assert {(row["decision"], row["decided_by"]) for row in rows} == {("applied", "Pat")}
    both.settled()


def test_exchange_6_held_then_released_by_a_person_with_a_reason(both: Desk) -> None:
    order = whole_order(both, "two big ones")
    run_ingest(both.context)
    item = held_at_the_gate(both, order, "battery_form")
    assert run_release(both.context, [item], reason="the vendor calls it so", by="Pat") == 1
    both.carried()
    assert_whole(both.order_in_crm(order), order, "two big ones")
    [row] = both.ledger(decision="released")
    assert (row["key"], row["decided_by"]) == (
        {"enerflo_change_order_id": order.change_order_id},
        "Pat",
    )
    assert "battery_form" in row["reason"]
    assert "the vendor calls it so" in row["reason"]
    both.settled()


def test_exchange_6_held_then_corrected_by_an_order_that_a_webhook_tells_of(both: Desk) -> None:
    order = whole_order(both, "two big ones")
    run_ingest(both.context)
    item = held_at_the_gate(both, order, "battery_form")
    order.battery = ((order.battery or (None, None))[0], "2 x Powerwall 3")
    told_again(both, order)
    both.carried()
    assert_whole(both.order_in_crm(order), order, "2 x Powerwall 3")
    [row] = both.sql("select state, decided_by from sync.quarantine where item_id = :i", i=item)
    assert (row["state"], row["decided_by"]) == ("replayed", None)


def test_exchange_6_held_then_let_go_by_a_changed_limit(both: Desk) -> None:
    order = whole_order(both, "14 x Powerwall 3")
    run_ingest(both.context)
    item = held_at_the_gate(both, order, "battery_count_range")
    shipped = (SHIPPED.parent / "change_orders.yaml").read_text()
    assert "    at_most: 12\n" in shipped
    (both.folder / "change_orders.yaml").write_text(shipped.replace("    at_most: 12\n", "    at_most: 16\n"))
    both.carried()
    assert_whole(both.order_in_crm(order), order, "14 x Powerwall 3")
    [row] = both.sql("select state from sync.quarantine where item_id = :i", i=item)
    assert row["state"] == "replayed"
