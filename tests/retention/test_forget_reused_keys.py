"""An import gave the key of a forgotten person's row in the CRM to another person's row."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.kept import brought

# Two leads that Enerflo knows.
LEADS = """
select lead_id, enerflo_customer_id as customer from crm.leads
where enerflo_customer_id in (select customer_id from enerflo.customers where deleted_at is null)
order by lead_id limit 2
"""


def named(desk: Desk, customer: int, last_name: str) -> None:
    """Give a lead another last name in the CRM."""
    statement = "update crm.leads set last_name = :name, updated_at = now() where enerflo_customer_id = :id"
    desk.sql(statement, name=last_name, id=customer)


@pytest.fixture
def two(agreed: Desk) -> tuple[int, int]:
    """Two customers whose rows in the CRM have exchanged their keys since a value of each was written."""
    first, second = agreed.sql(LEADS)
    brought(agreed, _numbered_anew)
    return first["customer"], second["customer"]


def _numbered_anew(desk: Desk) -> None:
    first, second = desk.sql(LEADS)
    for one in (first, second):
        named(desk, one["customer"], f"Once{one['customer']}")
    desk.carried()
    run_poll(desk.context)
    desk.plan()
    for row, key in ((first, "x"), (second, first["lead_id"]), (first, second["lead_id"])):
        statement = "update crm.leads set lead_id = :key where enerflo_customer_id = :id"
        desk.sql(statement, key=key, id=row["customer"])
    desk.plan()


def test_what_was_agreed_on_of_another_person_stays(agreed: Desk, two: tuple[int, int]) -> None:
    forgotten, other = two
    pairs = "select field, value from sync.agreed where enerflo_key ->> 'customer_id' = :id order by field"
    before = agreed.sql(pairs, id=str(other))
    assert ("last_name", f"Once{other}") in [(row["field"], row["value"]) for row in before]
    run_forget(agreed.context, forgotten, by="Pat", write=True)
    assert agreed.sql(pairs, id=str(other)) == before


def test_what_a_person_refused_of_another_person_stays_refused(agreed: Desk, two: tuple[int, int]) -> None:
    forgotten, other = two
    named(agreed, other, "Refused")
    for plan in run_plan(agreed.context):
        run_reject(agreed.context, plan.plan_hash, by="Sam Hill")
    assert agreed.plan().change_count == 0
    run_forget(agreed.context, forgotten, by="Pat", write=True)
    assert [agreed.changes(plan) for plan in run_plan(agreed.context)] == [[]]


def test_a_change_of_another_person_that_waits_is_none_of_theirs(agreed: Desk, two: tuple[int, int]) -> None:
    forgotten, other = two
    named(agreed, other, "Waits")
    (plan,) = run_plan(agreed.context)
    before = agreed.changes(plan)
    assert before[0].after == "Waits"
    run_forget(agreed.context, forgotten, by="Pat", write=True)
    assert agreed.changes(plan) == before


def test_the_ledger_goes_on_telling_what_was_written_of_another_person(
    agreed: Desk, two: tuple[int, int]
) -> None:
    forgotten, other = two
    run_forget(agreed.context, forgotten, by="Pat", write=True)
    values = [row["new_value"] for row in agreed.ledger(table_name="leads", field="last_name")]
    assert f"Once{other}" in values
    assert f"Once{forgotten}" not in values


def test_nothing_stays_of_whom_a_row_named_another_person_before(agreed: Desk) -> None:
    """The row was linked to somebody else by mistake, who so got a value of the one who is forgotten."""
    first, second = agreed.sql(LEADS)
    agreed.world.edit_customer(first["customer"], {"last_name": "Zyxwvut"})
    run_poll(agreed.context)
    link = "update crm.leads set enerflo_customer_id = :other where lead_id = :key"
    agreed.sql("delete from crm.leads where lead_id = :key", key=second["lead_id"])
    agreed.sql(link, key=first["lead_id"], other=second["customer"])
    named(agreed, second["customer"], "Zyxwvut")
    for plan in run_plan(agreed.context):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    agreed.sql(link, key=first["lead_id"], other=first["customer"])
    for plan in run_plan(agreed.context):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    agreed.world.edit_customer(second["customer"], {"last_name": "Corrected"})
    run_poll(agreed.context)
    told = "select count(*) from sync.ledger where to_jsonb(cast(:name as text)) in (new_value, old_value)"
    assert agreed.one(told, name="Zyxwvut") > 0
    run_forget(agreed.context, first["customer"], by="Pat", write=True)
    assert agreed.one(told, name="Zyxwvut") == 0


def test_nothing_stays_in_the_ledger_once_the_plan_was_pruned(agreed: Desk, two: tuple[int, int]) -> None:
    """Neither the row's key nor a plan tells any more whose value it was; its text does."""
    forgotten, _ = two
    for table in ("plan_changes", "plans"):
        agreed.sql(f"delete from sync.{table}")
    run_forget(agreed.context, forgotten, by="Pat", write=True)
    values = [row["new_value"] for row in agreed.ledger(table_name="leads", field="last_name")]
    assert f"Once{forgotten}" not in values
