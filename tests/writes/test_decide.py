"""What is to be done about each mismatched row: rows that cannot be told apart are left to a person."""

from __future__ import annotations

from tests.writes.conftest import Desk

_LEAD = """insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip,
  status, updated_at)
values (:key, :name, 'Lee', :email, '8015550100', :street, 'Provo', 'UT', '84601', 'qualified',
  now() - interval '2 hours')"""


def test_rows_that_share_a_key_without_an_index_on_it_are_left_to_a_person(agreed: Desk) -> None:
    agreed.sql("alter table crm.leads drop constraint leads_pkey")
    agreed.sql(_LEAD, key="D-1", name="Ann", email="ann@example.com", street="1 A St")
    agreed.sql(_LEAD, key="D-1", name="Bob", email="bob@example.com", street="2 B St")
    agreed.sql(_LEAD, key="D-2", name="Eve", email="eve@example.com", street="3 C St")
    plan = agreed.plan()
    assert {change.key["lead_id"] for change in agreed.changes(plan)} == {"D-2"}
    assert [(one.key, one.cause, one.reason) for one in agreed.undecided(plan)] == [
        ({"lead_id": "D-1"}, "duplicate_identity", "more than one row has this key")
    ]


def test_a_row_that_shares_its_key_with_one_that_agrees_is_left_to_a_person(agreed: Desk) -> None:
    agreed.sql("alter table crm.leads drop constraint leads_pkey")
    lead = agreed.one("select min(lead_id) from crm.leads where enerflo_customer_id is not null")
    agreed.sql(_LEAD, key=lead, name="Bob", email="bob@example.com", street="2 B St")
    plan = agreed.plan()
    assert plan.change_count == 0
    assert [(one.key, one.cause) for one in agreed.undecided(plan)] == [
        ({"lead_id": lead}, "duplicate_identity")
    ]
