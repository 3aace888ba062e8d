"""Updates that were sent before a push was cut off: found by the next plan, and ours."""

from __future__ import annotations

import pytest

from enerflo_sandbox.spelling import Spelling
from enerflo_sync.apply.enerflo.installs import ELSEWHERE
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.sending import (
    cut_off_after_the_request,
    due,
    last_milestone,
    note,
    posts,
)

CUSTOMERS = (
    "select enerflo_customer_id from crm.leads where enerflo_customer_id is not null"
    " order by enerflo_customer_id desc limit 2"
)
# What people make of the row of customer ``c``.
RELINKED = {
    "relinked": "update crm.leads set enerflo_customer_id = :o where enerflo_customer_id = :c",
    "one of two": "update crm.leads set enerflo_customer_id = :c where enerflo_customer_id = :o",
    "swapped": "update crm.leads set enerflo_customer_id = case enerflo_customer_id when :c then :o else :c end"
    " where enerflo_customer_id in (:c, :o)",
}

PAIRS = "select key, enerflo_key, value, crm_value from sync.agreed where field = 'mobile' order by key"


@pytest.mark.parametrize("seen_first", [True, False])
def test_a_date_that_was_sent_before_a_kill_is_ours_also_for_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, seen_first: bool
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    assert desk.api is not None
    desk.api.spelling = Spelling(days=True)
    milestone = due(desk, install_id)
    cut_off_after_the_request(desk, monkeypatch)
    if seen_first:
        run_poll(desk.context)
    # Another change, so that the plan is another one.
    note(desk, "N1", install_id)
    desk.carried()
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()
    now = desk.crm("milestones", enerflo_install_id=install_id, milestone_id=milestone)["due_at"]
    assert now.isoformat() == "2026-05-20T14:22:01+00:00"
    assert [one.method for one in desk.world.received] == ["PUT", "POST"]
    (row,) = desk.ledger(table_name="milestones", field="due_at", decision="applied")
    assert row["kept_value"][:10] == "2026-05-20"


def test_a_phone_that_was_sent_before_a_kill_is_applied_also_for_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = agreed
    customer = desk.one("select max(enerflo_customer_id) from crm.leads")
    desk.sql(
        "update crm.leads set mobile = '+1 (512) 555-0177', updated_at = now() where enerflo_customer_id = :c",
        c=customer,
    )

    cut_off_after_the_request(desk, monkeypatch)
    assert len(posts(desk)) == 1
    run_poll(desk.context)
    note(desk, "N1", desk.a_site().install_id)
    desk.carried()
    assert [one.path for one in posts(desk)[1:] if "lead" in one.path] == []
    written = desk.ledger(table_name="leads", field="mobile", direction="to_enerflo")
    assert [row["decision"] for row in written] == ["applied"]


def test_one_whose_plan_was_superseded_before_anybody_saw_it_is_in_the_ledger_and_can_be_undone(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    due(desk, install_id)
    sent_plan = desk.plan().plan_hash
    cut_off_after_the_request(desk, monkeypatch)
    # Another plan takes its place before Enerflo is read again.
    note(desk, "N1", install_id)
    desk.plan()
    run_poll(desk.context)
    desk.carried()
    assert [one.method for one in desk.world.received if one.method == "PUT"] == ["PUT"]
    decisions = [row["decision"] for row in desk.ledger(table_name="milestones", field="due_at")]
    assert decisions[-1] == "applied"
    undo = run_undo(desk.context, sent_plan)
    assert [(one.field, one.direction) for one in desk.changes(undo)] == [("due_at", "to_enerflo")]


def status(desk: Desk, install_id: int) -> str:
    return str(desk.one("select status_name from enerflo.installs where install_id = :i", i=install_id))


def test_a_completion_that_was_sent_before_a_kill_is_not_taken_back_by_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    desk.sql(
        "update crm.milestones set completed_at = date_trunc('second', now()) - interval '1 hour',"
        " updated_at = now() where enerflo_install_id = :i and milestone_id = :m",
        i=install_id,
        m=last_milestone(desk, install_id),
    )
    cut_off_after_the_request(desk, monkeypatch, nth=2)
    # Another plan takes its place before Enerflo is read again.
    note(desk, "N1", install_id)
    desk.plan()
    run_poll(desk.context)
    desk.carried()
    assert [one.method for one in desk.world.received] == ["PUT", "PUT", "POST"]
    assert status(desk, install_id) == "Completed"
    assert desk.crm("installs", enerflo_install_id=install_id)["status"] == "Completed"


def test_an_undo_that_was_sent_before_a_kill_is_not_reversed_by_a_plan_that_is_made_anew(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install_id = agreed, agreed.a_site().install_id
    before = status(desk, install_id)
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=install_id,
    )
    plan = desk.plan()
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(desk.context, plan.plan_hash)
    desk.world.received.clear()
    cut_off_after_the_request(desk, monkeypatch, undo.plan_hash)
    note(desk, "N1", install_id)
    desk.plan()
    run_poll(desk.context)
    desk.carried()
    assert [one.method for one in desk.world.received] == ["PUT", "POST"]
    assert status(desk, install_id) == before
    assert desk.crm("installs", enerflo_install_id=install_id)["status"] == "On Hold"
    desk.settled()


@pytest.mark.parametrize("arrived", [True, False])
def test_one_whose_row_is_gone_by_now_is_told_as_what_became_of_it(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, arrived: bool
) -> None:
    install = agreed.a_site().install_id
    agreed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :i", i=install)
    plan = agreed.plan()
    cut_off_after_the_request(agreed, monkeypatch, plan.plan_hash)
    if not arrived:
        agreed.world.set_status(install, 5)
    agreed.sql("delete from crm.installs where enerflo_install_id = :i", i=install)
    before = len(agreed.world.received)
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    (row,) = agreed.ledger(plan_hash=plan.plan_hash)
    wanted = ("applied", "found there") if arrived else ("moved", ELSEWHERE)
    assert (row["decision"], row["reason"]) == wanted
    assert len(agreed.world.received) == before


@pytest.mark.parametrize("how", ["relinked", "one of two", "swapped"])
@pytest.mark.parametrize("arrived", [True, False])
def test_one_whose_row_names_another_record_by_now_is_told_as_what_became_of_it(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, how: str, arrived: bool
) -> None:
    """Nothing counts as agreed between this row and that record."""
    desk = agreed
    other, customer = (row["enerflo_customer_id"] for row in desk.sql(CUSTOMERS))
    named = {"c": customer, "o": other}
    desk.sql(
        "update crm.leads set mobile = '5125550177', updated_at = now() where enerflo_customer_id = :c",
        **named,
    )
    plan = desk.plan()
    cut_off_after_the_request(desk, monkeypatch, plan.plan_hash)
    if not arrived:
        desk.world.edit_customer(customer, {"mobile": "5125550100"})
    desk.sql(RELINKED[how], **named)
    before, pairs = len(desk.world.received), desk.sql(PAIRS)
    run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    (row,) = desk.ledger(plan_hash=plan.plan_hash, field="mobile")
    assert row["decision"] == ("applied" if arrived else "moved")
    assert len(desk.world.received) == before
    assert desk.sql(PAIRS) == pairs
