"""Leads whose CRM key has several columns: each has an ``integration_record_id`` of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sync.apply.enerflo.customers import lead_key
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject, run_reopen
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.outbox.changes import OutboxChange
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.reopen import WhichRefusals
from tests.writes.conftest import Desk

PARTS = st.one_of(st.none(), st.integers(), st.text(st.characters(exclude_characters="\0", codec="utf-8")))


def key_of(*parts: object) -> str:
    names = [f"k{n}" for n, _ in enumerate(parts)]
    fields = {"city": {"enerflo": "city", "type": "text"}}
    table = {"crm_table": "crm.leads", "key": names, "join": {"customer": "customer_id"}, "fields": fields}
    change = OutboxChange(
        1, "leads", dict(zip(names, parts, strict=True)), None, "insert", "city", None, "x", "create", None
    )
    return lead_key(TableMapping.model_validate(table), change)


@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_no_two_keys_have_the_same_id(left: tuple[object, object], right: tuple[object, object]) -> None:
    same = [None if part is None else str(part) for part in left] == [
        None if part is None else str(part) for part in right
    ]
    assert (key_of(*left) == key_of(*right)) == same


def test_a_key_of_one_column_stands_as_it_is() -> None:
    assert key_of("US-1: 2%") == "US-1: 2%"
    assert (key_of("US-1", "2"), key_of("US", "1-2")) == ("US-1:2", "US:1-2")


@pytest.fixture
def regional(desk: Desk) -> Desk:
    """Leads that the CRM names by region and number."""
    desk.sql("alter table crm.leads drop constraint leads_pkey")
    desk.sql("alter table crm.leads add region text not null default ''")
    desk.sql("alter table crm.leads add primary key (region, lead_id)")
    desk.switched_on(
        "both",
        ("key: [lead_id]", "key: [region, lead_id]"),
        ("    adopt: {lead_id: integration_record_id}\n", ""),
        ('on_insert: {lead_id: ["{integration', 'on_insert: {region: "", lead_id: ["{integration'),
    )
    desk.carried()
    return desk


def lead(desk: Desk, region: str, number: str, name: str) -> None:
    desk.sql(
        "insert into crm.leads (region, lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values (:r, :n, :name, 'Doe', '5125550100', '12 Main St', 'Boston', 'MA', '02139',"
        " 'qualified', now())",
        r=region,
        n=number,
        name=name,
    )


def linked(desk: Desk, region: str, number: str) -> int:
    found: int = desk.crm("leads", region=region, lead_id=number)["enerflo_customer_id"]
    return found


def test_two_leads_whose_keys_read_alike_become_two_customers(regional: Desk) -> None:
    desk = regional
    lead(desk, "US-1", "2", "Jane")
    lead(desk, "US", "1-2", "John")
    desk.carried()
    assert linked(desk, "US-1", "2") != linked(desk, "US", "1-2")
    keys = {row.integration_record_id for row in desk.world.truth.customers()}
    assert {"US-1:2", "US:1-2"} <= keys
    desk.settled()


def customer_of(desk: Desk, key: str) -> int:
    values: dict[str, object] = {
        **{"first_name": "Jane", "last_name": "Doe", "mobile": "5125550100", "address": "12 Main St"},
        **{"city": "Boston", "state": "MA", "zip": "02139"},
    }
    return desk.world.add_lead(values, key)


def test_a_customer_of_an_earlier_version_is_found_where_it_can_only_be_this_ones(regional: Desk) -> None:
    desk = regional
    lead(desk, "US-1", "2", "Jane")
    plan = desk.plan()
    customer = customer_of(desk, "US-1-2")
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert linked(desk, "US-1", "2") == customer
    # A change of it goes to that customer, by the key that it has.
    run_poll(desk.context)
    desk.sql("update crm.leads set city = 'Salem', updated_at = now() where lead_id = '2'")
    desk.carried()
    assert [one.body["lead"]["integration_record_id"] for one in desk.world.received] == ["US-1-2"]  # type: ignore[index,call-overload]
    assert desk.world.customer(customer).city == "Salem"


def test_a_search_by_the_earlier_key_that_leaves_rows_out_sends_no_second_customer(regional: Desk) -> None:
    desk = regional
    lead(desk, "US-1", "2", "Jane")
    plan = desk.plan()
    customer_of(desk, "US-1-2")
    fault = ScriptedFault(FaultKind.EMPTY_PAGE, "/api/v1/customers", 2, 99)
    desk.api.faults = Faults(script=[fault])  # type: ignore[union-attr]
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert linked(desk, "US-1", "2") is None
    assert [one for one in desk.world.received if one.method == "POST"] == []
    parked = desk.sql("select distinct reason from sync.plan_changes where state = 'parked'")
    assert "more customers match it" in parked[0]["reason"]


def test_where_it_may_be_anothers_it_is_left_alone(regional: Desk) -> None:
    desk = regional
    lead(desk, "US-1", "2", "Jane")
    lead(desk, "US", "1-2", "John")
    plan = desk.plan()
    customer = customer_of(desk, "US-1-2")
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert customer not in (linked(desk, "US-1", "2"), linked(desk, "US", "1-2"))
    assert linked(desk, "US-1", "2") != linked(desk, "US", "1-2")


def test_a_key_that_reads_alike_for_two_leads_chooses_neither(regional: Desk) -> None:
    desk = regional
    lead(desk, "US/1", "2", "Jane")
    lead(desk, "US", "1/2", "John")
    plan = desk.plan()
    part = Part(only=["leads:US/1/2"])
    with pytest.raises(ConfigurationError, match="more than one record reads like this"):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=part)
    run_reject(desk.context, plan.plan_hash, by="Sam")
    with pytest.raises(ConfigurationError, match="more than one record reads like this"):
        run_reopen(desk.context, WhichRefusals(table="leads", key="US/1/2"), by="Pat")
    assert desk.plan().change_count == 0
