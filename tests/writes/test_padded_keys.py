"""What the CRM pads to its length, char(n), has no padding elsewhere: a key names its row, a text is sent."""

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


def test_what_is_sent_with_a_note_or_a_lead_has_no_padding(agreed: Desk) -> None:
    agreed.sql("alter table crm.notes alter author type char(80)")
    agreed.sql("alter table crm.leads alter deal_type_id type char(20)")
    install = agreed.a_site().install_id
    agreed.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, created_at, updated_at)"
        " values ('N-1', :i, 'Ann', 'Call first', now(), now())",
        i=install,
    )
    agreed.sql(
        "insert into crm.leads (lead_id, status, first_name, last_name, email, mobile, address, city, state, zip,"
        " deal_type_id, updated_at) values ('L-1', 'qualified', 'Ann', 'Lee', 'ann@example.com', '5551234567',"
        " '1 Main St', 'Denver', 'CO', '80202', '5', now())"
    )
    agreed.carried()
    agreed.carried()
    sent = [one.body for one in agreed.world.received]
    assert [body["note"] for body in sent if "note" in body] == ["Call first\n\nAnn (CRM)"]
    assert [body["lead"]["createDeal"] for body in sent if "lead" in body] == ["5"]
    agreed.settled()
