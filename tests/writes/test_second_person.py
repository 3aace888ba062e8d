"""Where two persons have to approve a plan (``approval.second_person``), neither of them is enough."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve, run_reject
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.report import PlanReport, PlanState
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_refused import edit, installs
from tests.writes.test_undo_whole_rows import DELETED_TOO, NO_TIME, NOT_IN_FLIGHT

TWO = ("first_to_enerflo: true", "first_to_enerflo: true\n  second_person: true")
ALWAYS = (TWO[0], f"{TWO[1]}\n  always: true")
TWO_PERSONS = "Two persons have to approve it (approval.second_person)."


@pytest.fixture
def waiting(desk: Desk) -> PlanReport:
    """A plan that waits for two persons."""
    return brought(desk, _waits)


def _waits(desk: Desk) -> PlanReport:
    desk.switched_on("both", TWO)
    plan = desk.plan()
    assert plan.waits_for_approval
    return plan


@pytest.fixture
def mixed(agreed: Desk) -> tuple[Desk, PlanReport]:
    """A plan of panels and statuses that waits for two persons."""
    return agreed, brought(agreed, _mixed)


def _mixed(agreed: Desk) -> PlanReport:
    agreed.switched_on("both", ALWAYS)
    first, second = installs(agreed)[:2]
    edit(agreed, first, panel_count=99, status="On Hold")
    edit(agreed, second, panel_count=98)
    return agreed.plan()


def test_nothing_is_written_before_two_persons_approved_and_both_are_named(
    desk: Desk, waiting: PlanReport
) -> None:
    assert waiting.reasons[-1] == TWO_PERSONS
    first = run_apply(desk.context, waiting.plan_hash, approved_by="Maria Lopez")
    assert (first.state, first.applied, first.decided_by) == ("open", 0, None)
    assert first.needs_a_person
    assert first.message.startswith("Maria Lopez approved it on 20")
    assert first.message.endswith("Nothing was written.")
    assert (desk.ledger(), desk.world.received) == ([], [])
    with pytest.raises(ConfigurationError, match=r"Maria Lopez approved it .*A second person has to"):
        run_apply(desk.context, waiting.plan_hash)
    done = run_apply(desk.context, waiting.plan_hash, approved_by="Jo")
    assert (done.state, done.decided_by) == ("applied", "Maria Lopez and Jo")
    assert done.applied == waiting.change_count
    assert {row["decided_by"] for row in desk.ledger()} == {"Maria Lopez and Jo"}
    stored = desk.sql(
        "select first_approval ->> 'as' as first, decided_as from sync.plans where change_count > 0"
    )
    assert stored[0]["first"] == stored[0]["decided_as"] is not None
    assert "Applied, approved by Maria Lopez and Jo" in desk.page(waiting)


@pytest.mark.parametrize("again", ["Maria", " maria ", "MARIA", "Ｍａｒｉａ"])  # noqa: RUF001 - the same, wide
def test_the_first_person_is_not_the_second_however_the_name_is_written(
    desk: Desk, waiting: PlanReport, again: str
) -> None:
    run_approve(desk.context, waiting.plan_hash, by="Maria")
    with pytest.raises(ConflictError, match="Maria approved it already"):
        run_approve(desk.context, waiting.plan_hash, by=again)
    assert desk.one("select state from sync.plans") == "open"


@pytest.mark.parametrize("again", ["Mar\u200bia", "Ma\u00adria\u2060", "Maria\u200e"])
def test_characters_that_nobody_sees_make_no_second_person(
    desk: Desk, waiting: PlanReport, again: str
) -> None:
    run_approve(desk.context, waiting.plan_hash, by="Maria")
    with pytest.raises(ConflictError, match="Maria approved it already"):
        run_approve(desk.context, waiting.plan_hash, by=again)


def test_one_no_is_enough_and_ends_the_first_approval(desk: Desk, waiting: PlanReport) -> None:
    run_approve(desk.context, waiting.plan_hash, by="Maria")
    run_reject(desk.context, waiting.plan_hash, by="Sam", reason="no")
    assert desk.sql("select state, decided_by, first_approval from sync.plans") == [
        {"state": "rejected", "decided_by": "Sam", "first_approval": None}
    ]
    # After all, but by two.
    one = run_apply(desk.context, waiting.plan_hash, approved_by="Maria")
    assert (one.state, desk.world.received) == ("rejected", [])
    assert "after all, and a second person has to" in desk.page(waiting)
    done = run_apply(desk.context, waiting.plan_hash, approved_by="Jo")
    assert (done.applied, done.decided_by) == (waiting.change_count, "Maria and Jo")


def test_both_approve_the_same_part(mixed: tuple[Desk, PlanReport]) -> None:
    desk, plan = mixed
    before = len(desk.ledger())
    part = Part(only=["installs.panel_count"], rest=Rest.OPEN)
    run_approve(desk.context, plan.plan_hash, by="Maria", part=part)
    for other in (Part(), Part(only=part.only, rest=Rest.REFUSE), Part(without=part.only)):
        with pytest.raises(ConfigurationError, match=r"another part: installs.panel_count; the rest stays"):
            run_approve(desk.context, plan.plan_hash, by="Jo", part=other)
    done = run_apply(desk.context, plan.plan_hash, approved_by="Jo", part=part)
    assert {(row["field"], row["decided_by"]) for row in desk.ledger()[before:]} == {
        ("panel_count", "Maria and Jo")
    }
    assert (done.state, done.applied, done.left_open) == ("open", 2, 1)
    # The rest waits for two persons anew.
    again = run_apply(desk.context, plan.plan_hash, approved_by="Jo")
    assert (again.applied, again.message.startswith("Jo approved it")) == (2, True)


def test_who_was_first_may_choose_anew(mixed: tuple[Desk, PlanReport]) -> None:
    desk, plan = mixed
    run_approve(desk.context, plan.plan_hash, by="Maria", part=Part(only=["installs.status"]))
    run_approve(desk.context, plan.plan_hash, by="Maria")
    assert run_approve(desk.context, plan.plan_hash, by="Jo").decided_by == "Maria and Jo"


def test_a_part_that_is_rejected_ends_the_first_approval_of_all(mixed: tuple[Desk, PlanReport]) -> None:
    desk, plan = mixed
    run_approve(desk.context, plan.plan_hash, by="Maria")
    part = Part(only=["installs.status"])
    left = run_reject(desk.context, plan.plan_hash, by="Sam", reason="no", part=part)
    assert (left.state, left.first_approved_by) == ("open", None)


def test_a_part_that_does_not_fit_is_refused_at_once(desk: Desk, waiting: PlanReport) -> None:
    with pytest.raises(ConfigurationError, match="nothing of the plan fits"):
        run_approve(desk.context, waiting.plan_hash, by="Maria", part=Part(only=["colours"]))
    assert desk.one("select first_approval from sync.plans") is None


def test_what_one_person_approved_before_two_had_to_waits_again(desk: Desk) -> None:
    desk.switched_on("both")
    plan = desk.plan()
    run_approve(desk.context, plan.plan_hash, by="Maria")
    desk.switched_on("both", TWO)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"Maria approved it .*A second person has to"):
            run_apply(desk.context, plan.plan_hash)
        assert desk.one("select state from sync.plans") == "open"
    assert desk.ledger() == []
    done = run_apply(desk.context, plan.plan_hash, approved_by="Jo")
    assert (done.applied, done.decided_by) == (plan.change_count, "Maria and Jo")


def test_the_same_plan_made_again_keeps_the_first_approval_for_its_time(
    desk: Desk, waiting: PlanReport
) -> None:
    run_approve(desk.context, waiting.plan_hash, by="Maria")
    assert desk.plan().first_approved_by == "Maria"
    desk.sql(
        "update sync.plans set first_approval = first_approval"
        " || jsonb_build_object('at', now() - interval '25 hours')"
    )
    assert desk.plan().first_approved_by is None
    assert run_approve(desk.context, waiting.plan_hash, by="Jo").state is PlanState.OPEN


def test_a_first_approval_of_a_row_that_changed_since_is_dropped(desk: Desk) -> None:
    desk.sql("alter table crm.notes alter column updated_at set default now()")
    deletes = (NOT_IN_FLIGHT, NO_TIME, DELETED_TOO)
    desk.switched_on("both", *deletes)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    desk.switched_on("both", TWO, *deletes)
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    plan = desk.plan()
    assert [change.op for change in desk.changes(plan)] == ["delete"]
    run_approve(desk.context, plan.plan_hash, by="Maria")
    assert desk.plan().first_approved_by == "Maria"
    desk.sql("update crm.notes set author = 'Ann' where enerflo_note_id = :note", note=note)
    again = desk.plan()
    assert (again.plan_hash, again.first_approved_by) == (plan.plan_hash, None)


def test_a_plan_that_needs_nobody_needs_no_two(desk: Desk) -> None:
    never = ("nulling: true", "nulling: false"), ("deletions: true", "deletions: false")
    never += ("new_mapping: true", "new_mapping: false"), ("percent: 10", "percent: 100")
    desk.switched_on("crm", TWO, *never)
    plan = desk.plan()
    assert not plan.needs_approval
    assert TWO_PERSONS not in plan.reasons
    assert run_apply(desk.context, plan.plan_hash).decided_by == "the approval rules"
