"""``undo`` of what a plan wrote at Enerflo."""

from __future__ import annotations

from datetime import timedelta

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.test_split import STATUS
from tests.writes.test_tables_of_one_kind import two_sites
from tests.writes.test_undo import LATER, ON_HOLD, applied, crm_status, edit, kept, polled, truth, undone
from tests.writes.test_wide_milestones import MIDNIGHT, PERMITTING, edited, wide

__all__ = ["wide"]


def test_a_value_at_enerflo_goes_back_and_stays_until_a_side_moves(desk: Desk, in_progress: int) -> None:
    before = truth(desk.world, in_progress)
    edit(desk, in_progress, "On Hold")
    plan = desk.plan()
    applied(desk, plan)
    assert truth(desk.world, in_progress) == "On Hold"
    undo = undone(desk, plan)
    (change,) = desk.changes(undo)
    assert (change.before, change.after, change.direction) == ("On Hold", before, "to_enerflo")
    assert truth(desk.world, in_progress) == before
    assert crm_status(desk, in_progress) == "On Hold"
    again = polled(desk)
    assert (again.change_count, again.undecided) == (0, {})
    assert kept(again) == {"both sides are as they were left when this value was last written or undone": 1}
    causes = desk.sql(
        "select cause from sync.differences where field = 'status' and reconciliation_id = :id",
        id=again.stands_on,
    )
    assert [row["cause"] for row in causes] == ["left_apart"]
    desk.world.set_status(in_progress, 2 if before != desk.world.status_name(2) else 3)
    (change,) = desk.changes(polled(desk), table_name="installs")
    assert change.direction == "to_crm"


def test_a_milestone_date_goes_back_at_enerflo_even_to_none(desk: Desk, in_progress: int) -> None:
    row = desk.sql(
        "select m.install_id, m.milestone_id from enerflo.milestones m join enerflo.installs i using (install_id)"
        " where m.completed_at is null and status_name not in ('Voided', 'Completed')"
        " order by m.install_id, m.sequence limit 1"
    )[0]
    desk.sql(
        "update crm.milestones set completed_at = '2026-03-02T08:00:00Z', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=row["install_id"],
        m=row["milestone_id"],
    )
    plan = desk.plan()
    applied(desk, plan)
    key = {"i": row["install_id"], "m": row["milestone_id"]}
    completed = "select completed_at from enerflo.milestones where install_id = :i and milestone_id = :m"
    assert desk.one(completed, **key) is not None
    undone(desk, plan)
    run_poll(desk.context)
    assert desk.one(completed, **key) is None
    assert desk.plan().change_count == 0


def test_what_moved_at_enerflo_since_is_left_to_a_person(desk: Desk, in_progress: int) -> None:
    edit(desk, in_progress, "On Hold")
    plan = desk.plan()
    applied(desk, plan)
    desk.world.set_status(in_progress, 2)
    run_poll(desk.context)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.undecided == {"Enerflo says something else than the plan wrote: it moved since": 1}


def test_what_somebody_else_wrote_at_enerflo_before_the_plan_could_is_not_taken_back(
    desk: Desk, in_progress: int
) -> None:
    edit(desk, in_progress, "On Hold")
    plan = desk.plan()
    desk.world.set_status(in_progress, ON_HOLD)
    applied(desk, plan)
    assert desk.world.received == []
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    (left,) = desk.undecided(undo)
    assert left.reason == "Enerflo had it before the plan wrote anything: somebody else wrote it there"
    assert truth(desk.world, in_progress) == "On Hold"


def test_a_note_that_was_sent_stays_at_enerflo_with_its_id(desk: Desk, in_progress: int) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('n-1', :id, 'Ann', 'Sent for good.', now())",
        id=in_progress,
    )
    plan = desk.plan()
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    (question,) = desk.undecided(undo)
    assert "takes no note back" in question.reason
    sent = desk.one("select enerflo_note_id from crm.notes where note_id = 'n-1'")
    assert sent is not None
    assert question.key == question.crm_value == {"note_id": "n-1"}
    assert question.enerflo_value == {"note_id": sent}


def test_a_lead_that_was_changed_at_enerflo_goes_back(desk: Desk, in_progress: int) -> None:
    lead = desk.sql(
        "select l.lead_id, l.enerflo_customer_id as id, c.city from crm.leads l join enerflo.customers c"
        " on c.customer_id = l.enerflo_customer_id and c.integration_record_id = l.lead_id and c.city = l.city limit 1"
    )[0]
    desk.sql(
        "update crm.leads set city = 'Provo', updated_at = now() where lead_id = :id", id=lead["lead_id"]
    )
    plan = desk.plan()
    applied(desk, plan)
    city = "select city from enerflo.customers where customer_id = :id"
    assert desk.one(city, id=lead["id"]) == "Provo"
    undone(desk, plan)
    run_poll(desk.context)
    assert desk.one(city, id=lead["id"]) == lead["city"]
    assert desk.plan().change_count == 0


def test_what_a_later_plan_wrote_again_at_enerflo_is_not_taken_back_with_the_first(
    desk: Desk, in_progress: int
) -> None:
    plans = []
    for status in ("On Hold", "Completed", "On Hold"):
        edit(desk, in_progress, status)
        plans.append(polled(desk))
        applied(desk, plans[-1])
    assert truth(desk.world, in_progress) == "On Hold"
    undo = run_undo(desk.context, plans[0].plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)


@pytest.mark.parametrize("direction", ["to_crm", "none"])
def test_what_the_mapping_forbids_to_send_by_now_is_left_to_a_person(
    desk: Desk, in_progress: int, direction: str
) -> None:
    edit(desk, in_progress, "On Hold")
    plan = polled(desk)
    applied(desk, plan)
    desk.switched_on("both", (STATUS, STATUS.replace("newest", f"newest, direction: {direction}")))
    undo = run_undo(desk.context, plan.plan_hash)
    barred = "Enerflo's may not be written any more (direction)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


def test_of_records_that_are_never_changed_later_by_now_no_value_is_sent_back(
    desk: Desk, in_progress: int
) -> None:
    edit(desk, in_progress, "On Hold")
    plan = polled(desk)
    applied(desk, plan)
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    create_only: true\n"))
    undo = run_undo(desk.context, plan.plan_hash)
    barred = "the table's records are created and never changed later by now (create_only)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


@pytest.mark.parametrize("side", ["enerflo", "crm"])
def test_an_undo_voids_no_install_where_void_in_does_not_allow_it(
    desk: Desk, in_progress: int, side: str
) -> None:
    """What a plan took out of the voided status stays out of it, on a side that must not be voided."""
    other = "crm" if side == "enerflo" else "enerflo"
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    void_in: [{other}]\n"))
    desk.world.void_install(in_progress)
    desk.sql("update crm.installs set status = 'Voided' where enerflo_install_id = :i", i=in_progress)
    run_poll(desk.context)
    desk.carried()
    if side == "enerflo":
        desk.sql(
            "update crm.installs set status = 'In progress', updated_at = now() where enerflo_install_id = :i",
            i=in_progress,
        )
    else:
        desk.world.set_status(in_progress, c.IN_PROGRESS)
    plan = polled(desk)
    (change,) = desk.changes(plan, table_name="installs", field="status")
    assert change.direction == f"to_{side}"
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = desk.undecided(undo)
    assert "void_in does not allow" in asked.reason


def test_a_date_that_another_table_wrote_again_is_not_taken_back_with_the_first(wide: Desk) -> None:
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    plan = wide.plan()
    wide.carried()
    wide.carried()
    for day in (MIDNIGHT + timedelta(days=1), MIDNIGHT):
        wide.sql(
            "update crm.milestones set due_at = :t, updated_at = now()"
            " where enerflo_install_id = :s and milestone_id = :m",
            t=day,
            s=site,
            m=PERMITTING,
        )
        wide.carried()
        wide.carried()
    undo = run_undo(wide.context, plan.plan_hash)
    assert (undo.change_count, [*undo.undecided]) == (0, ["a later plan wrote it since: undo that plan"])
