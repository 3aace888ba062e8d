"""What the CRM's own tables refuse: the row is parked with the reason, and the rest is written."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.sync.apply import ApplyReport
from tests.sync.conftest import Desk

_CUSTOMER = """insert into enerflo.customers (account, customer_id, first_name, email, observed_at, observed_by)
values ('default', :id, 'Ann', :email, now() - interval '2 hours', 'poll')"""

_TRIGGER = """create function crm.no() returns trigger language plpgsql as $$ begin
  if new.panel_count = 77 then {raises} end if; return new; end $$"""


@pytest.fixture
def agreeing(desk: Desk) -> Desk:
    """An account that writes to the CRM, whose first plan was applied: nothing differs."""
    desk.switched_on("crm")
    desk.carried()
    return desk


def moved(desk: Desk, **values: object) -> dict[str, int]:
    """Have Enerflo say something else of one install for each column; return their ids."""
    ids = desk.sql("select install_id from enerflo.installs where deleted_at is null order by 1 limit 2")
    found = dict(zip(values, (row["install_id"] for row in ids), strict=True))
    for column, install in found.items():
        desk.sql(
            f"update enerflo.installs set {column} = :v, observed_at = now() where install_id = :i",
            v=values[column],
            i=install,
        )
    return found


def parked(report: ApplyReport) -> list[str]:
    return list(report.reasons.get("parked", {}))


def test_a_new_row_that_breaks_another_unique_index_is_parked_under_its_name(agreeing: Desk) -> None:
    agreeing.sql("update crm.leads set email = null; create unique index one_email on crm.leads (email)")
    agreeing.sql("update enerflo.customers set email = null")
    for customer in (900001, 900002):
        agreeing.sql(_CUSTOMER, id=customer, email="taken@example.com")
    report = agreeing.carried()
    assert parked(report) == ["the CRM's table refuses it: UniqueViolation (one_email)"]
    assert report.moved == 0
    assert agreeing.one("select count(*) from crm.leads where email = 'taken@example.com'") == 1
    assert agreeing.plan().change_count == 0
