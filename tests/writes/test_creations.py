"""Rows that one side lacks: under which key each is made, and when that is left to a person."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

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
def agreeing(agreed: Desk) -> Desk:
    """An account that writes to the CRM, whose first plan was applied: nothing differs."""
    agreed.switched_on("crm")
    return agreed


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


NO_KEY = "no key can be made for it (on_insert)"
_NOTE = """insert into enerflo.notes (account, note_id, install_id, author_id, body, created_at, observed_at,
  observed_by)
values ('default', :id, :install, 1, :body, now(), now() - interval '2 hours', 'poll')"""


@pytest.mark.parametrize("type_", ["varchar(12)", "char(12)"])
def test_a_key_that_is_too_long_for_its_column_is_never_cut(desk: Desk, type_: str) -> None:
    desk.sql("delete from crm.notes; delete from enerflo.notes")
    desk.sql(f"alter table crm.notes alter note_id type {type_}")
    desk.switched_on("crm")
    desk.carried()
    for note in (7000001, 7000002, 71):
        desk.sql(_NOTE, id=note, install=desk.a_site().install_id, body=f"Note {note}")
    plan = desk.plan()
    assert {one.key["enerflo_note_id"]: one.reason for one in desk.undecided(plan)} == {
        7000001: NO_KEY,
        7000002: NO_KEY,
    }
    assert {change.key["note_id"] for change in desk.changes(plan)} == {"enerflo-71"}
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").moved == 0
    assert [row["body"] for row in desk.sql("select body from crm.notes")] == ["Note 71"]


@pytest.mark.parametrize(
    ("type_", "fits", "others"),
    [
        ("bigint", "42", ["by hand", "4.5", "12345678901234567890"]),
        ("integer", "2147483647", ["2147483648", "x"]),
        ("numeric(12)", "42", ["by hand", ""]),
        (
            "uuid",
            "6f9619ff-8b86-d011-b42d-00c04fc964ff",
            ["6f9619ff", "6f9619ff-8b86-d011-b42d-00c04fc964fg"],
        ),
    ],
)
def test_a_text_that_is_no_key_of_its_column_keeps_no_other_record_back(
    desk: Desk, type_: str, fits: str, others: list[str]
) -> None:
    desk.sql("update enerflo.customers set deleted_at = now(); delete from crm.leads")
    desk.sql(f"alter table crm.leads alter lead_id type {type_} using null")
    desk.switched_on(
        "crm", ('["{integration_record_id}", "enerflo-{customer_id}"]', '"{integration_record_id}"')
    )
    desk.carried()
    for number, key in enumerate([fits, *others], 900000):
        tells_of(desk, number, key)
    plan = desk.plan()
    assert {one.key["enerflo_customer_id"]: one.reason for one in desk.undecided(plan)} == {
        number: NO_KEY for number, _ in enumerate(others, 900001)
    }
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").moved == 0
    assert str(desk.one("select lead_id from crm.leads")) == fits


def test_a_row_that_no_call_of_enerflo_can_create_waits_for_its_records_id(desk: Desk) -> None:
    desk.sql("alter table crm.installs add column id text not null default gen_random_uuid()::text")
    desk.sql("alter table crm.installs alter column enerflo_install_id drop not null")
    key = "key: {enerflo_install_id: install_id}\n    updated_at: updated_at\n    fields:\n      deal_id"
    linked = key.replace("key: {", "key: [id]\n    join: {")
    desk.switched_on("both", (key, linked))
    desk.carried()
    desk.sql("insert into crm.installs (id, status, updated_at) values ('a0X1', 'In progress', now())")
    plan = desk.plan()
    assert plan.change_count == 0
    assert plan.kept["no call of Enerflo's API creates installs: the row waits for its record's id"] == 1


def test_a_new_row_that_would_get_no_value_is_not_made_and_the_plan_says_why(desk: Desk) -> None:
    desk.sql("delete from crm.milestones")
    title = (
        "      title: {enerflo: title, type: text, trim: true, fold_case: true, source_of_truth: enerflo}\n"
    )
    desk.switched_on("crm", (title, ""))
    empty = "started_at is null and due_at is null and completed_at is null and deleted_at is null"
    count = desk.one(f"select count(*) from enerflo.milestones where {empty}")
    assert count > 0
    plan = desk.plan()
    assert any(one.table_name == "milestones" for one in plan.groups)
    said = "no mapped field of its record has a value that a new row could get"
    assert plan.kept[said] == count
    # One value is enough for a row.
    desk.sql(f"update enerflo.milestones set due_at = '2026-03-01' where {empty}")
    assert said not in desk.plan().kept
