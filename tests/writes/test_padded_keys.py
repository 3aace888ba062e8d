"""A key that the CRM pads to its length, char(n), names its row without the padding everywhere."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from tests.writes.conftest import Desk


def test_a_row_is_made_sent_and_explained_by_its_key_without_padding(desk: Desk) -> None:
    install = str(desk.a_site().install_id)
    key = {"enerflo_install_id": install}
    desk.sql("alter table crm.installs alter enerflo_install_id type char(12)")
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    desk.switched_on()
    plan = desk.plan()
    assert {change.op for change in desk.changes(plan, table_name="installs", key=key)} == {"insert"}
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (plan.change_count, 0)
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :id",
        id=install,
    )
    plan = desk.plan()
    assert [(change.key, change.direction) for change in desk.changes(plan)] == [(key, "to_enerflo")]
    desk.carried()
    desk.settled()
    (story,) = run_explain(desk.context, "install", install, field="status").fields
    assert [step.op for step in story.steps] == ["insert", "update"]
