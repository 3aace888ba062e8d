"""A report says which of its explained differences wait for a person, so that a green line claims no more."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.writes.conftest import Desk, agreed, agreed_warehouse, agreeing, desk, polled_warehouse

__all__ = ["agreed", "agreed_warehouse", "agreeing", "desk", "polled_warehouse"]

ON_HOLD = 4
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


def said(report: ReconciliationReport) -> bool:
    (table,) = [one for one in report.tables if one.table_name == "installs"]
    told = [one for one in table.remarks if "for a person" in one]
    assert len(told) == (1 if table.waiting else 0)
    assert ("for a person" in verdict_text(report).detail) == bool(table.waiting)
    return bool(told)


def test_a_difference_whose_write_was_parked_is_said_to_wait(agreeing: Desk) -> None:
    agreeing.switched_on("crm", AT_ONCE)
    agreeing.sql("alter table crm.installs add constraint c check (status <> 'On Hold') not valid")
    agreeing.world.set_status(agreeing.a_site().install_id, ON_HOLD)
    run_poll(agreeing.context)
    assert not said(run_reconcile(agreeing.context))
    plan = agreeing.plan()
    assert not said(run_reconcile(agreeing.context))
    assert run_apply(agreeing.context, plan.plan_hash, approved_by="Pat").parked == 1
    # It is said after the apply as well as after the plan that holds it back.
    report = run_reconcile(agreeing.context)
    assert said(report)
    assert (report.unexplained, report.waiting) == (0, 1)
    assert agreeing.plan().change_count == 0
    assert said(run_reconcile(agreeing.context))
    agreeing.sql("alter table crm.installs drop constraint c")
    agreeing.sql("update sync.ledger set recorded_at = recorded_at - interval '1 day'")
    agreeing.carried()
    assert not said(run_reconcile(agreeing.context))


def test_a_question_of_the_last_plan_is_said_to_wait(agreeing: Desk) -> None:
    newest = "enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest"
    agreeing.switched_on("crm", AT_ONCE, (newest, newest.replace("newest", "review")))
    install = agreeing.a_site().install_id
    agreeing.sql("update crm.installs set status = 'Cancelled' where enerflo_install_id = :i", i=install)
    agreeing.world.set_status(install, ON_HOLD)
    run_poll(agreeing.context)
    agreeing.carried()
    assert run_reconcile(agreeing.context).waiting == 1


def test_a_new_row_that_could_not_be_made_is_said_to_wait(agreeing: Desk) -> None:
    agreeing.switched_on("crm", AT_ONCE)
    made = agreeing.world.create_install()
    agreeing.sql(f"alter table crm.installs add constraint c check (enerflo_install_id <> {made})")
    run_poll(agreeing.context)
    agreeing.carried()
    assert run_reconcile(agreeing.context).waiting == 1
