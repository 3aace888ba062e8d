"""Where no row of a CRM table has the key of a record, no record gets a second row."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.hidden_rows import NO_KEY_MEETS
from tests.writes.conftest import Desk


def reasons(desk: Desk) -> list[str | None]:
    plan = run_plan(desk.context)[0]
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    return [one.reason for one in desk.undecided(plan) if one.table_name == "installs"]


def other_keys(desk: Desk) -> None:
    """Let every install's row have a number that names no record of Enerflo."""
    desk.sql("delete from crm.milestones")
    desk.sql("update crm.installs set enerflo_install_id = enerflo_install_id + 900000000")
    desk.switched_on("crm", ("in_flight_minutes: 30", "in_flight_minutes: 0"))


def test_no_second_rows_are_made_where_no_key_meets_a_record(desk: Desk) -> None:
    before = desk.one("select count(*) from crm.installs")
    assert before >= 10
    other_keys(desk)
    run_poll(desk.context)
    found = reasons(desk)
    assert desk.one("select count(*) from crm.installs") == before
    assert NO_KEY_MEETS in found


@pytest.mark.parametrize("kept", [0, 9])
def test_a_table_with_a_handful_of_rows_is_filled(desk: Desk, kept: int) -> None:
    other_keys(desk)
    desk.sql(
        "delete from crm.installs where enerflo_install_id not in"
        f" (select enerflo_install_id from crm.installs order by 1 limit {kept})"
    )
    run_poll(desk.context)
    assert NO_KEY_MEETS not in reasons(desk)
    assert desk.one("select count(*) from crm.installs") > kept


def test_one_row_that_meets_its_record_is_enough(desk: Desk) -> None:
    one = desk.one("select min(enerflo_install_id) from crm.installs")
    other_keys(desk)
    desk.sql(
        "update crm.installs set enerflo_install_id = :i where enerflo_install_id = 900000000 + :i", i=one
    )
    before = desk.one("select count(*) from crm.installs")
    run_poll(desk.context)
    assert NO_KEY_MEETS not in reasons(desk)
    assert desk.one("select count(*) from crm.installs") > before
