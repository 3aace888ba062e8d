"""The last milestone that is completed in the CRM completes the install, as far as its mapping lets it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from enerflo_sandbox.catalogue import IN_PROGRESS
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.render.shown_plan import headline
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

STATUS = "trim: true, fold_case: true, source_of_truth: newest}\n      system_size_kw"


def finished(desk: Desk, install_id: int, minutes_ago: int = 1) -> PlanReport:
    """Complete an install's last milestone in the CRM, and plan."""
    last = desk.one(
        "select milestone_id from enerflo.milestones where install_id = :id and deleted_at is null"
        " order by sequence desc limit 1",
        id=install_id,
    )
    desk.sql(
        "update crm.milestones set completed_at = now() - make_interval(mins => :ago), updated_at = now()"
        " where enerflo_install_id::text = :id and milestone_id::text = :last",
        id=str(install_id),
        last=str(last),
        ago=minutes_ago,
    )
    return desk.plan()


@pytest.mark.parametrize(
    ("direction", "completes"), [("both", True), ("to_enerflo", True), ("to_crm", False), ("none", False)]
)
def test_it_is_bound_by_the_direction_of_the_status(agreed: Desk, direction: str, completes: bool) -> None:
    agreed.switched_on("both", (STATUS, STATUS.replace("newest", f"newest, direction: {direction}")))
    plan = finished(agreed, agreed.a_site().install_id)
    assert len(agreed.changes(plan, table_name="milestones", direction="to_enerflo")) == 1
    assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == completes


def test_it_completes_no_install_whose_records_are_never_changed_later(agreed: Desk) -> None:
    table = "    crm_table: crm.installs\n"
    agreed.switched_on("both", (table, f"{table}    create_only: true\n"))
    plan = finished(agreed, agreed.a_site().install_id)
    assert len(agreed.changes(plan, table_name="milestones", direction="to_enerflo")) == 1
    assert agreed.changes(plan, rule=LAST_MILESTONE) == []


def test_it_completes_no_install_that_the_crm_alone_has_voided(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    agreed.sql(
        "update crm.installs set status = 'Voided', updated_at = now() where enerflo_install_id = :i",
        i=install_id,
    )
    plan = finished(agreed, install_id)
    assert len(agreed.changes(plan, table_name="milestones", direction="to_enerflo")) == 1
    assert agreed.changes(plan, rule=LAST_MILESTONE) == []


@pytest.mark.parametrize(
    ("kind", "key"), [("text", str), ("char(12)", str), ("numeric", int), ("bigint", int)]
)
def test_its_change_has_the_key_that_the_crm_has(desk: Desk, kind: str, key: type[str | int]) -> None:
    for table in ("installs", "milestones"):
        desk.sql(f"alter table crm.{table} alter enerflo_install_id type {kind}")
    desk.switched_on("both")
    desk.carried()
    install_id = desk.a_site().install_id
    plan = finished(desk, install_id)
    assert [change.key for change in desk.changes(plan, rule=LAST_MILESTONE)] == [
        {"enerflo_install_id": key(install_id)}
    ]
    desk.carried()
    (story,) = run_explain(desk.context, "install", str(install_id), field="status").fields
    assert [step.new_value for step in story.steps] == ["Completed"]


def test_the_plan_says_how_many_milestones_are_still_open(agreed: Desk) -> None:
    install_id = an_install_with(agreed, 3)
    plan = finished(agreed, install_id)
    (change,) = agreed.changes(plan, rule=LAST_MILESTONE)
    assert change.reason == "3 milestones are still open"
    assert plan.notes == {"3 milestones are still open": 1}
    assert "1 install is completed while 3 milestones are still open." in headline(plan)
    agreed.carried()
    assert agreed.world.truth.install(install_id).status_name == "Completed"  # type: ignore[union-attr]
    assert agreed.ledger(rule=LAST_MILESTONE)[0]["reason"] is None


def test_where_all_are_needed_it_is_set_by_whichever_is_completed_last(agreed: Desk) -> None:
    agreed.switched_on("both", ("completed_needs: final", "completed_needs: all"))
    install_id = an_install_with(agreed, 2)
    plan = finished(agreed, install_id)
    assert agreed.changes(plan, rule=LAST_MILESTONE) == []
    assert (len(agreed.changes(plan)), plan.notes) == (1, {})
    agreed.carried()
    for left in (1, 0):
        complete_one(agreed, install_id)
        plan = agreed.plan()
        assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == (left == 0)
        assert agreed.world.truth.install(install_id).status_name == "In progress"  # type: ignore[union-attr]
        agreed.carried()
    assert agreed.world.truth.install(install_id).status_name == "Completed"  # type: ignore[union-attr]


def test_where_all_are_needed_one_that_is_opened_meanwhile_keeps_the_install_open(agreed: Desk) -> None:
    agreed.switched_on("both", ("completed_needs: final", "completed_needs: all"))
    install_id = an_install_with(agreed, 1)
    complete_one(agreed, install_id)
    last = agreed.one(f"{LAST} limit 1", id=install_id)
    complete(agreed, install_id, last)
    plan = agreed.plan()
    assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == 1
    first = agreed.one(
        "select min(milestone_id) from enerflo.milestones where install_id = :id", id=install_id
    )
    agreed.world.set_milestone(install_id, first, {"completed": None})
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert report.reasons["moved"] == {"1 milestone is still open.": 1}
    assert agreed.world.truth.install(install_id).status_name == "In progress"  # type: ignore[union-attr]


LAST = (
    "select milestone_id from enerflo.milestones where install_id = :id and deleted_at is null"
    " order by sequence desc"
)


def an_install_with(desk: Desk, others: int) -> int:
    """Return an install in progress of which the last milestone and so many others are open, on both sides."""
    install_id = desk.a_site().install_id
    ids = [row["milestone_id"] for row in desk.sql(LAST, id=install_id)]
    assert len(ids) > others
    done = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    for at, milestone_id in enumerate(ids):
        desk.world.set_milestone(install_id, milestone_id, {"completed": None if at <= others else done})
    run_poll(desk.context)
    desk.carried()
    desk.sql(
        "update crm.milestones set completed_at = null, updated_at = now()"
        " where enerflo_install_id = :id and milestone_id = any(:open)",
        id=install_id,
        open=ids[: others + 1],
    )
    return install_id


def opened_again(desk: Desk, install_id: int) -> None:
    """Open the last milestone of an install on both sides, which agree then."""
    last = desk.one(f"{LAST} limit 1", id=install_id)
    desk.world.set_milestone(install_id, last, {"completed": None})
    run_poll(desk.context)
    desk.sql(
        "update crm.milestones set completed_at = null, updated_at = now() where milestone_id = :m"
        " and enerflo_install_id = :id",
        m=last,
        id=install_id,
    )
    desk.carried()


def complete(desk: Desk, install_id: int, milestone_id: int) -> None:
    desk.sql(
        "update crm.milestones set completed_at = now() - interval '1 minute', updated_at = now()"
        " where enerflo_install_id = :id and milestone_id = :m",
        id=install_id,
        m=milestone_id,
    )


def complete_one(desk: Desk, install_id: int) -> None:
    """Complete the first open milestone in the CRM."""
    rows = desk.sql(
        "select milestone_id from crm.milestones where enerflo_install_id = :id and completed_at is null"
        " order by milestone_id",
        id=install_id,
    )
    complete(desk, install_id, rows[0]["milestone_id"])


def test_a_corrected_date_does_not_complete_the_install_again(agreed: Desk) -> None:
    """Somebody at Enerflo opened the install again; the milestone stays completed."""
    install_id = an_install_with(agreed, 0)
    assert len(agreed.changes(finished(agreed, install_id), rule=LAST_MILESTONE)) == 1
    agreed.carried()
    agreed.world.set_status(install_id, IN_PROGRESS)
    run_poll(agreed.context)
    agreed.carried()
    plan = finished(agreed, install_id, minutes_ago=50)
    assert [change.field for change in agreed.changes(plan)] == ["completed_at"]


def test_an_undone_completion_does_not_come_again_with_a_corrected_date(agreed: Desk) -> None:
    install_id = an_install_with(agreed, 0)
    plan = finished(agreed, install_id)
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(agreed.context, plan.plan_hash)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Sam").applied == 2
    plan = finished(agreed, install_id, minutes_ago=50)
    assert [change.field for change in agreed.changes(plan)] == ["completed_at"]
    agreed.carried()
    opened_again(agreed, install_id)
    assert len(agreed.changes(finished(agreed, install_id), rule=LAST_MILESTONE)) == 1


MILESTONES_KEY = "    key: {enerflo_install_id: install_id, milestone_id: milestone_id}\n"
OWN_KEY = "    key: [step]\n    join: {enerflo_install_id: install_id, milestone_id: milestone_id}\n    create_in: []\n"


def test_a_row_that_is_given_to_another_milestone_completes_that_ones_install(desk: Desk) -> None:
    """What both said when the row named the former milestone says nothing of the new one."""
    desk.sql("alter table crm.milestones drop constraint milestones_pkey, add step serial primary key")
    desk.switched_on("both", (MILESTONES_KEY, OWN_KEY))
    desk.carried()
    first = an_install_with(desk, 0)
    last = desk.one(f"{LAST} limit 1", id=first)
    row = "enerflo_install_id = :id and milestone_id = :m"
    # The install's own row of its last milestone is gone, and a completed milestone's row takes its place.
    desk.sql(f"delete from crm.milestones where {row}", id=first, m=last)
    other = desk.one(
        "select min(m.milestone_id) from crm.milestones m where enerflo_install_id = :id"
        " and completed_at is not null",
        id=first,
    )
    desk.sql(
        f"update crm.milestones set milestone_id = :last, completed_at = now() - interval '1 minute',"
        f" updated_at = now() where {row}",
        id=first,
        m=other,
        last=last,
    )
    completed = [one for plan in run_plan(desk.context) for one in desk.changes(plan, rule=LAST_MILESTONE)]
    assert len(completed) == 1


def test_a_corrected_date_completes_nothing_after_its_row_went_to_another_table(desk: Desk) -> None:
    """Two tables of sync.yaml stand for one CRM table: the row was known as completed in the former one."""
    desk.sql("alter table crm.milestones add branch text not null default 'east'")
    table = "  milestones:\n    crm_table: crm.milestones\n"
    west = MILESTONES_OF_WEST
    desk.switched_on("both", (table, f"{west}{table}    where: \"branch = 'east'\"\n"))
    install_id = desk.a_site().install_id
    other = "(select max(enerflo_install_id) from crm.milestones)"
    desk.sql(f"update crm.milestones set branch = 'west' where enerflo_install_id = {other}")
    desk.carried()
    install_id = an_install_with(desk, 0)
    assert len(desk.changes(finished(desk, install_id), rule=LAST_MILESTONE)) == 1
    desk.carried()
    desk.world.set_status(install_id, IN_PROGRESS)
    run_poll(desk.context)
    desk.carried()
    desk.sql("update crm.milestones set branch = 'west' where enerflo_install_id = :id", id=install_id)
    plan = finished(desk, install_id, minutes_ago=50)
    assert [(change.table_name, change.field) for change in desk.changes(plan)] == [("west", "completed_at")]


MILESTONES_OF_WEST = """\
  west:
    of: milestones
    crm_table: crm.milestones
    where: "branch = 'west'"
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    updated_at: updated_at
    create_in: []
    fields:
      completed_at: {enerflo: completed_at, type: timestamp, precision: second, source_of_truth: newest}
"""
