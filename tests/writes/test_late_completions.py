"""A completion that a plan did not make although it wrote the last milestone: a later plan has it."""

from __future__ import annotations

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.completion import LAST_MILESTONE
from tests.writes.conftest import Desk
from tests.writes.sending import cut_off_after_the_request, note
from tests.writes.test_completion import finished

WRITES = "status: {status: status_id}"


def status(desk: Desk, install_id: int) -> str:
    return str(desk.one("select status_name from enerflo.installs where install_id = :i", i=install_id))


@pytest.fixture
def cut_off(agreed: Desk, monkeypatch: pytest.MonkeyPatch) -> int:
    """An install whose last milestone was written when the process was lost, before its status was."""
    install_id = agreed.a_site().install_id
    plan = finished(agreed, install_id)
    cut_off_after_the_request(agreed, monkeypatch, plan.plan_hash)
    run_poll(agreed.context)
    return install_id


def test_one_that_was_cut_off_after_its_milestone_is_made_by_the_next_plan_once(
    agreed: Desk, cut_off: int
) -> None:
    note(agreed, "N1", cut_off)
    for _ in range(3):
        agreed.carried()
        run_poll(agreed.context)
    assert [one.method for one in agreed.world.received] == ["PUT", "PUT", "POST"]
    assert status(agreed, cut_off) == "Completed"
    assert agreed.crm("installs", enerflo_install_id=cut_off)["status"] == "Completed"
    agreed.settled()


def test_it_is_not_made_once_the_status_was_changed_meanwhile(agreed: Desk, cut_off: int) -> None:
    for other in (4, c.IN_PROGRESS):
        agreed.world.set_status(cut_off, other)
        run_poll(agreed.context)
        assert agreed.changes(agreed.plan(), rule=LAST_MILESTONE) == []
        agreed.carried()
    assert agreed.plan().change_count == 0


def test_it_is_not_made_for_a_milestone_that_is_opened_again(agreed: Desk, cut_off: int) -> None:
    last = agreed.one(
        "select milestone_id from enerflo.milestones where install_id = :i and deleted_at is null"
        " order by sequence desc limit 1",
        i=cut_off,
    )
    # Both sides agreed on it before.
    assert len(agreed.changes(agreed.plan(), rule=LAST_MILESTONE)) == 1
    agreed.world.set_milestone(cut_off, last, {"completed": None})
    run_poll(agreed.context)
    assert agreed.changes(agreed.plan(), rule=LAST_MILESTONE) == []


def test_it_is_not_made_once_the_crm_took_the_date_away(agreed: Desk, cut_off: int) -> None:
    agreed.sql(
        "update crm.milestones set completed_at = null, updated_at = now() where enerflo_install_id = :i",
        i=cut_off,
    )
    assert agreed.changes(agreed.plan(), rule=LAST_MILESTONE) == []


def test_it_is_not_made_where_the_crm_takes_the_date_away_before_the_request(
    agreed: Desk, cut_off: int
) -> None:
    plan = agreed.plan()
    assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == 1
    agreed.sql(
        "update crm.milestones set completed_at = null, updated_at = now() where enerflo_install_id = :i",
        i=cut_off,
    )
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["moved"] == {"the CRM says something else than when the plan was made.": 1}
    run_poll(agreed.context)
    assert status(agreed, cut_off) == "In progress"


def test_it_is_not_made_with_a_status_that_completes_no_install_any_more(agreed: Desk, cut_off: int) -> None:
    agreed.switched_on("both", ("completed: Completed", "completed: Pending KCA"))
    assert agreed.changes(agreed.plan(), rule=LAST_MILESTONE) == []


def test_one_that_enerflo_refused_is_a_question_and_is_tried_again(agreed: Desk) -> None:
    agreed.switched_on("both", (WRITES, "status: {status: nonsense}"))
    install_id = agreed.a_site().install_id
    report = run_apply(agreed.context, finished(agreed, install_id).plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (1, 1)
    run_poll(agreed.context)
    then = agreed.plan()
    assert agreed.changes(then) == []
    (asked,) = agreed.undecided(then)
    assert (asked.field, (asked.reason or "")[:20]) == ("status", "it could not be made")
    # Another request is tried at once.
    agreed.switched_on("both")
    assert [one.field for one in agreed.changes(agreed.plan(), rule=LAST_MILESTONE)] == ["status"]
    agreed.carried()
    assert status(agreed, install_id) == "Completed"
