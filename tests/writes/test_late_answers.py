"""A yes or no of a person that comes when the plan has ended already."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.plan.report import PlanState
from tests.writes.conftest import Desk
from tests.writes.test_apply import counts, installs, spoiled


def test_a_plan_that_nobody_answered_waits_again_when_it_is_made_again(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 1))
    plan = agreeing.plan()
    run_reject(agreeing.context, plan.plan_hash, by=None, reason="nobody answered in time")
    assert agreeing.ledger(plan_hash=plan.plan_hash) == []
    assert agreeing.plan().state is PlanState.OPEN


def superseded(desk: Desk) -> str:
    """Return a plan that waited and that another one took the place of."""
    first, second = installs(desk, 2)
    spoiled(desk, first)
    plan = desk.plan()
    spoiled(desk, second)
    desk.plan()
    return plan.plan_hash


def test_a_yes_that_comes_after_a_later_plan_is_refused(agreeing: Desk) -> None:
    late = superseded(agreeing)
    for say_yes in (
        lambda: run_approve(agreeing.context, late, by="Pat"),
        lambda: run_apply(agreeing.context, late, approved_by="Pat"),
    ):
        with pytest.raises(ConfigurationError, match="it was superseded"):
            say_yes()
    assert agreeing.one("select state from sync.plans where plan_hash = :late", late=late) == "superseded"
    assert counts(agreeing, *installs(agreeing, 2)) == [99, 99]


def test_a_yes_that_comes_after_its_time_is_refused(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 1))
    plan = agreeing.plan()
    agreeing.sql("update sync.plans set expires_at = now() - interval '1 second'")
    with pytest.raises(ConfigurationError, match="it has expired"):
        run_approve(agreeing.context, plan.plan_hash, by="Pat")


def test_a_yes_to_what_was_applied_meanwhile_changes_nothing(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 1))
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    found = run_approve(agreeing.context, plan.plan_hash, by="Sam")
    assert (found.state, found.decided_by) == (PlanState.APPLIED, "Pat")


def test_a_no_to_what_was_superseded_leaves_it_so(agreeing: Desk) -> None:
    late = superseded(agreeing)
    for who in ("Sam", None):
        found = run_reject(agreeing.context, late, by=who, reason="no")
        assert (found.state, found.decided_by) == (PlanState.SUPERSEDED, None)
    assert agreeing.ledger(plan_hash=late) == []


def test_a_no_to_what_was_applied_meanwhile_is_an_error_but_for_nobodys(agreeing: Desk) -> None:
    spoiled(agreeing, *installs(agreeing, 1))
    plan = agreeing.plan()
    run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    with pytest.raises(ConfigurationError, match="it is applied and can no longer be rejected"):
        run_reject(agreeing.context, plan.plan_hash, by="Sam")
    found = run_reject(agreeing.context, plan.plan_hash, by=None, reason="nobody answered in time")
    assert (found.state, found.decided_by) == (PlanState.APPLIED, "Pat")
