"""What happens to the CRM's row between plan and apply: what it does not say any more is not sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enerflo_sandbox.exchange import Request
from enerflo_sandbox.world import World
from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk

LEAD = (
    "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status, updated_at)"
    " values ('L1', 'Jane', 'Doe', '5125550100', '12 Main St', 'Boston', 'MA', '02139', 'qualified', now())"
)
NOTE = (
    "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
    " select 'N1', min(install_id), 'Ann', 'Call first', now() from enerflo.installs"
)
STATUS = (
    "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = ("
    "select min(install_id) from enerflo.installs where status_name = 'In progress')"
)
DATE = (
    "update crm.milestones set due_at = '2026-05-20 10:00Z', updated_at = now() where (enerflo_install_id,"
    " milestone_id) = (select install_id, min(milestone_id) from enerflo.milestones where install_id = ("
    "  select min(install_id) from enerflo.installs) group by 1)"
)
ON_HOLD = "(select enerflo_install_id from crm.installs where status = 'On Hold' and updated_at > now() - interval '1 hour')"

# What is planned, what happens to its source, and what is said then.
MEANWHILE = {
    "a note is corrected": (
        NOTE,
        "update crm.notes set body = 'Call last' where note_id = 'N1'",
        "says something",
    ),
    "a note gets another author": (
        NOTE,
        "update crm.notes set author = 'Al' where note_id = 'N1'",
        "says something",
    ),
    "a note moves to another install": (
        NOTE,
        "update crm.notes set enerflo_install_id = (select max(install_id) from enerflo.installs)"
        " where note_id = 'N1'",
        "says something",
    ),
    "a note is deleted": (NOTE, "delete from crm.notes where note_id = 'N1'", "is gone"),
    "a note is linked": (
        NOTE,
        "update crm.notes set enerflo_note_id = 5 where note_id = 'N1'",
        "names a record",
    ),
    "a lead is disqualified": (LEAD, "update crm.leads set status = 'new' where lead_id = 'L1'", "not due"),
    "a lead is corrected": (
        LEAD,
        "update crm.leads set city = 'Salem' where lead_id = 'L1'",
        "says something",
    ),
    "a lead gets an e-mail": (
        LEAD,
        "update crm.leads set email = 'j@example.com' where lead_id = 'L1'",
        "says something",
    ),
    "a lead is linked": (
        LEAD,
        "update crm.leads set enerflo_customer_id = 5 where lead_id = 'L1'",
        "names a record",
    ),
    "a status is taken back": (
        STATUS,
        f"update crm.installs set status = 'In progress' where enerflo_install_id = {ON_HOLD}",
        "says something",
    ),
    "an install is deleted": (
        STATUS,
        f"delete from crm.installs where enerflo_install_id = {ON_HOLD}",
        "is gone",
    ),
    "a date is taken away": (
        DATE,
        "update crm.milestones set due_at = null where due_at = '2026-05-20 10:00Z'",
        "says",
    ),
}


@pytest.mark.parametrize("case", MEANWHILE)
@pytest.mark.parametrize("late", [False, True])
def test_what_changed_between_plan_and_apply_is_moved_and_not_sent(
    agreed: Desk, case: str, late: bool
) -> None:
    desk = agreed
    planned, meanwhile, said = MEANWHILE[case]
    desk.sql(planned)
    plan = desk.plan()
    sent = len(desk.changes(plan, direction="to_enerflo"))
    assert sent
    if late:
        # At the last moment: when Enerflo is read before the write.
        at_the_read(desk, lambda: desk.sql(meanwhile))
    else:
        desk.sql(meanwhile)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert desk.world.received == []
    assert report.moved == sent
    (reason,) = report.reasons["moved"]
    assert said in reason
    assert {row["reason"] for row in desk.ledger(decision="moved")} == {reason}


def at_the_read(desk: Desk, act: Callable[[], object]) -> None:
    assert desk.api is not None
    done: list[bool] = []

    def before(request: Request, world: World) -> None:
        if request.method == "GET" and not done:
            done.append(True)
            act()

    desk.api.before_request = before


def test_a_row_that_was_linked_to_another_record_meanwhile_is_not_sent_there_nor_here(agreed: Desk) -> None:
    desk = agreed
    linked = desk.sql(
        "select lead_id, enerflo_customer_id from crm.leads where enerflo_customer_id is not null order by 1"
    )
    row, other = linked[0], linked[1]
    desk.sql(
        "update crm.leads set first_name = 'Zoe', updated_at = now() where lead_id = :l", l=row["lead_id"]
    )
    plan = desk.plan()
    assert [change.field for change in desk.changes(plan, direction="to_enerflo")] == ["first_name"]
    desk.sql("update crm.leads set enerflo_customer_id = null where lead_id = :l", l=other["lead_id"])
    desk.sql(
        "update crm.leads set enerflo_customer_id = :c where lead_id = :l",
        c=other["enerflo_customer_id"],
        l=row["lead_id"],
    )
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["moved"] == {"the CRM's row names another record of Enerflo by now.": 1}
    assert desk.world.received == []


def test_a_row_that_has_a_twin_by_now_is_not_sent(agreed: Desk) -> None:
    desk = agreed
    desk.sql("alter table crm.leads drop constraint if exists leads_enerflo_customer_id_key")
    (row,) = desk.sql(
        "select lead_id, enerflo_customer_id from crm.leads where enerflo_customer_id is not null order by 1 limit 1"
    )
    desk.sql(
        "update crm.leads set first_name = 'Zoe', updated_at = now() where lead_id = :l", l=row["lead_id"]
    )
    plan = desk.plan()
    desk.sql(
        "insert into crm.leads (lead_id, enerflo_customer_id, status, updated_at) values ('twin', :c, 'new', now())",
        c=row["enerflo_customer_id"],
    )
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["moved"] == {"more than one row of the CRM has its key by now.": 1}
    assert desk.world.received == []


def test_an_install_is_not_completed_by_a_milestone_that_was_opened_meanwhile(agreed: Desk) -> None:
    desk = agreed
    install_id = desk.a_site().install_id
    last = desk.one(
        "select milestone_id from enerflo.milestones where install_id = :i order by sequence desc limit 1",
        i=install_id,
    )
    where = "where enerflo_install_id = :i and milestone_id = :m"
    desk.sql(
        f"update crm.milestones set completed_at = now(), updated_at = now() {where}", i=install_id, m=last
    )
    plan = desk.plan()
    assert len(desk.changes(plan, direction="to_enerflo")) == 2
    desk.sql(f"update crm.milestones set completed_at = null {where}", i=install_id, m=last)
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").moved == 2
    assert desk.world.received == []
