"""A column that is mapped otherwise by now: what both sides agreed on before is no sign of who changed it."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk
from tests.writes.test_undo import applied, polled, undone

QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"
STARTED = "started_at: {enerflo: started_at, type: timestamp, precision: second, source_of_truth: newest}"
DUE = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"
REVIEW = "source_of_truth: review"
RULES = ("new_mapping", "first_to_enerflo", "nulling")
WITHOUT_A_ZONE = "The CRM's column of milestones.started_at changed from timestamptz to timestamp"


def called(word: str) -> tuple[str, str]:
    """Map the status of an install in progress to a word of the CRM."""
    values = f"source_of_truth: enerflo, values: {{In progress: {word}}}"
    return STATUS, STATUS.replace("source_of_truth: newest", values)


def questions(desk: Desk, plan: PlanReport, field: str) -> set[str]:
    return {one.reason for one in desk.undecided(plan) if one.field == field}


def test_a_word_that_changed_is_written_also_where_a_plan_wrote_the_one_before(agreed: Desk) -> None:
    agreed.switched_on("crm", QUICK, called("Running"))
    agreed.carried()
    running = agreed.one("select count(*) from crm.installs where status = 'Running'")
    assert running > 0
    agreed.switched_on("crm", QUICK, called("Active"))
    found = run_reconcile(agreed.context).tables[0].by_cause
    assert Cause.EQUAL_AFTER_NORMALISATION not in found
    assert sum(found.values()) == running
    changes = agreed.changes(agreed.plan())
    assert [(one.field, one.before, one.after) for one in changes] == [
        ("status", "Running", "Active")
    ] * running
    agreed.carried()
    assert agreed.one("select count(*) from crm.installs where status = 'Active'") == running
    assert agreed.plan().change_count == 0


def test_another_zone_of_the_crms_times_sends_nothing_as_an_edit_of_the_crm(agreed: Desk) -> None:
    agreed.sql(
        "alter table crm.milestones alter started_at type timestamp using started_at at time zone 'UTC'"
    )
    agreed.carried()
    assert agreed.plan().change_count == 0
    denver = STARTED.replace("source_of_truth: newest", f"time_zone: America/Denver, {REVIEW}")
    agreed.switched_on("both", QUICK, (STARTED, denver))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert questions(agreed, plan, "started_at") == {"the two sides never agreed on it"}
    # The zone from before was right after all.
    agreed.switched_on("both", QUICK, (STARTED, STARTED.replace("source_of_truth: newest", REVIEW)))
    plan = agreed.plan()
    assert (plan.change_count, questions(agreed, plan, "started_at")) == (0, set())
    # All are agreed on anew: an edit of one side is an edit again.
    agreed.sql(
        "update crm.milestones set started_at = '2026-03-02 08:00', updated_at = now()"
        " where (enerflo_install_id, milestone_id) = (select enerflo_install_id, milestone_id from crm.milestones"
        "   where started_at is not null order by 1, 2 limit 1)"
    )
    (change,) = agreed.changes(agreed.plan())
    assert (change.direction, change.rule) == ("to_enerflo", "only_side_moved")


def test_another_field_of_enerflo_overwrites_nothing_as_an_edit_of_enerflo(agreed: Desk) -> None:
    due = STARTED.replace("enerflo: started_at", "enerflo: due_at").replace("source_of_truth: newest", REVIEW)
    agreed.switched_on("both", QUICK, (STARTED, due))
    plan = agreed.plan()
    rules = {one.rule for one in agreed.changes(plan)}
    assert rules <= {"fills_gap"}
    assert questions(agreed, plan, "started_at") == {"the two sides never agreed on it"}


def test_another_table_of_the_crm_sends_nothing_as_an_edit_of_the_crm(agreed: Desk) -> None:
    older = (STATUS, STATUS.replace("source_of_truth: newest", REVIEW))
    agreed.switched_on("both", QUICK, older)
    assert agreed.plan().change_count == 0
    agreed.sql("create table crm.older (like crm.installs including all)")
    agreed.sql("insert into crm.older select * from crm.installs")
    agreed.sql("update crm.older set status = 'On Hold' where status = 'Pending KCA'")
    # What a plan left apart stays so where the other table says the same: it is a copy, or a table that moved.
    agreed.sql(
        "update sync.agreed set agreed_by = 'push', crm_value = '\"Kept\"' where table_name = 'installs'"
        " and field = 'status' and value = '\"Completed\"'"
    )
    agreed.sql("update crm.older set status = 'Kept' where status = 'Completed'")
    agreed.switched_on("both", QUICK, older, ("crm_table: crm.installs", "crm_table: crm.older"))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert [one.reason for one in agreed.undecided(plan)] == ["the two sides never agreed on it"] * 2


def test_an_undo_takes_nothing_back_in_another_field_of_enerflo(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    row = agreed.sql(
        "select enerflo_install_id as i, milestone_id as m from crm.milestones join crm.installs"
        " using (enerflo_install_id) where status = 'In progress' and started_at is not null"
        " and due_at is distinct from started_at order by 1, 2 limit 1"
    )[0]
    # The start becomes what the due date is as well.
    agreed.sql(
        "update crm.milestones set started_at = '2026-03-02T08:00:00Z', due_at = '2026-03-02T08:00:00Z',"
        " updated_at = now() where enerflo_install_id = :i and milestone_id = :m",
        **row,
    )
    plan = agreed.plan()
    agreed.carried()
    assert {one.field for one in agreed.changes(plan)} >= {"started_at"}
    agreed.switched_on("both", QUICK, (STARTED, STARTED.replace("enerflo: started_at", "enerflo: due_at")))
    undo = run_undo(agreed.context, plan.plan_hash)
    assert agreed.changes(undo, field="started_at") == []
    assert questions(agreed, undo, "started_at") == {"its column is mapped to another field of Enerflo since"}
    assert len(agreed.changes(undo, field="due_at")) == len(agreed.changes(plan, field="due_at"))


def test_a_row_whose_creation_was_undone_stays_away_where_a_column_is_mapped_otherwise(
    desk: Desk, in_progress: int
) -> None:
    new = desk.world.create_install()
    plan = polled(desk)
    applied(desk, plan)
    undone(desk, plan)
    for word in ("Running", "Active"):
        desk.switched_on("both", QUICK, called(word))
        plan = desk.plan()
        applied(desk, plan)
        assert {one.op for one in desk.changes(plan)} == {"update"}
        assert plan.undecided == {}
    assert desk.one("select count(*) from crm.installs where enerflo_install_id = :id", id=new) == 0


@pytest.mark.parametrize("policy", ["review", "newest"])
def test_a_column_of_times_that_loses_its_zone_sends_nothing_as_an_edit_of_the_crm(
    agreed: Desk, policy: str
) -> None:
    started = STARTED.replace("source_of_truth: newest", f"source_of_truth: {policy}")
    agreed.switched_on("both", QUICK, (STARTED, started))
    agreed.carried()
    # The company's own zone, of which the mapping says nothing: each time is read hours off from now on.
    agreed.sql(
        "alter table crm.milestones alter started_at type timestamp"
        " using started_at at time zone 'America/Denver'"
    )
    sent = [change for plan in run_plan(agreed.context) for change in agreed.changes(plan)]
    assert {change.direction for change in sent} <= {"to_crm"}


def loses_its_zone(desk: Desk, policy: str) -> None:
    """Let no rule of approval stop a plan, and the column of times hold those of the company's zone."""
    free = [("percent: 10\n", "percent: 100\n"), *((f"{name}: true", f"{name}: false") for name in RULES)]
    started = STARTED.replace("source_of_truth: newest", f"source_of_truth: {policy}")
    desk.switched_on("both", QUICK, (STARTED, started), *free)
    desk.carried()
    desk.sql(
        "alter table crm.milestones alter started_at type timestamp"
        " using started_at at time zone 'America/Denver'"
    )


@pytest.mark.parametrize("policy", ["crm", "enerflo"])
def test_nor_does_the_side_that_is_right_win_without_a_person(agreed: Desk, policy: str) -> None:
    loses_its_zone(agreed, policy)
    plans = [plan for plan in run_plan(agreed.context) if plan.change_count]
    assert plans
    assert all(plan.needs_approval and WITHOUT_A_ZONE in plan.reasons[0] for plan in plans)


def test_nor_does_newest_send_one_without_a_person(agreed: Desk) -> None:
    """One milestone's row is the newer one: by the times of both records its time would be Enerflo's."""
    loses_its_zone(agreed, "newest")
    (key,) = agreed.sql(
        "update crm.milestones set updated_at = now() where (enerflo_install_id, milestone_id) = ("
        " select enerflo_install_id, milestone_id from crm.milestones where started_at is not null limit 1)"
        " returning enerflo_install_id, milestone_id"
    )
    for _ in range(2):
        plans = run_plan(agreed.context)
        sent = [change for plan in plans for change in agreed.changes(plan, direction="to_enerflo")]
        assert [dict(change.key) for change in sent] == [dict(key)]
        (waiting,) = [plan for plan in plans if plan.needs_approval]
        assert WITHOUT_A_ZONE in waiting.reasons[0]
        assert agreed.changes(waiting, direction="to_enerflo")
    run_apply(agreed.context, waiting.plan_hash, approved_by="Pat")
    agreed.sql("update crm.milestones set started_at = started_at + interval '1 day', updated_at = now()")
    assert not any(plan.needs_approval for plan in run_plan(agreed.context))


@pytest.mark.parametrize("policy", ["newest", "review"])
@pytest.mark.parametrize("later", [False, True])
def test_a_tolerance_that_became_smaller_makes_no_edit_of_either_side(
    agreed: Desk, policy: str, later: bool
) -> None:
    size = "system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.005, source_of_truth: "
    strict = size + policy
    agreed.switched_on(
        "both", QUICK, (size + "enerflo", strict.replace("tolerance: 0.005", "tolerance: 0.5"))
    )
    install = agreed.a_site().install_id
    touched = "update crm.installs set {} updated_at = now() where enerflo_install_id = :i"
    agreed.sql(touched.format("system_size_kw = system_size_kw + 0.3,"), i=install)
    agreed.settled()
    if later:
        agreed.sql(touched.format(""), i=install)
    agreed.switched_on("both", QUICK, (size + "enerflo", strict))
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert len(questions(agreed, plan, "system_size_kw")) == 1
