"""Exchange 6 with the gate: a bad change order is held from plan and CRM, and goes on when it may."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import run_release
from enerflo_sync.jobs.quarantine import run_dismiss
from enerflo_sync.plan.decide import MAKE_DECIDED
from enerflo_sync.plan.held import hold_checked
from tests.writes.conftest import Desk


@pytest.fixture
def both(agreed: Desk) -> Desk:
    """Writing switched on, the first plans applied."""
    agreed.switched_on("both", ("nulling: true", "nulling: false"))
    return agreed


def signed(desk: Desk, panel_count: int) -> tuple[int, int]:
    """Sign an order for so many panels, have a webhook tell of it, and return its id and its install's."""
    state = desk.a_site()
    order = desk.signs(panel_count=(state.panel_count, panel_count))
    assert run_ingest(desk.context).state == "ok"
    return order.change_order_id, state.install_id


def in_crm(desk: Desk, order_id: int) -> list[Any]:
    return desk.sql("select * from crm.change_orders where enerflo_change_order_id = :id", id=order_id)


def test_exchange_6_held_and_released_by_a_person(both: Desk) -> None:
    order_id, install_id = signed(both, 900)
    plan = both.plan()
    key = {"enerflo_change_order_id": order_id}
    [question] = [one for one in both.undecided(plan) if one.key == key]
    assert question.reason == "held: The new panel count cannot be right (panel_count_range)"
    assert question.cause == "quarantined"
    assert not both.changes(plan, table_name="change_orders", key=key)
    # The install's own fields go on.
    both.carried()
    assert both.crm("installs", enerflo_install_id=install_id)["panel_count"] == 900
    assert in_crm(both, order_id) == []
    both.plan()
    [held] = both.ledger(decision="held")
    assert (held["key"], held["decided_by"], held["op"]) == (key, "the change-order checks", "insert")
    assert "panel_count_range" in held["reason"]

    [item] = both.sql("select * from sync.quarantine where kind = 'change_order' and state = 'open'")
    assert run_release(both.context, [item["item_id"]], reason="a school's roof", by="Pat") == 1
    both.carried()
    [row] = in_crm(both, order_id)
    assert row["panel_count"] == 900
    [released] = both.ledger(decision="released")
    assert (released["key"], released["decided_by"]) == (key, "Pat")
    both.settled()
    told = run_explain(both.context, "change-order", str(order_id))
    assert "Pat" in str(told)


def test_exchange_6_held_and_corrected(both: Desk) -> None:
    order_id, _ = signed(both, 900)
    both.carried()
    assert in_crm(both, order_id) == []
    order = both.world.change_orders.get(order_id)
    assert order is not None
    order.panel_count = (order.panel_count or (0, 0))[0], 40
    run_poll(both.context)
    both.carried()
    [row] = in_crm(both, order_id)
    assert row["panel_count"] == 40


def test_an_order_that_is_held_after_its_plan_was_made_is_not_written(both: Desk) -> None:
    order_id, _ = signed(both, 40)
    plan = run_plan(both.context)[-1]
    assert both.changes(plan, table_name="change_orders", key={"enerflo_change_order_id": order_id})
    both.sql(
        "update enerflo.change_orders set panel_count_new = 900, observed_at = now() where change_order_id = :i",
        i=order_id,
    )
    report = run_apply(both.context, plan.plan_hash, approved_by="Pat")
    assert report.moved > 0
    [why] = report.reasons["moved"]
    assert "panel_count_range" in why
    assert in_crm(both, order_id) == []


def test_an_order_whose_install_turns_out_to_be_voided_after_its_plan_was_made_is_not_written(
    both: Desk,
) -> None:
    order_id, _ = signed(both, 40)
    plan = run_plan(both.context)[-1]
    assert both.changes(plan, table_name="change_orders", key={"enerflo_change_order_id": order_id})
    # Only now a poll reads the install, which was voided before the order was signed.
    both.sql(
        "update enerflo.installs i set status_name = 'Voided', updated_at = o.signed_at - interval '1 hour',"
        " observed_at = now() from enerflo.change_orders o"
        " where o.change_order_id = :order and i.install_id = o.install_id",
        order=order_id,
    )
    report = run_apply(both.context, plan.plan_hash, approved_by="Pat")
    assert in_crm(both, order_id) == []
    [why] = report.reasons["moved"]
    assert "install_not_voided" in why


def test_a_dismissed_order_is_kept_from_the_crm_without_a_question(both: Desk) -> None:
    order_id, _ = signed(both, 900)
    both.plan()
    [item] = both.sql("select item_id from sync.quarantine where kind = 'change_order' and state = 'open'")
    run_dismiss(both.context, items=[item["item_id"]], reason="a mistake", by="Pat")
    plan = both.plan()
    key = {"enerflo_change_order_id": order_id}
    assert not [one for one in both.undecided(plan) if one.key == key]
    both.carried()
    assert in_crm(both, order_id) == []


def test_a_new_order_that_was_not_checked_yet_is_one_question_whatever_it_says(both: Desk) -> None:
    held, free = signed(both, 40)[0], signed(both, 41)[0]
    both.plan()
    both.sql("delete from sync.change_order_facts where change_order_id = :id", id=held)
    fields = ("status", "panel_count", "adders")
    with both.engine.begin() as connection:
        connection.exec_driver_sql(MAKE_DECIDED)
        connection.exec_driver_sql(
            "insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, after, policy, cause, rule)"
            " select 'to_crm', 'change_orders', k, k, 'insert', f, '1', 'enerflo', 'missing_in_crm', 'create'"
            " from unnest(%(ids)s::bigint[]) i, jsonb_build_object('change_order_id', i) k, unnest(%(fields)s::text[]) f",
            {"ids": [held, free], "fields": list(fields)},
        )
        hold_checked(connection, both.context.account)
        rows = connection.exec_driver_sql(
            "select (key ->> 'change_order_id')::bigint as id, outcome, field, reason from pg_temp.decided"
        ).all()
    assert [row[1:] for row in rows if row.id == held] == [("review", None, "held: it was not checked yet")]
    assert {row[1:] for row in rows if row.id == free} == {("to_crm", field, None) for field in fields}
