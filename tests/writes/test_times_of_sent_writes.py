"""Under ``newest``: a request that was sent, and whose record was not read back, may have left the record's time."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.decided_plan import Part
from tests.writes.conftest import Desk
from tests.writes.sending import cut_off_after_the_request
from tests.writes.test_newest import a_milestone, crm_status, direction
from tests.writes.test_unmoved_times import asked

NEW_DUE = datetime(2031, 1, 1, tzinfo=UTC)


def both_change(desk: Desk, install: int, milestone: int) -> None:
    """Enerflo changes a date, and then the CRM does."""
    desk.world.set_milestone(install, milestone, {"due": NEW_DUE})
    # Enerflo tells whole seconds.
    time.sleep(1.1)
    due_in_crm(desk, install, milestone, "2032-01-01")
    time.sleep(1.1)


def due_in_crm(desk: Desk, install: int, milestone: int, value: str) -> None:
    desk.sql(
        "update crm.milestones set due_at = cast(:v as timestamptz), updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        v=value,
        i=install,
        m=milestone,
    )


def sent_alone(desk: Desk) -> None:
    """Send the date, and nothing else, which moves the time of the install."""
    plan = desk.plan()
    part = Part(only=["milestones.due_at"])
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat", part=part).applied == 1


@pytest.fixture
def cut_off(agreed: Desk, monkeypatch: pytest.MonkeyPatch) -> tuple[Desk, int]:
    """A date that both sides changed, the CRM later, before our request moved the time of the install.

    The process was lost after the request, so nobody knows what its own time is.
    """
    install, milestone = a_milestone(agreed)
    crm_status(agreed, install, "On Hold")
    plan = agreed.plan()
    both_change(agreed, install, milestone)
    cut_off_after_the_request(agreed, monkeypatch, plan.plan_hash, nth=len(agreed.world.received) + 1)
    run_poll(agreed.context)
    return agreed, install


def test_a_later_edit_of_the_crm_is_not_overwritten_by_it(cut_off: tuple[Desk, int]) -> None:
    desk, install = cut_off
    assert len(asked(desk, "due_at")) == 1
    # Nor after our next write, whose time is known.
    crm_status(desk, install, "Cancelled")
    plan = desk.plan()
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert len(asked(desk, "due_at")) == 1


def test_an_edit_of_the_crm_after_the_request_is_the_later_one(cut_off: tuple[Desk, int]) -> None:
    desk, install = cut_off
    time.sleep(1.1)
    milestone = a_milestone(desk)[1]
    due_in_crm(desk, install, milestone, "2033-01-01")
    assert direction(desk, "due_at") == ["to_enerflo"]


def test_a_request_that_was_refused_leaves_no_time(agreed: Desk) -> None:
    install, milestone = a_milestone(agreed)
    crm_status(agreed, install, "On Hold")
    plan = agreed.plan()
    path = f"/api/v3/installs/{install}"
    agreed.api.faults = Faults(script=[ScriptedFault(FaultKind.FORBIDDEN, path, 1, 99, "PUT")])
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    agreed.api.faults = Faults()
    due_in_crm(agreed, install, milestone, "2032-01-01")
    time.sleep(1.1)
    agreed.world.set_milestone(install, milestone, {"due": NEW_DUE})
    run_poll(agreed.context)
    assert direction(agreed, "due_at") == ["to_crm"]


@pytest.mark.parametrize("lean", [False, True])
def test_our_own_time_stays_ours_where_a_list_tells_less_than_a_direct_read(agreed: Desk, lean: bool) -> None:
    """The next poll brings the record in other bytes: nothing that Enerflo says in it was changed."""
    assert agreed.api is not None
    agreed.api.lean_lists = lean
    run_poll(agreed.context)
    install, milestone = a_milestone(agreed)
    agreed.plan()
    agreed.world.set_status(install, 4)
    time.sleep(1.1)
    crm_status(agreed, install, "Cancelled")
    due_in_crm(agreed, install, milestone, "2033-01-01")
    time.sleep(1.1)
    # Enerflo's status is not known yet by then.
    sent_alone(agreed)
    # A column that sync.yaml declares since is no change either.
    agreed.sql("alter table enerflo.installs add declared text default 'Some lender'")
    run_poll(agreed.context)
    assert direction(agreed) == ["to_enerflo"]


def test_a_change_within_the_second_of_our_request_is_somebody_elses(agreed: Desk) -> None:
    install, milestone = a_milestone(agreed)
    agreed.plan()
    crm_status(agreed, install, "Cancelled")
    due_in_crm(agreed, install, milestone, "2033-01-01")
    time.sleep(1.1)
    sent_alone(agreed)
    agreed.sql(
        "update enerflo.installs set status_name = 'Completed', observed_at = now() where install_id = :i",
        i=install,
    )
    assert direction(agreed) == ["to_crm"]
