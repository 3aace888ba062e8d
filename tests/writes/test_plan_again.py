"""The newest plan is the one that was made last, also where the same plan was made before."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan.reads import read_plans
from tests.writes.conftest import Desk


def newest(desk: Desk) -> str:
    with desk.engine.connect() as connection:
        return read_plans(connection, "default", most=1)[0].plan_hash


def test_a_plan_with_nothing_to_do_is_the_newest_again(agreed: Desk) -> None:
    nothing = agreed.plan()
    assert nothing.change_count == 0
    install = agreed.one("select min(enerflo_install_id) from crm.installs")
    before = agreed.one("select panel_count from crm.installs where enerflo_install_id = :id", id=install)
    agreed.sql("update crm.installs set panel_count = 77 where enerflo_install_id = :id", id=install)
    changes = agreed.plan()
    assert changes.change_count
    assert newest(agreed) == changes.plan_hash
    run_apply(agreed.context, changes.plan_hash, approved_by="Pat")
    now = agreed.one("select panel_count from crm.installs where enerflo_install_id = :id", id=install)
    assert now == before
    again = agreed.plan()
    assert again.plan_hash == nothing.plan_hash
    assert again.created_at > changes.created_at
    assert newest(agreed) == again.plan_hash
