"""What several people decide about one plan, one after the other: each decision stands, and is told as it was."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConflictError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import read_refusals, run_approve, run_reject
from enerflo_sync.jobs.plan import read_stored_plan
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.test_parts import ends, three

__all__ = ["three"]

Three = tuple[Desk, PlanReport, list[int]]
TWO = ("approval:", "approval:\n  second_person: true\n  always: true")


def test_a_yes_after_all_does_not_make_the_part_that_another_person_refused_before(three: Three) -> None:
    desk, plan, (_, second) = three
    run_reject(desk.context, plan.plan_hash, by="Sam", part=Part(only=[f"installs:{second}"]))
    run_reject(desk.context, plan.plan_hash, by="Ann")
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.refused) == (2, 1)
    assert ends(desk, plan)[second, "panel_count"] == "refused"
    assert [one.decided_by for one in read_refusals(desk.context)] == ["Sam"]
    assert desk.plan().change_count == 0


def test_the_second_of_two_who_reject_learns_who_was_first_and_changes_nothing(three: Three) -> None:
    desk, plan, _ = three
    run_reject(desk.context, plan.plan_hash, by="Sam", reason="not now")
    with pytest.raises(ConflictError, match=r"it is rejected already by Sam on 20.*Nothing was changed now"):
        run_reject(desk.context, plan.plan_hash, by="Ann", reason="never")
    stored = read_stored_plan(desk.context, plan.plan_hash)
    assert (stored.decided_by, stored.decision_reason) == ("Sam", "not now")


def test_nobodys_answer_in_time_hides_no_persons_no(three: Three) -> None:
    """The person was quicker than the task that asks, which had read the plan before."""
    desk, plan, _ = three
    run_reject(desk.context, plan.plan_hash, by="Sam", reason="not now")
    assert run_reject(desk.context, plan.plan_hash, by=None).decided_by == "Sam"
    stored = read_stored_plan(desk.context, plan.plan_hash)
    assert (stored.decided_by, stored.decision_reason) == ("Sam", "not now")


def test_a_yes_to_all_after_a_yes_to_a_part_is_a_yes_to_all(three: Three) -> None:
    desk, plan, (_, second) = three
    run_approve(desk.context, plan.plan_hash, by="Sam", part=Part(only=[f"installs:{second}"]))
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.left_open, report.needs_a_person) == (3, 0, False)


def test_where_two_have_to_approve_a_yes_to_all_adds_nothing_to_what_the_first_approved(three: Three) -> None:
    """Sam approved a part when one person was enough."""
    desk, plan, (_, second) = three
    run_approve(desk.context, plan.plan_hash, by="Sam", part=Part(only=[f"installs:{second}"]))
    desk.switched_on("both", TWO)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.left_open, report.decided_by) == (1, 2, "Sam and Pat")


def test_of_a_plan_that_waits_for_a_second_yes_after_a_no_another_no_ends_the_first_yes(three: Three) -> None:
    desk, plan, _ = three
    desk.switched_on("both", TWO)
    run_reject(desk.context, plan.plan_hash, by="Sam")
    assert run_approve(desk.context, plan.plan_hash, by="Pat").first_approved_by == "Pat"
    rejected = run_reject(desk.context, plan.plan_hash, by="Ann")
    assert (rejected.state, rejected.first_approved_by) == ("rejected", None)


def test_two_have_to_approve_a_rejected_plan_after_all_also_where_it_needed_nobody_before(
    three: Three,
) -> None:
    desk, plan, _ = three
    assert not plan.needs_approval
    run_reject(desk.context, plan.plan_hash, by="Sam")
    desk.switched_on("both", TWO)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.refused) == (0, 3)
    assert report.message.startswith("Pat approved it on 20")
    assert run_apply(desk.context, plan.plan_hash, approved_by="Kim").decided_by == "Pat and Kim"
    assert set(ends(desk, plan).values()) == {"applied"}
