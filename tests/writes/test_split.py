"""What needs nobody is a plan of its own, and what waits for a person holds nothing up."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.plan import read_stored_plan, run_plan
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.report import PlanReport, PlanState
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_completion import finished
from tests.writes.test_refused import edit, installs, status_at_enerflo

STATUS = "trim: true, fold_case: true, source_of_truth: newest}\n      system_size_kw"
PROTECTED = (STATUS, STATUS.replace("newest", "newest, protected: true"))


@pytest.fixture
def careful(desk: Desk) -> Desk:
    """An account in which an install's status is protected, and nothing differs."""
    brought(desk, _careful)
    return desk


def _careful(desk: Desk) -> None:
    desk.switched_on("both", PROTECTED)
    desk.carried()


def states(desk: Desk) -> dict[str, str]:
    return {row["plan_hash"]: row["state"] for row in desk.sql("select plan_hash, state from sync.plans")}


def both(desk: Desk) -> tuple[PlanReport, PlanReport]:
    free, waiting = run_plan(desk.context)
    assert (free.needs_approval, waiting.needs_approval) == (False, True)
    return free, waiting


def test_a_round_of_both_kinds_is_two_plans(careful: Desk) -> None:
    first, second = installs(careful)[:2]
    edit(careful, first, status="On Hold")
    edit(careful, second, panel_count=99)
    free, waiting = both(careful)
    assert [change.field for change in careful.changes(free)] == ["panel_count"]
    assert [change.field for change in careful.changes(waiting)] == ["status"]
    assert any("protected" in reason for reason in waiting.reasons)
    assert run_apply(careful.context, free.plan_hash).applied == 1
    assert states(careful)[waiting.plan_hash] == "open"
    # The next round finds the waiting one only, and it is the same.
    (again,) = run_plan(careful.context)
    assert again.plan_hash == waiting.plan_hash
    assert run_apply(careful.context, again.plan_hash, approved_by="Pat").applied == 1


def test_a_later_waiting_plan_takes_the_place_of_the_older(careful: Desk) -> None:
    first, second, third = installs(careful)[:3]
    edit(careful, first, status="On Hold")
    (older,) = run_plan(careful.context)
    edit(careful, second, status="On Hold")
    edit(careful, third, panel_count=99)
    free, newer = both(careful)
    assert states(careful)[older.plan_hash] == "superseded"
    assert newer.change_count == 2
    run_apply(careful.context, free.plan_hash)
    assert states(careful)[newer.plan_hash] == "open"


def test_one_kind_alone_is_one_plan(careful: Desk) -> None:
    install = installs(careful)[0]
    edit(careful, install, panel_count=99)
    assert [plan.needs_approval for plan in run_plan(careful.context)] == [False]
    careful.carried()
    edit(careful, install, status="On Hold")
    assert [plan.needs_approval for plan in run_plan(careful.context)] == [True]


def test_what_waits_for_its_number_does_not_make_later_changes_wait(desk: Desk) -> None:
    desk.switched_on("both", ("changes: 500", "changes: 2"), ("percent: 10", "percent: 100"))
    desk.carried()
    many, late = installs(desk)[:3], installs(desk)[3]
    for install in many:
        edit(desk, install, panel_count=99)
    (waiting,) = run_plan(desk.context)
    assert waiting.needs_approval
    edit(desk, late, panel_count=99)
    free, still = both(desk)
    assert still.plan_hash == waiting.plan_hash
    assert run_apply(desk.context, free.plan_hash).applied == 1
    # Of what waits nothing slips through because it has become less.
    desk.sql(
        "update crm.installs i set panel_count = e.panel_count from enerflo.installs e"
        " where e.install_id = i.enerflo_install_id and e.install_id = :i",
        i=many[0],
    )
    (fewer,) = run_plan(desk.context)
    assert (fewer.change_count, fewer.needs_approval) == (2, True)
    assert fewer.reasons == ["It waited for a person in the plan before, and nobody decided about it."]


def test_the_last_milestone_waits_with_the_install_that_it_completes(careful: Desk) -> None:
    install = careful.a_site().install_id
    plan = finished(careful, install)
    assert plan.needs_approval
    assert {change.table_name for change in careful.changes(plan)} == {"installs", "milestones"}
    run_apply(careful.context, plan.plan_hash, approved_by="Pat")
    assert status_at_enerflo(careful, install) != careful.a_site().status_id


def test_the_first_writes_to_enerflo_wait_and_the_crm_does_not(desk: Desk) -> None:
    desk.switched_on("crm")
    desk.carried()
    desk.switched_on("both")
    first, second = installs(desk)[:2]
    edit(desk, first, status="On Hold")
    edit(desk, second, panel_count=99)
    free, waiting = both(desk)
    assert {change.direction for change in desk.changes(free)} == {"to_crm"}
    assert {change.direction for change in desk.changes(waiting)} == {"to_enerflo"}
    assert any("first that writes to Enerflo" in reason for reason in waiting.reasons)


def test_rules_that_are_stricter_by_now_count_for_a_plan_made_before(desk: Desk) -> None:
    desk.switched_on("both")
    desk.carried()
    edit(desk, installs(desk)[0], panel_count=99)
    plan = desk.plan()
    assert not plan.needs_approval
    desk.switched_on("both", ("percent: 10", "percent: 10\n  always: true"))
    with pytest.raises(ConfigurationError, match=r"needs a person's approval.*approval\.always"):
        run_apply(desk.context, plan.plan_hash)
    assert desk.ledger(plan_hash=plan.plan_hash) == []
    waits = read_stored_plan(desk.context, plan.plan_hash)
    assert (waits.needs_approval, waits.state) == (True, PlanState.OPEN)
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").applied == 1


def test_an_approval_ends_by_the_clock(desk: Desk) -> None:
    desk.switched_on("both")
    desk.carried()
    edit(desk, installs(desk)[0], panel_count=99)
    plan = desk.plan()
    approved = run_approve(desk.context, plan.plan_hash, by="Pat")
    assert approved.expires_at > plan.expires_at
    desk.sql("update sync.plans set expires_at = now() - interval '1 second' where state = 'approved'")
    with pytest.raises(ConfigurationError, match="its approval has expired"):
        run_apply(desk.context, plan.plan_hash)
    again = desk.plan()
    assert again.plan_hash != plan.plan_hash
    assert (again.state, again.decided_by) == (PlanState.OPEN, None)
    assert read_stored_plan(desk.context, plan.plan_hash).state == PlanState.EXPIRED


def test_making_the_plan_again_does_not_make_an_approval_last_longer(desk: Desk) -> None:
    desk.switched_on("both")
    desk.carried()
    edit(desk, installs(desk)[0], panel_count=99)
    plan = desk.plan()
    approved = run_approve(desk.context, plan.plan_hash, by="Pat")
    again = desk.plan()
    assert (again.plan_hash, again.state) == (plan.plan_hash, PlanState.APPROVED)
    assert again.expires_at == approved.expires_at


@pytest.mark.parametrize("name", ["the approval rules", " The Approval Rules ", "", "  "])
def test_the_rules_and_nobody_are_no_person(desk: Desk, name: str) -> None:
    desk.switched_on("both")
    plan = desk.plan()
    for decide in (
        lambda: run_apply(desk.context, plan.plan_hash, approved_by=name),
        lambda: run_approve(desk.context, plan.plan_hash, by=name),
        lambda: run_reject(desk.context, plan.plan_hash, by=name),
    ):
        with pytest.raises(ConfigurationError, match=r"nobody is named|are no person"):
            decide()
    assert read_stored_plan(desk.context, plan.plan_hash).state is PlanState.OPEN


def test_applied_a_second_time_it_says_when_it_was(desk: Desk) -> None:
    desk.switched_on("both")
    desk.carried()
    edit(desk, installs(desk)[0], panel_count=99)
    plan = desk.plan()
    first = run_apply(desk.context, plan.plan_hash)
    again = run_apply(desk.context, plan.plan_hash)
    assert (first.already, again.already, again.applied_at) == (False, True, first.applied_at)
    assert again.message.endswith("UTC already.")
    assert not again.needs_a_person


def test_the_same_part_is_the_same_plan_whatever_is_planned_beside_it(careful: Desk) -> None:
    """Also where what stands beside it comes first: a part's changes have positions of their own."""
    first, second = installs(careful)[:2]
    edit(careful, second, status="On Hold")
    (alone,) = run_plan(careful.context)
    edit(careful, first, panel_count=99, system_size_kw=1)
    _, beside = both(careful)
    assert beside.plan_hash == alone.plan_hash
    assert run_apply(careful.context, beside.plan_hash, approved_by="Pat").applied == 1


QUARANTINED = (
    "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at, last_seen_at,"
    " count, state, table_name, key) values ('default', concat('q', :i), 'record', 'r', 'f', now(), now(), 1,"
    " 'open', 'installs', jsonb_build_object('install_id', cast(:i as bigint)))"
)


def three_that_wait(desk: Desk) -> tuple[list[int], PlanReport]:
    """Return three installs and the plan of their changes, which waits as they are more than two."""
    desk.switched_on("crm")
    desk.carried()
    desk.switched_on("crm", ("changes: 500", "changes: 2"), ("new_mapping: true", "new_mapping: false"))
    found = installs(desk)[:3]
    for install in found:
        edit(desk, install, panel_count=99)
    (plan,) = run_plan(desk.context)
    assert plan.needs_approval
    return found, plan


@pytest.mark.parametrize("ended_by", ["plan", "undo"])
def test_what_a_person_left_out_of_an_approval_goes_on_waiting(desk: Desk, ended_by: str) -> None:
    (first, *rest), plan = three_that_wait(desk)
    run_approve(desk.context, plan.plan_hash, by="Pat", part=Part(only=[f"installs:{first}"]))
    # The application never came, and what was approved is not due any more.
    true = desk.one("select panel_count from enerflo.installs where install_id = :i", i=first)
    edit(desk, first, panel_count=true)
    if ended_by == "undo":
        run_undo(desk.context, plan.plan_hash)
    for _ in range(2):
        (later,) = run_plan(desk.context)
        assert later.needs_approval
        keys = {change.key["enerflo_install_id"] for change in desk.changes(later)}
        assert keys == set(rest)


def test_what_was_not_due_for_one_round_goes_on_waiting(desk: Desk) -> None:
    (first, *rest), _ = three_that_wait(desk)
    for install in rest:
        desk.sql(QUARANTINED, i=install)
    (between,) = run_plan(desk.context)
    assert [change.key["enerflo_install_id"] for change in desk.changes(between)] == [first]
    desk.sql("update sync.quarantine set state = 'replayed'")
    (later,) = run_plan(desk.context)
    assert (later.needs_approval, later.change_count) == (True, 3)
