"""A key column of the CRM that is a mapped field, too: it changes with the other fields of its row."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought

TABLES = """tables:
  installs:
    crm_table: crm.deals
    key: [deal_id]
    join: {install: install_id}
    updated_at: updated_at
    create_in: []
    fields:
      amount: {enerflo: contract_amount, type: number, source_of_truth: enerflo}
      deal_id: {enerflo: agent_name, type: text, source_of_truth: enerflo}
      status: {enerflo: status_name, type: text, source_of_truth: newest}
"""


def _deals(desk: Desk) -> None:
    desk.sql("update enerflo.installs set agent_name = 'D-' || install_id")
    desk.sql(
        "create table crm.deals as select agent_name as deal_id, install_id as install,"
        " contract_amount as amount, status_name as status, now() - interval '1 day' as updated_at"
        " from enerflo.installs where deleted_at is null"
    )
    desk.sql("alter table crm.deals add primary key (deal_id)")
    mapped(desk, "both", TABLES, ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    desk.carried()


@pytest.mark.parametrize("trigger", [False, True])
def test_the_other_changes_of_its_row_are_made_with_it(agreed: Desk, trigger: bool) -> None:
    brought(agreed, _deals)
    if trigger:
        agreed.sql(
            "create function crm.same() returns trigger language plpgsql as $$ begin return new; end $$"
        )
        agreed.sql("create trigger a before update on crm.deals for each row execute function crm.same()")
    first, second = (
        row["install"] for row in agreed.sql("select install from crm.deals order by install limit 2")
    )
    agreed.sql(
        "update enerflo.installs set agent_name = 'E-' || install_id, observed_at = now()"
        " where install_id in (:a, :b)",
        a=first,
        b=second,
    )
    agreed.sql(
        "update enerflo.installs set contract_amount = 77, status_name = 'On Hold', updated_at = now()"
        " where install_id = :b",
        b=second,
    )
    plan = agreed.plan()
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved, report.parked) == (4, 0, 0)
    row = agreed.crm("deals", install=second)
    assert (row["deal_id"], row["amount"], row["status"]) == (f"E-{second}", 77, "On Hold")
    # Nothing of it comes back.
    again = agreed.plan()
    assert (agreed.changes(again), agreed.undecided(again)) == ([], [])
    agreed.sql(
        "update enerflo.installs set status_name = 'Completed', updated_at = now(), observed_at = now()"
        " where install_id = :b",
        b=second,
    )
    assert [one.direction for one in agreed.changes(agreed.plan(), field="status")] == ["to_crm"]
