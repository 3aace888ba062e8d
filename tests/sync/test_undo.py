"""``undo``: what a plan wrote is taken back by a plan of its own, and stays so until a side moves."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.world import World
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.sync.apply import ApplyReport
from enerflo_sync.sync.plan_report import PlanReport, PlanState
from tests.sync.conftest import Desk
from tests.sync.test_split import STATUS
from tests.sync.test_undo_whole_rows import DELETED_TOO

ON_HOLD = 4


@pytest.fixture
def install(desk: Desk) -> int:
    """An install that is in progress on both sides, which agree and are both written."""
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    done = run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    assert done.waiting == 0
    return int(
        desk.one(
            "select min(install_id) from enerflo.installs i join crm.installs c"
            " on c.enerflo_install_id = i.install_id and c.status = i.status_name"
            " where status_name not in ('On Hold', 'Voided', 'Completed')"
        )
    )


def applied(desk: Desk, plan: PlanReport) -> ApplyReport:
    report = run_apply(desk.context, plan.plan_hash, approved_by="Me")
    assert report.applied == plan.change_count, report
    return report


def undone(desk: Desk, plan: PlanReport) -> PlanReport:
    undo = run_undo(desk.context, plan.plan_hash)
    applied(desk, undo)
    return undo


def polled(desk: Desk) -> PlanReport:
    """Poll and plan: what the next run would do."""
    run_poll(desk.context)
    return desk.plan()


def kept(plan: PlanReport) -> dict[str, int]:
    """Return what the plan leaves as it is, but for the demo's leads that are not due."""
    return {reason: count for reason, count in plan.kept.items() if "create_when" not in reason}


def crm_status(desk: Desk, install: int) -> Any:
    return desk.one("select status from crm.installs where enerflo_install_id = :id", id=install)


def edit(desk: Desk, install: int, status: str) -> None:
    desk.sql(
        "update crm.installs set status = :status, updated_at = now() where enerflo_install_id = :id",
        status=status,
        id=install,
    )


def truth(world: World, install: int) -> str:
    row = world.truth.install(install)
    assert row is not None
    return str(row.status_name)


def test_a_value_in_the_crm_goes_back_and_stays_until_a_side_moves(desk: Desk, install: int) -> None:
    before = crm_status(desk, install)
    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash[:12])
    assert (undo.kind, undo.stands_on, undo.change_count) == ("undo", plan.plan_hash, 1)
    (change,) = desk.changes(undo)
    assert (change.before, change.after, change.direction, change.rule) == (
        "On Hold",
        before,
        "to_crm",
        "undo",
    )
    assert (change.policy, undo.undecided) == ("newest", {})
    assert crm_status(desk, install) == "On Hold"
    applied(desk, undo)
    assert crm_status(desk, install) == before
    assert (
        desk.one(
            "select agreed_by from sync.agreed where table_name = 'installs' and field = 'status'"
            " and key = jsonb_build_object('enerflo_install_id', cast(:id as bigint))",
            id=install,
        )
        == "undo"
    )
    for _ in range(2):
        again = polled(desk)
        assert (again.change_count, again.undecided) == (0, {})
    edit(desk, install, "Completed")
    (change,) = desk.changes(polled(desk), table_name="installs")
    assert (change.direction, change.after) == ("to_enerflo", "Completed")


def test_a_value_at_enerflo_goes_back_and_stays_until_a_side_moves(desk: Desk, install: int) -> None:
    before = truth(desk.world, install)
    edit(desk, install, "On Hold")
    plan = desk.plan()
    applied(desk, plan)
    assert truth(desk.world, install) == "On Hold"
    undo = undone(desk, plan)
    (change,) = desk.changes(undo)
    assert (change.before, change.after, change.direction) == ("On Hold", before, "to_enerflo")
    assert truth(desk.world, install) == before
    assert crm_status(desk, install) == "On Hold"
    again = polled(desk)
    assert (again.change_count, again.undecided) == (0, {})
    assert kept(again) == {"both sides are as they were left when this value was last written or undone": 1}
    causes = desk.sql(
        "select cause from sync.differences where field = 'status' and reconciliation_id = :id",
        id=again.stands_on,
    )
    assert [row["cause"] for row in causes] == ["left_apart"]
    desk.world.set_status(install, 2 if before != desk.world.status_name(2) else 3)
    (change,) = desk.changes(polled(desk), table_name="installs")
    assert change.direction == "to_crm"


def test_a_milestone_date_goes_back_at_enerflo_even_to_none(desk: Desk, install: int) -> None:
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


def test_a_row_that_was_made_in_the_crm_is_deleted_and_not_made_again(desk: Desk, install: int) -> None:
    note = desk.world.add_note(install, "A note that nobody wants.")
    plan = polled(desk)
    applied(desk, plan)
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :id", id=note) == 1
    undo = run_undo(desk.context, plan.plan_hash)
    (change,) = desk.changes(undo)
    assert (change.op, change.field, change.before["body"]) == ("delete", None, "A note that nobody wants.")
    assert any("deletes 1 rows" in reason for reason in undo.reasons)
    applied(desk, undo)
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :id", id=note) == 0
    for _ in range(2):
        again = polled(desk)
        assert (again.change_count, again.undecided) == (0, {})
        assert kept(again) == {"its creation was undone, and Enerflo has not changed it since": 1}


def test_an_undone_row_is_asked_about_once_enerflo_moves(desk: Desk, install: int) -> None:
    new = desk.world.create_install()
    plan = polled(desk)
    applied(desk, plan)
    undone(desk, plan)
    assert desk.one("select count(*) from crm.installs where enerflo_install_id = :id", id=new) == 0
    assert polled(desk).change_count == 0
    desk.world.set_status(new, ON_HOLD)
    again = polled(desk)
    assert again.change_count == 0
    assert again.undecided == {"it was deleted from the CRM since both agreed": 1}


def test_an_undo_of_an_undo_writes_it_all_again(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    note = desk.world.add_note(install, "Twice.")
    plan = polled(desk)
    applied(desk, plan)
    again = undone(desk, undone(desk, plan))
    assert again.kind == "undo"
    assert crm_status(desk, install) == "On Hold"
    (row,) = desk.sql("select body, enerflo_install_id from crm.notes where enerflo_note_id = :id", id=note)
    assert (row["body"], row["enerflo_install_id"]) == ("Twice.", install)
    assert (polled(desk).change_count, polled(desk).undecided) == (0, {})


def test_a_row_that_was_deleted_from_the_crm_comes_back_and_stays(desk: Desk, install: int) -> None:
    desk.switched_on("both", ("    create_only: true\n", "    create_only: true\n    delete_in: [crm]\n"))
    note = desk.sql("select enerflo_note_id, body from crm.notes where enerflo_note_id is not null limit 1")[
        0
    ]
    desk.world.delete_note(note["enerflo_note_id"])
    run_poll(desk.context, full=True)
    plan = desk.plan()
    assert [change.op for change in desk.changes(plan)] == ["delete"]
    applied(desk, plan)
    body = "select body from crm.notes where enerflo_note_id = :id"
    assert desk.sql(body, id=note["enerflo_note_id"]) == []
    undone(desk, plan)
    assert desk.one(body, id=note["enerflo_note_id"]) == note["body"]
    again = polled(desk)
    assert (again.change_count, again.undecided) == (0, {})
    assert kept(again) == {"its deletion was undone": 1}


def test_what_moved_since_is_left_to_a_person(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    note = desk.world.add_note(install, "To be edited.")
    plan = polled(desk)
    applied(desk, plan)
    edit(desk, install, "Completed")
    desk.sql("update crm.notes set body = 'Edited.', updated_at = now() where enerflo_note_id = :id", id=note)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.state) == (0, PlanState.APPLIED)
    assert undo.undecided == {"the CRM says something else than the plan wrote: it moved since": 2}


def test_a_question_shows_what_enerflo_says_now_and_not_what_the_plan_wrote(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    kept, gone = (desk.world.add_note(install, text) for text in ("Stays.", "Goes."))
    plan = polled(desk)
    applied(desk, plan)
    edit(desk, install, "Completed")
    desk.sql("update crm.notes set body = 'Edited.' where enerflo_note_id in (:a, :b)", a=kept, b=gone)
    desk.sql("update enerflo.installs set status_name = 'Pending KCA' where install_id = :id", id=install)
    desk.sql("update enerflo.notes set deleted_at = now() where note_id = :id", id=gone)
    found = {
        (one.table_name, one.field, one.key.get("note_id")): (one.enerflo_value, one.crm_value)
        for one in desk.undecided(run_undo(desk.context, plan.plan_hash))
    }
    assert found == {
        ("installs", "status", None): ("Pending KCA", "Completed"),
        ("notes", None, f"enerflo-{kept}"): ({"note_id": kept}, {"note_id": f"enerflo-{kept}"}),
        ("notes", None, f"enerflo-{gone}"): (None, {"note_id": f"enerflo-{gone}"}),
    }


def test_a_row_with_an_unmapped_column_that_was_touched_since_is_not_deleted(
    desk: Desk, install: int
) -> None:
    note = desk.world.add_note(install, "To be signed.")
    plan = polled(desk)
    applied(desk, plan)
    desk.sql(
        "update crm.notes set author = 'Ann', updated_at = now() + interval '2 seconds'"
        " where enerflo_note_id = :id",
        id=note,
    )
    assert run_undo(desk.context, plan.plan_hash).change_count == 0


def test_a_new_row_that_is_touched_between_undo_and_apply_is_not_deleted(desk: Desk, install: int) -> None:
    note = desk.world.add_note(install, "To be signed.")
    plan = polled(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    assert [change.op for change in desk.changes(undo)] == ["delete"]
    desk.sql(
        "update crm.notes set author = 'Ann', updated_at = now() + interval '2 seconds'"
        " where enerflo_note_id = :id",
        id=note,
    )
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == 1
    assert desk.crm("notes", enerflo_note_id=note)["author"] == "Ann"


def test_what_moved_at_enerflo_since_is_left_to_a_person(desk: Desk, install: int) -> None:
    edit(desk, install, "On Hold")
    plan = desk.plan()
    applied(desk, plan)
    desk.world.set_status(install, 2)
    run_poll(desk.context)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.undecided == {"Enerflo says something else than the plan wrote: it moved since": 1}


def test_what_somebody_else_wrote_at_enerflo_before_the_plan_could_is_not_taken_back(
    desk: Desk, install: int
) -> None:
    edit(desk, install, "On Hold")
    plan = desk.plan()
    desk.world.set_status(install, ON_HOLD)
    applied(desk, plan)
    assert desk.world.received == []
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    (left,) = desk.undecided(undo)
    assert left.reason == "Enerflo had it before the plan wrote anything: somebody else wrote it there"
    assert truth(desk.world, install) == "On Hold"


def test_what_moved_between_undo_and_apply_is_not_overwritten(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    edit(desk, install, "Completed")
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == 1
    assert crm_status(desk, install) == "Completed"


def test_a_note_that_was_sent_stays_at_enerflo_with_its_id(desk: Desk, install: int) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('n-1', :id, 'Ann', 'Sent for good.', now())",
        id=install,
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


def test_a_lead_that_was_changed_at_enerflo_goes_back(desk: Desk, install: int) -> None:
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


def test_a_plan_of_which_nothing_was_applied_gives_an_empty_one(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided, undo.state) == (0, {}, PlanState.APPLIED)


def test_the_same_undo_is_the_same_plan(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    first, second = run_undo(desk.context, plan.plan_hash), run_undo(desk.context, plan.plan_hash)
    assert first.plan_hash == second.plan_hash
    applied(desk, second)
    assert run_undo(desk.context, plan.plan_hash).change_count == 0


def test_numbers_go_back_whatever_the_column_makes_of_them(desk: Desk, install: int) -> None:
    """The CRM keeps two places of an amount: what it shows is not what was sent, and yet nobody moved it."""
    desk.sql(
        "update enerflo.installs set contract_amount = 123.456, observed_at = now() where install_id = :id",
        id=install,
    )
    before = desk.one("select contract_amount from crm.installs where enerflo_install_id = :id", id=install)
    plan = desk.plan()
    applied(desk, plan)
    amount = "select contract_amount from crm.installs where enerflo_install_id = :id"
    assert str(desk.one(amount, id=install)) == "123.46"
    undone(desk, plan)
    assert desk.one(amount, id=install) == before


def test_a_field_that_is_not_mapped_any_more_is_left_to_a_person(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    line = "      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}\n"
    desk.switched_on("both", (line, ""))
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.undecided == {"the mapping does not know it any more": 1}


def test_an_unknown_plan_is_said(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="there is no such plan"):
        run_undo(desk.context, "0123456789")


def test_the_undo_is_told_by_explain(desk: Desk, install: int) -> None:
    from enerflo_sync.sync.explain_text import render_explanation

    desk.world.set_status(install, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    undo = undone(desk, plan)
    text = " ".join(
        render_explanation(run_explain(desk.context, "install", str(install), field="status")).split()
    )
    assert f'The plan {plan.plan_hash[:12]} was taken back: the CRM had "On Hold" from it.' in text
    assert f"plan {undo.plan_hash[:12]}, approved by Me." in text
    assert "an undo left them so, on purpose" in text


LATER = {"a later plan wrote it since: undo that plan": 1}


def test_what_a_later_plan_wrote_again_in_the_crm_is_not_taken_back_with_the_first(
    desk: Desk, install: int
) -> None:
    plans = []
    for count in (1000, 1001):
        desk.sql(
            "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = :i",
            n=count,
            i=install,
        )
        plans.append(desk.plan())
        applied(desk, plans[-1])
    undo = run_undo(desk.context, plans[0].plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)
    (change,) = desk.changes(run_undo(desk.context, plans[1].plan_hash))
    assert change.after == 1001


def test_what_a_later_plan_wrote_again_at_enerflo_is_not_taken_back_with_the_first(
    desk: Desk, install: int
) -> None:
    plans = []
    for status in ("On Hold", "Completed", "On Hold"):
        edit(desk, install, status)
        plans.append(polled(desk))
        applied(desk, plans[-1])
    assert truth(desk.world, install) == "On Hold"
    undo = run_undo(desk.context, plans[0].plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)


def test_a_row_that_an_undo_restored_and_a_person_deleted_is_not_restored_again(desk: Desk) -> None:
    desk.switched_on("both", DELETED_TOO)
    desk.carried()
    note = desk.one("select min(enerflo_note_id) from crm.notes")
    desk.world.delete_note(note)
    run_poll(desk.context, full=True)
    plan = desk.plan()
    applied(desk, plan)
    applied(desk, run_undo(desk.context, plan.plan_hash))
    desk.sql("delete from crm.notes where enerflo_note_id = :n", n=note)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)


def test_what_the_mapping_forbids_to_write_by_now_is_left_to_a_person(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    pulled = polled(desk)
    applied(desk, pulled)
    desk.switched_on("both", (STATUS, STATUS.replace("newest", "newest, direction: to_enerflo")))
    undo = run_undo(desk.context, pulled.plan_hash)
    barred = "the column of the CRM may not be written any more (direction)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


def test_what_the_mapping_forbids_to_send_by_now_is_left_to_a_person(desk: Desk, install: int) -> None:
    edit(desk, install, "On Hold")
    plan = polled(desk)
    applied(desk, plan)
    desk.switched_on("both", (STATUS, STATUS.replace("newest", "newest, direction: to_crm")))
    undo = run_undo(desk.context, plan.plan_hash)
    barred = "Enerflo's may not be written any more (direction)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


@pytest.mark.parametrize("side", ["enerflo", "crm"])
def test_an_undo_voids_no_install_where_void_in_does_not_allow_it(
    desk: Desk, install: int, side: str
) -> None:
    """What a plan took out of the voided status stays out of it, on a side that must not be voided."""
    other = "crm" if side == "enerflo" else "enerflo"
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    void_in: [{other}]\n"))
    desk.world.void_install(install)
    desk.sql("update crm.installs set status = 'Voided' where enerflo_install_id = :i", i=install)
    run_poll(desk.context)
    desk.carried()
    if side == "enerflo":
        desk.sql(
            "update crm.installs set status = 'In progress', updated_at = now() where enerflo_install_id = :i",
            i=install,
        )
    else:
        desk.world.set_status(install, c.IN_PROGRESS)
    plan = polled(desk)
    (change,) = desk.changes(plan, table_name="installs", field="status")
    assert change.direction == f"to_{side}"
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    (asked,) = desk.undecided(undo)
    assert "void_in does not allow" in asked.reason
