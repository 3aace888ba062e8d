"""A CRM row whose own key has an empty part: its differences are found each time, and a person is asked."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.empty_keys import NO_KEY
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.test_changes import NO_LOOKBACK

AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
ONE = """tables:
  sites:
    of: installs
    crm_table: crm.sites
    key: KEY
    join: {install: install_id}
    create_in: []
    fields:
      panels: {enerflo: panel_count, type: integer, source_of_truth: enerflo}
      status: {enerflo: status_name, type: text, source_of_truth: crm}
"""


@pytest.fixture(params=["[id, part]", "[part]"])
def sites(agreed: Desk, request: pytest.FixtureRequest) -> tuple[Desk, int]:
    """A table in which every second row has no value in a part of the key, both sides of which agree."""
    agreed.sql(
        "create table crm.sites as select 's' || install_id as id,"
        " case install_id % 2 when 0 then 'p' || install_id end as part, install_id as install,"
        " panel_count as panels, status_name as status from enerflo.installs where deleted_at is null"
    )
    mapped(agreed, "both", ONE.replace("KEY", str(request.param)), AT_ONCE, NO_LOOKBACK)
    agreed.carried()
    assert run_reconcile(agreed.context).differences == 0
    install = agreed.one(
        "select min(install) from crm.sites where part is null and status not in ('Voided', 'Completed')"
    )
    return agreed, install


def counted(desk: Desk, install: int) -> None:
    """Enerflo gets another panel count, as a poll would find it."""
    desk.sql(
        "update enerflo.installs set panel_count = 51, observed_at = now() where install_id = :i", i=install
    )


def test_a_difference_of_a_row_whose_key_has_an_empty_part_is_found_each_time(
    sites: tuple[Desk, int],
) -> None:
    desk, install = sites
    counted(desk, install)
    for _ in range(3):
        assert run_reconcile(desk.context).differences == 1
    desk.sql("update crm.sites set panels = 51 where install = :i", i=install)
    assert run_reconcile(desk.context).differences == 0


def test_it_is_a_question_and_the_others_are_written(sites: tuple[Desk, int]) -> None:
    desk, install = sites
    other = desk.one("select min(install) from crm.sites where part is not null and status <> 'Voided'")
    for one in (install, other):
        counted(desk, one)
    desk.sql("update crm.sites set status = 'On Hold' where install = :i", i=install)
    plan = desk.plan()
    assert {change.key["part"] for change in desk.changes(plan)} == {f"p{other}"}
    asked = [one for one in desk.undecided(plan) if one.reason == NO_KEY]
    assert {one.field for one in asked} == {"panels", "status"}
    assert {(one.enerflo_value, one.crm_value == 51) for one in asked if one.field == "panels"} == {
        (51, False)
    }
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.moved, report.parked) == (0, 0)
    assert desk.one("select panels from crm.sites where install = :i", i=other) == 51
    found = run_reconcile(desk.context)
    # Rows of one empty key share what is agreed on: then nothing explains the two.
    assert found.waiting + found.unexplained == found.differences == 2
    # With a key it is as any other.
    desk.sql("update crm.sites set part = 'new' where install = :i", i=install)
    run_reconcile(desk.context)
    desk.carried()
    assert desk.one("select panels from crm.sites where install = :i", i=install) == 51
