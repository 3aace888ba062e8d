"""Plans that ended with something left to do: its end is in the ledger, and the same content is another plan."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.sync.plan_end import BY_A_LATER_PLAN, SUPERSEDED
from enerflo_sync.sync.plan_report import PlanState
from tests.sync.conftest import Desk

FIRST = "select min(enerflo_install_id) from crm.installs"


@pytest.fixture
def agreeing(desk: Desk) -> Desk:
    """An account that writes on both sides, whose first plan was applied: nothing differs."""
    desk.switched_on("both")
    desk.carried()
    return desk


def panels(desk: Desk, count: int) -> int:
    install = desk.one(FIRST)
    desk.sql(
        "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = :i",
        n=count,
        i=install,
    )
    return int(install)


def test_what_moved_and_moved_back_is_done_by_another_plan(agreeing: Desk) -> None:
    install = panels(agreeing, 99)
    first = agreeing.plan()
    panels(agreeing, 98)
    assert run_apply(agreeing.context, first.plan_hash, approved_by="Pat").moved == 1
    panels(agreeing, 99)
    second = agreeing.plan()
    assert (second.state, second.change_count) == (PlanState.OPEN, 1)
    assert second.plan_hash != first.plan_hash
    assert agreeing.plan().plan_hash == second.plan_hash
    assert run_apply(agreeing.context, second.plan_hash, approved_by="Pat").applied == 1
    assert agreeing.crm("installs", enerflo_install_id=install)["panel_count"] != 99
    assert [row["decision"] for row in agreeing.ledger(field="panel_count")] == ["moved", "applied"]


def test_an_approved_plan_that_another_one_replaces_ends_in_the_ledger(agreeing: Desk) -> None:
    panels(agreeing, 99)
    first = agreeing.plan()
    run_approve(agreeing.context, first.plan_hash, by="Pat")
    panels(agreeing, 98)
    agreeing.plan()
    (row,) = agreeing.ledger(plan_hash=first.plan_hash)
    assert (row["decision"], row["reason"]) == ("superseded", SUPERSEDED)
    assert row["decided_by"] == BY_A_LATER_PLAN
    (state,) = agreeing.sql(
        "select state, decided_by from sync.plans where plan_hash = :h", h=first.plan_hash
    )
    assert dict(state) == {"state": "superseded", "decided_by": "Pat"}


def test_what_was_replaced_and_is_due_again_is_done(agreeing: Desk) -> None:
    install = panels(agreeing, 99)
    first = agreeing.plan()
    run_approve(agreeing.context, first.plan_hash, by="Pat")
    panels(agreeing, 98)
    agreeing.plan()
    panels(agreeing, 99)
    third = agreeing.plan()
    assert third.plan_hash != first.plan_hash
    assert run_apply(agreeing.context, third.plan_hash, approved_by="Pat").applied == 1
    assert agreeing.crm("installs", enerflo_install_id=install)["panel_count"] != 99


def test_the_same_change_of_another_record_is_another_plan(agreeing: Desk) -> None:
    (lead,) = agreeing.sql("select * from crm.leads where enerflo_customer_id is not null order by 1 limit 1")
    edit = "update crm.leads set email = 'new@example.com', enerflo_customer_id = :c, updated_at = now()"
    agreeing.sql(f"{edit} where lead_id = :id", c=lead["enerflo_customer_id"], id=lead["lead_id"])
    first = agreeing.plan()
    # Enerflo has the same person twice, and somebody says in the CRM which of the two it is.
    agreeing.sql(
        "insert into enerflo.customers (account, customer_id, first_name, last_name, email, mobile, address,"
        "  city, state, zip, observed_at, observed_by)"
        " select account, 990001, first_name, last_name, email, mobile, address, city, state, zip,"
        "  observed_at, observed_by from enerflo.customers where customer_id = :id",
        id=lead["enerflo_customer_id"],
    )
    agreeing.sql(f"{edit} where lead_id = :id", c=990001, id=lead["lead_id"])
    second = agreeing.plan()
    assert second.plan_hash != first.plan_hash
    named = "select enerflo_key from sync.plan_changes where plan_hash = :p and field = 'email'"
    assert agreeing.one(named, p=second.plan_hash) == {"customer_id": 990001}
