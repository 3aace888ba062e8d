"""A CRM row that is marked as deleted is never written, linked or made again, and nothing is sent of it."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk

MARK = "    deleted_when: {is_deleted: true}\n"
TABLES = ("installs", "milestones", "notes", "leads", "change_orders")


@pytest.fixture
def marked(desk: Desk) -> Desk:
    """An account that writes both ways, whose sides agree, and whose CRM marks deleted rows."""
    for table in TABLES:
        desk.sql(f"alter table crm.{table} add is_deleted boolean not null default false")
    desk.switched_on("both", ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{MARK}"))
    desk.carried()
    desk.settled()
    return desk


def mark(desk: Desk, table: str, **key: Any) -> None:
    where = " and ".join(f"{name} = :{name}" for name in key)
    desk.sql(f"update crm.{table} set is_deleted = true, updated_at = now() where {where}", **key)


def test_a_record_whose_row_was_marked_is_not_made_again(marked: Desk) -> None:
    install = marked.a_site().install_id
    note = marked.sql("select * from crm.notes where enerflo_note_id is not null limit 1")[0]
    lead = marked.sql("select * from crm.leads where enerflo_customer_id is not null limit 1")[0]
    mark(marked, "installs", enerflo_install_id=install)
    mark(marked, "notes", note_id=note["note_id"])
    mark(marked, "leads", lead_id=lead["lead_id"])
    # Without what both sides agreed on, the marked row alone says that a person deleted it.
    marked.sql("delete from sync.agreed where table_name <> 'milestones'")
    plan = marked.plan()
    assert marked.changes(plan) == []
    asked = {(one.table_name, one.cause, one.reason) for one in marked.undecided(plan)}
    reason = "its row in the CRM is marked as deleted (deleted_when)"
    assert asked == {(name, "deleted_in_crm", reason) for name in ("installs", "notes", "leads")}


def test_a_marked_row_is_neither_updated_nor_a_source_of_a_write(marked: Desk) -> None:
    state = marked.a_site()
    milestone = marked.sql(
        "select * from crm.milestones where enerflo_install_id = :id limit 1", id=state.install_id
    )[0]
    mark(marked, "installs", enerflo_install_id=state.install_id)
    mark(marked, "milestones", enerflo_install_id=state.install_id, milestone_id=milestone["milestone_id"])
    marked.sql(
        "update crm.milestones set due_at = now() where enerflo_install_id = :id and milestone_id = :m",
        id=state.install_id,
        m=milestone["milestone_id"],
    )
    marked.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :id", id=state.install_id)
    sent = len(marked.world.received)
    assert marked.changes(marked.plan()) == []
    assert len(marked.world.received) == sent


def test_a_new_row_that_is_marked_is_sent_to_nobody(marked: Desk) -> None:
    marked.sql(
        "insert into crm.leads (lead_id, first_name, last_name, status, is_deleted, updated_at)"
        " values ('gone', 'A', 'B', 'qualified', true, now())"
    )
    marked.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, is_deleted, updated_at)"
        " values ('gone', :id, 'Hello', true, now())",
        id=marked.a_site().install_id,
    )
    assert marked.changes(marked.plan()) == []


def test_a_row_that_is_marked_between_plan_and_apply_is_left_alone(marked: Desk) -> None:
    install = marked.a_site().install_id
    marked.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :id", id=install)
    plan = marked.plan()
    assert [change.field for change in marked.changes(plan)] == ["panel_count"]
    marked.sql("update crm.installs set is_deleted = true where enerflo_install_id = :id", id=install)
    report = run_apply(marked.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert marked.crm("installs", enerflo_install_id=install)["panel_count"] == 1


def test_rows_that_are_marked_do_not_make_a_share_of_the_table_smaller(marked: Desk) -> None:
    living = [row["id"] for row in marked.sql("select enerflo_install_id as id from crm.installs order by 1")]
    marked.sql(
        "insert into crm.installs (enerflo_install_id, status, is_deleted, updated_at)"
        " select n, 'Voided', true, now() from generate_series(1, :many) n",
        many=len(living) * 20,
    )
    changed = living[: len(living) // 2]
    marked.sql("update crm.installs set panel_count = 1 where enerflo_install_id = any(:ids)", ids=changed)
    plan = marked.plan()
    assert {change.field for change in marked.changes(plan)} == {"panel_count"}
    assert any("(approval.percent)" in reason for reason in plan.reasons), plan.reasons
