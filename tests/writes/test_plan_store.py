"""Plans that ended with something left to do: its end is in the ledger, and the same content is another plan."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.plan.end import BY_A_LATER_PLAN, SUPERSEDED
from enerflo_sync.plan.report import PlanState
from tests.writes.conftest import Desk

FIRST = "select min(enerflo_install_id) from crm.installs"


def panels(desk: Desk, count: int) -> int:
    install = desk.one(FIRST)
    desk.sql(
        "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = :i",
        n=count,
        i=install,
    )
    return int(install)


def test_what_moved_and_moved_back_is_done_by_another_plan(agreed: Desk) -> None:
    install = panels(agreed, 99)
    first = agreed.plan()
    panels(agreed, 98)
    assert run_apply(agreed.context, first.plan_hash, approved_by="Pat").moved == 1
    panels(agreed, 99)
    second = agreed.plan()
    assert (second.state, second.change_count) == (PlanState.OPEN, 1)
    assert second.plan_hash != first.plan_hash
    assert agreed.plan().plan_hash == second.plan_hash
    assert run_apply(agreed.context, second.plan_hash, approved_by="Pat").applied == 1
    assert agreed.crm("installs", enerflo_install_id=install)["panel_count"] != 99
    assert [row["decision"] for row in agreed.ledger(field="panel_count")] == ["moved", "applied"]


def test_an_approved_plan_that_another_one_replaces_ends_in_the_ledger(agreed: Desk) -> None:
    panels(agreed, 99)
    first = agreed.plan()
    run_approve(agreed.context, first.plan_hash, by="Pat")
    panels(agreed, 98)
    agreed.plan()
    (row,) = agreed.ledger(plan_hash=first.plan_hash)
    assert (row["decision"], row["reason"]) == ("superseded", SUPERSEDED)
    assert row["decided_by"] == BY_A_LATER_PLAN
    (state,) = agreed.sql("select state, decided_by from sync.plans where plan_hash = :h", h=first.plan_hash)
    assert dict(state) == {"state": "superseded", "decided_by": "Pat"}


def test_what_was_replaced_and_is_due_again_is_done(agreed: Desk) -> None:
    install = panels(agreed, 99)
    first = agreed.plan()
    run_approve(agreed.context, first.plan_hash, by="Pat")
    panels(agreed, 98)
    agreed.plan()
    panels(agreed, 99)
    third = agreed.plan()
    assert third.plan_hash != first.plan_hash
    assert run_apply(agreed.context, third.plan_hash, approved_by="Pat").applied == 1
    assert agreed.crm("installs", enerflo_install_id=install)["panel_count"] != 99


def test_the_same_change_of_another_record_is_another_plan(agreed: Desk) -> None:
    (lead,) = agreed.sql("select * from crm.leads where enerflo_customer_id is not null order by 1 limit 1")
    edit = "update crm.leads set email = 'new@example.com', enerflo_customer_id = :c, updated_at = now()"
    agreed.sql(f"{edit} where lead_id = :id", c=lead["enerflo_customer_id"], id=lead["lead_id"])
    first = agreed.plan()
    # Enerflo has the same person twice, and somebody says in the CRM which of the two it is.
    agreed.sql(
        "insert into enerflo.customers (account, customer_id, first_name, last_name, email, mobile, address,"
        "  city, state, zip, observed_at, observed_by)"
        " select account, 990001, first_name, last_name, email, mobile, address, city, state, zip,"
        "  observed_at, observed_by from enerflo.customers where customer_id = :id",
        id=lead["enerflo_customer_id"],
    )
    agreed.sql(f"{edit} where lead_id = :id", c=990001, id=lead["lead_id"])
    second = agreed.plan()
    assert second.plan_hash != first.plan_hash
    named = "select enerflo_key from sync.plan_changes where plan_hash = :p and field = 'email'"
    assert agreed.one(named, p=second.plan_hash) == {"customer_id": 990001}
