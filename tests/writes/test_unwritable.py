"""What a view cannot take is known before it is written: it stays as in report mode, and stops nothing else."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk

JOIN = """create view crm.shown as select i.*, n.notes from crm.installs i
  cross join lateral (select count(*) as notes from crm.notes n
    where n.enerflo_install_id = i.enerflo_install_id) n"""
COMPUTED_KEY = """create view crm.shown as
  select enerflo_install_id + 0 as enerflo_install_id, deal_id, customer_name, status, system_size_kw, panel_type,
    panel_count, battery_configuration, contract_amount, updated_at from crm.installs"""
COMPUTED_FIELD = """create view crm.shown as
  select enerflo_install_id, deal_id, customer_name, status, system_size_kw, panel_type,
    panel_count + 0 as panel_count, battery_configuration, contract_amount, updated_at from crm.installs"""


def differ(desk: Desk) -> tuple[int, int]:
    """Let an install and a milestone differ, and the CRM lack an install; return the ids of both installs."""
    first, second = (
        row["id"] for row in desk.sql("select enerflo_install_id as id from crm.installs order by 1 limit 2")
    )
    desk.sql(
        "update crm.installs set panel_count = panel_count + 1, panel_type = 'other', updated_at = now() - interval '1 d'"
        " where enerflo_install_id = :id",
        id=first,
    )
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=second)
    desk.sql("update crm.milestones set title = title || ' (old)'")
    return first, second


@pytest.mark.parametrize(
    ("view", "updated", "created"),
    [
        (JOIN, set(), False),
        (COMPUTED_KEY, {"panel_count", "panel_type"}, False),
        (COMPUTED_FIELD, {"panel_type"}, True),
    ],
)
def test_what_a_view_cannot_take_is_left_and_the_rest_is_written(
    desk: Desk, view: str, updated: set[str], created: bool
) -> None:
    desk.switched_on(
        "crm",
        ("crm_table: crm.installs", "crm_table: crm.shown"),
        ("in_flight_minutes: 30", "in_flight_minutes: 0"),
    )
    desk.sql(view)
    first, second = differ(desk)
    old = desk.one("select count(*) from crm.milestones where title like '% (old)'")
    assert old > 0
    for plan in run_plan(desk.context):
        report = run_apply(desk.context, plan.plan_hash, approved_by="Ann")
        assert report.parked == report.moved == report.waiting == 0, report
    assert desk.one("select count(*) from crm.milestones where title like '% (old)'") == 0
    row = desk.sql("select * from crm.installs where enerflo_install_id = :id", id=first)[0]
    mirror = desk.sql("select * from enerflo.installs where install_id = :id", id=first)[0]
    same = {name for name in ("panel_count", "panel_type") if row[name] == mirror[name]}
    assert same == updated
    made = desk.sql("select * from crm.installs where enerflo_install_id = :id", id=second)
    assert bool(made) is created
    again = run_plan(desk.context)[0]
    assert again.change_count == 0
    # The report says that nobody will write the rest.
    unwritten = {"panel_count", "panel_type"} - updated
    told = [one for one in run_reconcile(desk.context).remarks if "written nowhere" in one]
    assert bool(told) == bool(unwritten or not created)
    kept = again.kept
    assert ("the CRM's rows are not created here (create_in)" in kept) is False, kept
