"""A run whose plan was not made whole did not end well, whatever Airflow says of its tasks."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.pages.run_page import RunFacts, read_run
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.render.verdict import Tone
from tests.writes.conftest import Desk
from tests.writes.test_refused import edit, installs


def tone_of(desk: Desk, plan: PlanReport) -> Tone:
    """Return the colour of the page of the DAG run that made and applied a plan."""
    facts = RunFacts(
        dag_id="enerflo_sync",
        run_id="manual",
        job="sync",
        account="default",
        state="success",
        queued_at=None,
        started_at=None,
        ended_at=None,
        note="",
        results={"plan_hash": plan.plan_hash},
    )
    with desk.engine.connect() as connection:
        return read_run(connection, facts).tone


def test_a_run_of_whose_plan_a_change_could_not_be_made_did_not_end_well(agreed: Desk) -> None:
    first, second = installs(agreed)[:2]
    agreed.sql("alter table crm.installs add constraint few check (panel_count < 90) not valid")
    for install, count in ((first, 99), (second, 20)):
        agreed.sql(
            "update enerflo.installs set panel_count = :n, observed_at = now() where install_id = :id",
            n=count,
            id=install,
        )
    plan = agreed.plan()
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (1, 1)
    assert tone_of(agreed, plan) is Tone.UNSURE


def test_a_run_of_whose_plan_a_change_had_moved_did_not_end_well(agreed: Desk) -> None:
    first, second = installs(agreed)[:2]
    agreed.world.set_status(first, 4)
    run_poll(agreed.context)
    plan = agreed.plan()
    edit(agreed, first, status="Completed")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert tone_of(agreed, plan) is Tone.UNSURE
    agreed.world.set_status(second, 4)
    run_poll(agreed.context)
    whole = agreed.plan()
    assert run_apply(agreed.context, whole.plan_hash, approved_by="Pat").moved == 0
    assert tone_of(agreed, whole) is Tone.GOOD
