"""Rows that one side lacks: under which key each is made, and when that is left to a person."""

from __future__ import annotations

import pytest

from enerflo_sync.sync.plan_report import PlanReport
from tests.sync.conftest import Desk

_CUSTOMER = """insert into enerflo.customers (account, customer_id, first_name, last_name, email, address,
  integration_record_id, observed_at, observed_by)
values ('default', :id, :first_name, 'Lee', :email, :address, :key, now() - interval '2 hours', 'poll')"""


def tells_of(desk: Desk, customer_id: int, key: str, **columns: str) -> None:
    """Have Enerflo know a further customer under a lead's key."""
    usual = {"first_name": "Ann", "email": "ann@example.com", "address": "1 A St"}
    desk.sql(_CUSTOMER, id=customer_id, key=key, **usual | columns)


def questions(desk: Desk, plan: PlanReport) -> dict[int, tuple[str, str]]:
    """Return cause and reason of what a plan leaves to a person, by the customer."""
    return {one.key["enerflo_customer_id"]: (one.cause, one.reason) for one in desk.undecided(plan)}


@pytest.fixture
def agreeing(desk: Desk) -> Desk:
    """An account that writes to the CRM, whose first plan was applied: nothing differs."""
    desk.switched_on("crm")
    desk.carried()
    return desk


SHARED = ("duplicate_identity", "another row has, or would get, the key that on_insert makes for it")


def test_records_that_would_get_one_key_are_left_to_a_person(agreeing: Desk) -> None:
    tells_of(agreeing, 900001, "X-1")
    tells_of(agreeing, 900002, "X-1", first_name="Bob", email="bob@example.com", address="2 B St")
    tells_of(agreeing, 900003, "X-3")
    plan = agreeing.plan()
    assert questions(agreeing, plan) == {900001: SHARED, 900002: SHARED}
    assert {change.key["lead_id"] for change in agreeing.changes(plan)} == {"X-3"}


def test_a_record_whose_key_another_record_has_in_the_crm_is_left_to_a_person(agreeing: Desk) -> None:
    tells_of(agreeing, 900001, "X-1")
    agreeing.carried()
    tells_of(agreeing, 900002, "X-1", first_name="Bob")
    for _ in range(2):
        plan = agreeing.plan()
        assert (plan.change_count, questions(agreeing, plan)) == (0, {900002: SHARED})
    assert agreeing.crm("leads", lead_id="X-1")["enerflo_customer_id"] == 900001
