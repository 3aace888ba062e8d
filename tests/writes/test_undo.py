"""``undo``: what a plan wrote is taken back by a plan of its own, and stays so until a side moves."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox.world import World
from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.render.text import undo_words
from enerflo_sync.plan.report import PlanReport, PlanState
from tests.writes.conftest import Desk
from tests.writes.test_split import STATUS
from tests.writes.test_undo_whole_rows import DELETED_TOO

ON_HOLD = 4


def applied(desk: Desk, plan: PlanReport) -> ApplyReport:
    report = run_apply(desk.context, plan.plan_hash, approved_by="Me")
    assert report.applied == plan.change_count, report
    return report


def undone(desk: Desk, plan: PlanReport) -> PlanReport:
    undo = run_undo(desk.context, plan.plan_hash)
    applied(desk, undo)
    return undo


def applied_plan(desk: Desk) -> PlanReport:
    plan = polled(desk)
    applied(desk, plan)
    return plan


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


def test_a_value_in_the_crm_goes_back_and_stays_until_a_side_moves(desk: Desk, in_progress: int) -> None:
    before = crm_status(desk, in_progress)
    desk.world.set_status(in_progress, ON_HOLD)
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
    assert crm_status(desk, in_progress) == "On Hold"
    applied(desk, undo)
    assert crm_status(desk, in_progress) == before
    assert (
        desk.one(
            "select agreed_by from sync.agreed where table_name = 'installs' and field = 'status'"
            " and key = jsonb_build_object('enerflo_install_id', cast(:id as bigint))",
            id=in_progress,
        )
        == "undo"
    )
    for _ in range(2):
        again = polled(desk)
        assert (again.change_count, again.undecided) == (0, {})
    edit(desk, in_progress, "Completed")
    (change,) = desk.changes(polled(desk), table_name="installs")
    assert (change.direction, change.after) == ("to_enerflo", "Completed")


def test_a_row_that_was_made_in_the_crm_is_deleted_and_not_made_again(desk: Desk, in_progress: int) -> None:
    note = desk.world.add_note(in_progress, "A note that nobody wants.")
    plan = polled(desk)
    applied(desk, plan)
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :id", id=note) == 1
    undo = run_undo(desk.context, plan.plan_hash)
    (change,) = desk.changes(undo)
    assert (change.op, change.field, change.before["body"]) == ("delete", None, "A note that nobody wants.")
    assert any("deletes 1 row " in reason for reason in undo.reasons)
    applied(desk, undo)
    assert desk.one("select count(*) from crm.notes where enerflo_note_id = :id", id=note) == 0
    for _ in range(2):
        again = polled(desk)
        assert (again.change_count, again.undecided) == (0, {})
        assert kept(again) == {"its creation was undone, and Enerflo has not changed it since": 1}


@pytest.mark.parametrize("body", ["A note that nobody wants at first.", "What a person says instead."])
def test_an_undone_row_is_asked_about_once_a_row_of_its_record_came_and_went(
    desk: Desk, in_progress: int, body: str
) -> None:
    """A person gives the record a row of another key, and deletes it again later."""
    note = desk.world.add_note(in_progress, "A note that nobody wants at first.")
    plan = polled(desk)
    applied(desk, plan)
    row = "select * from crm.notes where enerflo_note_id = :id"
    (made,) = desk.sql(row, id=note)
    undone(desk, plan)
    columns = ", ".join(made)
    desk.sql(
        f"insert into crm.notes ({columns}) values ({', '.join(f':{name}' for name in made)})",
        **{**made, "note_id": "by hand", "body": body},
    )
    assert polled(desk).change_count == 0
    desk.sql("delete from crm.notes where enerflo_note_id = :id", id=note)
    again = polled(desk)
    assert (again.change_count, kept(again)) == (0, {})
    assert again.undecided == {"it was deleted from the CRM since both agreed": 1}


@pytest.mark.parametrize("table", ["installs", "jobs"])
def test_an_undone_row_is_asked_about_once_enerflo_moves(desk: Desk, in_progress: int, table: str) -> None:
    """Also where the table got another name meanwhile, so that nothing is agreed on about its columns."""
    new = desk.world.create_install()
    plan = polled(desk)
    applied(desk, plan)
    undone(desk, plan)
    assert desk.one("select count(*) from crm.installs where enerflo_install_id = :id", id=new) == 0
    if table != "installs":
        desk.sql(f"alter table crm.installs rename to {table}")
        desk.switched_on("both", ("crm_table: crm.installs", f"crm_table: crm.{table}"))
    for _ in range(2):
        again = polled(desk)
        assert (again.change_count, again.undecided) == (0, {})
    desk.world.set_status(new, ON_HOLD)
    again = polled(desk)
    assert again.change_count == 0
    assert again.undecided == {"it was deleted from the CRM since both agreed": 1}


@pytest.mark.parametrize("table", ["installs", "jobs"])
def test_an_undone_row_is_asked_about_where_enerflo_moved_before_the_undo_and_a_poll_came_after(
    desk: Desk, in_progress: int, table: str
) -> None:
    """The times of Enerflo are of whole seconds, and no later than the undo; what it says is new to us all the same."""
    new = desk.world.create_install()
    plan = polled(desk)
    applied(desk, plan)
    desk.world.set_status(new, ON_HOLD)
    undone(desk, plan)
    if table != "installs":
        desk.sql(f"alter table crm.installs rename to {table}")
        desk.switched_on("both", ("crm_table: crm.installs", f"crm_table: crm.{table}"))
    again = polled(desk)
    assert again.change_count == 0
    assert again.undecided == {"it was deleted from the CRM since both agreed": 1}


def test_an_undo_of_an_undo_writes_it_all_again(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    note = desk.world.add_note(in_progress, "Twice.")
    plan = polled(desk)
    applied(desk, plan)
    again = undone(desk, undone(desk, plan))
    assert again.kind == "undo"
    assert crm_status(desk, in_progress) == "On Hold"
    (row,) = desk.sql("select body, enerflo_install_id from crm.notes where enerflo_note_id = :id", id=note)
    assert (row["body"], row["enerflo_install_id"]) == ("Twice.", in_progress)
    assert (polled(desk).change_count, polled(desk).undecided) == (0, {})


def test_a_row_that_was_deleted_from_the_crm_comes_back_and_stays(desk: Desk, in_progress: int) -> None:
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


def test_an_undone_value_keeps_no_row_whose_record_is_deleted_later(desk: Desk, in_progress: int) -> None:
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    delete_in: [crm]\n"))
    desk.carried()
    desk.world.set_status(in_progress, ON_HOLD)
    undone(desk, applied_plan(desk))
    desk.world.delete_install(in_progress)
    run_poll(desk.context, full=True)
    (change,) = desk.changes(desk.plan(), table_name="installs")
    assert (change.op, change.direction) == ("delete", "to_crm")


def test_what_moved_since_is_left_to_a_person(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    note = desk.world.add_note(in_progress, "To be edited.")
    plan = polled(desk)
    applied(desk, plan)
    edit(desk, in_progress, "Completed")
    desk.sql("update crm.notes set body = 'Edited.', updated_at = now() where enerflo_note_id = :id", id=note)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.state) == (0, PlanState.APPLIED)
    assert undo.undecided == {"the CRM says something else than the plan wrote: it moved since": 2}


def test_a_row_under_another_key_is_not_called_gone(desk: Desk, in_progress: int) -> None:
    """Its new key may be any: nothing says that the row was deleted."""
    desk.world.set_status(in_progress, ON_HOLD)
    plan = applied_plan(desk)
    desk.sql(
        "update crm.installs set enerflo_install_id = -1 where enerflo_install_id = :id",
        id=in_progress,
    )
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count == 0
    reasons = {one.reason for one in desk.undecided(undo) if one.table_name == "installs"}
    assert reasons == {
        "no row of the CRM has its key any more (deleted or marked so, left out by where, or given another key)"
    }


def test_a_question_shows_what_enerflo_says_now_and_not_what_the_plan_wrote(
    desk: Desk, in_progress: int
) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    kept, gone = (desk.world.add_note(in_progress, text) for text in ("Stays.", "Goes."))
    plan = polled(desk)
    applied(desk, plan)
    edit(desk, in_progress, "Completed")
    desk.sql("update crm.notes set body = 'Edited.' where enerflo_note_id in (:a, :b)", a=kept, b=gone)
    desk.sql("update enerflo.installs set status_name = 'Pending KCA' where install_id = :id", id=in_progress)
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
    desk: Desk, in_progress: int
) -> None:
    note = desk.world.add_note(in_progress, "To be signed.")
    plan = polled(desk)
    applied(desk, plan)
    desk.sql(
        "update crm.notes set author = 'Ann', updated_at = now() + interval '2 seconds'"
        " where enerflo_note_id = :id",
        id=note,
    )
    assert run_undo(desk.context, plan.plan_hash).change_count == 0


def test_a_new_row_that_is_touched_between_undo_and_apply_is_not_deleted(
    desk: Desk, in_progress: int
) -> None:
    note = desk.world.add_note(in_progress, "To be signed.")
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


def test_what_moved_between_undo_and_apply_is_not_overwritten(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    undo = run_undo(desk.context, plan.plan_hash)
    edit(desk, in_progress, "Completed")
    assert run_apply(desk.context, undo.plan_hash, approved_by="Me").moved == 1
    assert crm_status(desk, in_progress) == "Completed"


def test_a_plan_of_which_nothing_was_applied_gives_an_empty_one(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    plan = polled(desk)
    undo = run_undo(desk.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided, undo.state) == (0, {}, PlanState.APPLIED)
    # It takes nobody's place: the plan that waits can still be approved.
    assert run_apply(desk.context, plan.plan_hash, approved_by="Me").applied == plan.change_count


def test_the_same_undo_is_the_same_plan(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    first, second = run_undo(desk.context, plan.plan_hash), run_undo(desk.context, plan.plan_hash)
    assert first.plan_hash == second.plan_hash
    applied(desk, second)
    assert run_undo(desk.context, plan.plan_hash).change_count == 0


def test_numbers_go_back_whatever_the_column_makes_of_them(desk: Desk, in_progress: int) -> None:
    """The CRM keeps two places of an amount: what it shows is not what was sent, and yet nobody moved it."""
    desk.sql(
        "update enerflo.installs set contract_amount = 123.456, observed_at = now() where install_id = :id",
        id=in_progress,
    )
    before = desk.one(
        "select contract_amount from crm.installs where enerflo_install_id = :id", id=in_progress
    )
    plan = desk.plan()
    applied(desk, plan)
    amount = "select contract_amount from crm.installs where enerflo_install_id = :id"
    assert str(desk.one(amount, id=in_progress)) == "123.46"
    undone(desk, plan)
    assert desk.one(amount, id=in_progress) == before


def test_a_field_that_is_not_mapped_any_more_is_left_to_a_person(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    line = "      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}\n"
    desk.switched_on("both", (line, ""))
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.undecided == {"the mapping does not know it any more": 1}


def test_an_unknown_plan_is_said(desk: Desk) -> None:
    with pytest.raises(ConfigurationError, match="there is no such plan"):
        run_undo(desk.context, "0123456789")


def test_the_undo_is_told_by_explain(desk: Desk, in_progress: int) -> None:
    from enerflo_sync.explain.text import render_explanation

    desk.world.set_status(in_progress, ON_HOLD)
    plan = polled(desk)
    applied(desk, plan)
    undo = undone(desk, plan)
    text = " ".join(
        render_explanation(run_explain(desk.context, "install", str(in_progress), field="status")).split()
    )
    assert f'The plan {plan.plan_hash[:12]} was taken back: the CRM had "On Hold" from it.' in text
    assert f"plan {undo.plan_hash[:12]}, approved by Me." in text
    assert "an undo left them so, on purpose" in text


LATER = {"a later plan wrote it since: undo that plan": 1}


def test_what_a_later_plan_wrote_again_in_the_crm_is_not_taken_back_with_the_first(
    desk: Desk, in_progress: int
) -> None:
    plans = []
    for count in (1000, 1001):
        desk.sql(
            "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = :i",
            n=count,
            i=in_progress,
        )
        plans.append(desk.plan())
        applied(desk, plans[-1])
    undo = run_undo(desk.context, plans[0].plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)
    (change,) = desk.changes(run_undo(desk.context, plans[1].plan_hash))
    assert change.after == 1001


def test_a_row_that_an_undo_restored_and_a_person_deleted_is_not_restored_again(agreed: Desk) -> None:
    agreed.switched_on("both", DELETED_TOO)
    note = agreed.one("select min(enerflo_note_id) from crm.notes")
    agreed.world.delete_note(note)
    run_poll(agreed.context, full=True)
    plan = agreed.plan()
    applied(agreed, plan)
    applied(agreed, run_undo(agreed.context, plan.plan_hash))
    agreed.sql("delete from crm.notes where enerflo_note_id = :n", n=note)
    undo = run_undo(agreed.context, plan.plan_hash)
    assert (undo.change_count, undo.undecided) == (0, LATER)


@pytest.mark.parametrize("direction", ["to_enerflo", "none"])
def test_what_the_mapping_forbids_to_write_by_now_is_left_to_a_person(
    desk: Desk, in_progress: int, direction: str
) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    pulled = polled(desk)
    applied(desk, pulled)
    desk.switched_on("both", (STATUS, STATUS.replace("newest", f"newest, direction: {direction}")))
    undo = run_undo(desk.context, pulled.plan_hash)
    barred = "the column of the CRM may not be written any more (direction)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


def test_of_rows_that_are_never_changed_later_by_now_no_value_is_written_back(
    desk: Desk, in_progress: int
) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    pulled = polled(desk)
    applied(desk, pulled)
    table = "    crm_table: crm.installs\n"
    desk.switched_on("both", (table, f"{table}    create_only: true\n"))
    undo = run_undo(desk.context, pulled.plan_hash)
    barred = "the table's rows are created and never changed later by now (create_only)"
    assert (undo.change_count, undo.undecided) == (0, {barred: 1})


def test_what_an_undo_says_of_itself_counts_what_it_leaves(desk: Desk, in_progress: int) -> None:
    desk.world.set_status(in_progress, ON_HOLD)
    desk.world.add_note(in_progress, "Stays as it is.")
    plan = polled(desk)
    applied(desk, plan)
    whole = f"This takes plan {plan.plan_hash[:12]} back"
    assert undo_words(run_undo(desk.context, plan.plan_hash)) == f"{whole}."
    edit(desk, in_progress, "Completed")
    undo = run_undo(desk.context, plan.plan_hash)
    assert undo.change_count
    assert undo_words(undo) == f"{whole}, but for 1 change, listed with the reason."
