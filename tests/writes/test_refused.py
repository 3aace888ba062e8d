"""What a person refused stays refused, by itself, until a value of it changes or a person opens it again."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import read_refusals, run_reject, run_reopen
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.render import plan_lines
from enerflo_sync.plan.render.shown_plan import headline, show_plan
from enerflo_sync.plan.reopen import WhichRefusals
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.test_completion import finished, opened_again

INSTALLS = "select enerflo_install_id as id from crm.installs where status = 'In progress' order by 1 limit 4"


def installs(desk: Desk) -> list[int]:
    return [row["id"] for row in desk.sql(INSTALLS)]


def edit(desk: Desk, install_id: int, **columns: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    desk.sql(
        f"update crm.installs set {sets}, updated_at = clock_timestamp() where enerflo_install_id = :id",
        id=install_id,
        **columns,
    )


def refused_cancellation(desk: Desk) -> int:
    """Let a person refuse that an install is put on hold at Enerflo, and return the install."""
    install = installs(desk)[0]
    edit(desk, install, status="On Hold")
    plan = desk.plan()
    assert [change.field for change in desk.changes(plan)] == ["status"]
    run_reject(desk.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    return install


def status_at_enerflo(desk: Desk, install_id: int) -> int:
    return next(row.status_id for row in desk.world.truth.installs() if row.install_id == install_id)


def of_install(desk: Desk, plan: PlanReport, install_id: int) -> list[Any]:
    return desk.changes(plan, table_name="installs", key={"enerflo_install_id": install_id})


def test_it_is_not_in_the_next_plan_whatever_else_that_holds(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    other = installs(agreed)[1]
    edit(agreed, other, panel_count=99)
    plan = agreed.plan()
    assert [change.field for change in agreed.changes(plan)] == ["panel_count"]
    (told,) = agreed.undecided(plan)
    assert (told.key, told.field) == ({"enerflo_install_id": install}, "status")
    assert (told.enerflo_value, told.crm_value) == ("In progress", "On Hold")
    assert told.reason.startswith("refused by Sam Hill on 20")
    assert told.reason.endswith("UTC: the customer stays")
    assert plan.undecided == {}
    assert sum(plan.refused.values()) == 1
    agreed.carried()
    assert status_at_enerflo(agreed, install) == c.IN_PROGRESS
    assert agreed.plan().change_count == 0


def test_the_ledger_and_the_explanation_name_who_and_why(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    (row,) = agreed.ledger(field="status", decision="refused")
    assert (row["decided_by"], row["reason"]) == ("Sam Hill", "the customer stays")
    agreed.plan()
    (story,) = run_explain(agreed.context, "install", str(install), field="status").fields
    (waiting,) = story.waiting
    assert waiting.why.startswith("refused by Sam Hill on 20")
    assert "the customer stays" in waiting.why


def test_the_page_and_the_text_tell_it_apart_from_questions(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    plan = agreed.plan()
    with agreed.engine.connect() as connection:
        shown = show_plan(connection, agreed.context.config, "default", plan.plan_hash)
    page = agreed.page(plan)
    assert "Refused by a person, and not done" in page
    assert 'id="undecided"' not in page
    assert str(install) in page
    assert any("Refused by a person" in line.text for line in plan_lines(shown))
    assert headline(plan) == "Nothing to write: 1 change stays refused."
    assert "are as the rules say" not in page


@pytest.mark.parametrize("spelled", ["ON HOLD", "  On Hold "])
def test_another_spelling_of_the_same_value_is_the_same_change(agreed: Desk, spelled: str) -> None:
    install = refused_cancellation(agreed)
    edit(agreed, install, status=spelled)
    assert agreed.changes(agreed.plan()) == []


def test_another_value_is_another_change(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    edit(agreed, install, status="Completed")
    assert [change.after for change in of_install(agreed, agreed.plan(), install)] == ["Completed"]
    # The refusal ended with the value.
    edit(agreed, install, status="On Hold")
    assert [change.after for change in of_install(agreed, agreed.plan(), install)] == ["On Hold"]


def test_the_same_edit_made_again_after_both_agreed_is_another_change(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    edit(agreed, install, status="In progress")
    assert agreed.plan().change_count == 0
    edit(agreed, install, status="On Hold")
    assert [change.after for change in of_install(agreed, agreed.plan(), install)] == ["On Hold"]


def test_a_value_that_moves_at_the_other_side_is_another_change(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    agreed.sql("update sync.refusals set before = to_jsonb('Completed'::text)")
    assert len(of_install(agreed, agreed.plan(), install)) == 1


def test_no_other_rule_brings_it_in(agreed: Desk) -> None:
    """A person refuses to complete an install; then its last milestone is completed, which would do it too."""
    install = agreed.a_site().install_id
    edit(agreed, install, status="Completed")
    plan = agreed.plan()
    run_reject(agreed.context, plan.plan_hash, by="Sam")
    edit(agreed, install, status="In progress")
    agreed.sql("update sync.refusals set decided_at = now() + interval '1 hour'")
    plan = finished(agreed, install)
    assert [change.table_name for change in agreed.changes(plan)] == ["milestones"]
    assert sum(plan.refused.values()) == 1


def test_what_the_last_milestone_would_do_stays_refused_as_an_edit(agreed: Desk) -> None:
    install = agreed.a_site().install_id
    plan = finished(agreed, install)
    assert len(agreed.changes(plan, rule=LAST_MILESTONE)) == 1
    run_reject(agreed.context, plan.plan_hash, by="Sam")
    assert agreed.plan().change_count == 0
    edit(agreed, install, status="Completed")
    assert agreed.changes(agreed.plan()) == []


def test_a_refused_completion_stays_refused_however_often_the_milestone_is_corrected(agreed: Desk) -> None:
    """Both sides agree on the status all the time: that is no news, and ends no refusal."""
    install = agreed.a_site().install_id
    run_reject(agreed.context, finished(agreed, install).plan_hash, by="Sam")
    for minutes_ago in (2, 3):
        plan = finished(agreed, install, minutes_ago)
        assert [change.table_name for change in agreed.changes(plan)] == ["milestones"]
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
        assert agreed.plan().change_count == 0
    assert status_at_enerflo(agreed, install) == c.IN_PROGRESS
    # With another status there the completion is another change, once the milestone was open again.
    agreed.world.set_status(install, c.ON_HOLD)
    opened_again(agreed, install)
    assert len(agreed.changes(finished(agreed, install), rule=LAST_MILESTONE)) == 1


def test_a_new_row_that_was_refused_is_not_made_until_a_value_of_it_changes(desk: Desk) -> None:
    desk.switched_on("both")
    first = desk.plan()
    new = desk.changes(first, op="insert", direction="to_crm")
    assert new
    run_reject(desk.context, first.plan_hash, by="Sam")
    plan = desk.plan()
    assert plan.change_count == 0
    told = [one for one in desk.undecided(plan) if one.refusal_id is not None]
    records = {(change.table_name, str(change.key)) for change in desk.changes(first)}
    assert {(one.table_name, str(one.key)) for one in told} == records
    lead = next(one for one in told if one.table_name == "leads" and one.field is None)
    assert isinstance(lead.enerflo_value, dict)
    assert lead.crm_value is None
    customer = new[0].key
    desk.sql("update enerflo.customers set city = 'Elsewhere', observed_at = now()")
    assert {str(change.key) for change in desk.changes(desk.plan(), op="insert")} >= {str(customer)}


def test_reopened_it_is_planned_again(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    found = run_reopen(
        agreed.context, WhichRefusals(table="installs", key=str(install), field="status"), by="Pat"
    )
    assert [(one.field, one.after) for one in found] == [("status", "On Hold")]
    plan = agreed.plan()
    assert len(of_install(agreed, plan, install)) == 1
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert status_at_enerflo(agreed, install) == c.ON_HOLD
    with pytest.raises(ConfigurationError, match="there is no such refusal"):
        run_reopen(agreed.context, WhichRefusals(), by="Pat")


def test_a_plan_that_is_approved_after_all_is_refused_no_more(agreed: Desk) -> None:
    install = installs(agreed)[0]
    edit(agreed, install, status="On Hold")
    plan = agreed.plan()
    run_reject(agreed.context, plan.plan_hash, by="Sam")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert read_refusals(agreed.context) == []


def test_an_answer_of_nobody_refuses_nothing(agreed: Desk) -> None:
    edit(agreed, installs(agreed)[0], status="On Hold")
    plan = agreed.plan()
    run_reject(agreed.context, plan.plan_hash, by=None, reason="nobody answered in time")
    assert agreed.plan().plan_hash == plan.plan_hash
    assert read_refusals(agreed.context) == []


def test_a_refused_undo_binds_no_plan(agreed: Desk) -> None:
    install = installs(agreed)[0]
    edit(agreed, install, panel_count=99)
    plan = agreed.plan()
    agreed.carried()
    undo = run_undo(agreed.context, plan.plan_hash)
    run_reject(agreed.context, undo.plan_hash, by="Sam")
    assert read_refusals(agreed.context) == []
    assert run_undo(agreed.context, plan.plan_hash).state == "rejected"


def test_a_relinked_row_is_another_record(agreed: Desk) -> None:
    (lead,) = agreed.sql("select * from crm.leads where enerflo_customer_id is not null order by 1 limit 1")
    agreed.sql(
        "update crm.leads set email = 'new@example.com', updated_at = clock_timestamp() where lead_id = :id",
        id=lead["lead_id"],
    )
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam")
    assert agreed.plan().change_count == 0
    agreed.sql(
        "insert into enerflo.customers (account, customer_id, first_name, last_name, email, mobile, address,"
        "  city, state, zip, observed_at, observed_by)"
        " select account, 990001, first_name, last_name, email, mobile, address, city, state, zip,"
        "  observed_at, observed_by from enerflo.customers where customer_id = :id",
        id=lead["enerflo_customer_id"],
    )
    agreed.sql(
        "update crm.leads set enerflo_customer_id = 990001, updated_at = clock_timestamp() where lead_id = :id",
        id=lead["lead_id"],
    )
    plan = agreed.plan()
    assert len(agreed.changes(plan, field="email")) + len(agreed.undecided(plan)) >= 1
    assert all(one.refusal_id is None for one in agreed.undecided(plan) if one.field == "email")


def two_edits(desk: Desk) -> tuple[int, int, PlanReport]:
    """Return two installs whose status differs, and the plan of both."""
    first, second = installs(desk)[:2]
    for install in (first, second):
        edit(desk, install, status="On Hold")
    return first, second, desk.plan()


def test_a_yes_after_nobodys_no_does_not_make_what_a_person_refused_of_the_plan(agreed: Desk) -> None:
    first, second, plan = two_edits(agreed)
    part = Part(only=[f"installs:{first}"])
    run_reject(agreed.context, plan.plan_hash, by="Sam", part=part)
    run_reject(agreed.context, plan.plan_hash, by=None)
    before = status_at_enerflo(agreed, first)
    assert run_apply(agreed.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert status_at_enerflo(agreed, first) == before
    assert status_at_enerflo(agreed, second) != before
    assert [one.decided_by for one in read_refusals(agreed.context)] == ["Sam"]


def test_a_yes_after_nobodys_no_does_not_make_what_a_person_refused_of_a_later_plan(agreed: Desk) -> None:
    first, _, older = two_edits(agreed)
    run_reject(agreed.context, older.plan_hash, by=None)
    edit(agreed, installs(agreed)[2], status="On Hold")
    later = run_plan(agreed.context)[-1]
    assert later.plan_hash != older.plan_hash
    run_reject(agreed.context, later.plan_hash, by="Sam", part=Part(only=[f"installs:{first}"]))
    with pytest.raises(ConfigurationError, match="a later plan took its place"):
        run_apply(agreed.context, older.plan_hash, approved_by="Pat")


NOTE_BODY = (
    "      enerflo_install_id: {enerflo: install_id, type: integer, source_of_truth: enerflo}\n      body:"
)
NOTE_TIME = "      created_at: {enerflo: created_at, type: timestamp, source_of_truth: enerflo}\n      body:"
ONE_MORE = (NOTE_BODY, NOTE_BODY.replace("      body:", NOTE_TIME))
DELETES = ("    create_only: true\n", "    create_only: true\n    delete_in: [crm]\n")


def test_a_field_that_is_mapped_since_is_no_value_that_changed(agreed: Desk) -> None:
    agreed.switched_on("both", DELETES)
    note = agreed.one("select min(enerflo_note_id) from crm.notes")
    install = agreed.one("select enerflo_install_id from crm.notes where enerflo_note_id = :n", n=note)
    agreed.world.delete_note(note)
    agreed.world.add_note(install, "Not for the CRM.")
    run_poll(agreed.context, full=True)
    plan = run_plan(agreed.context)
    assert {change.op for one in plan for change in agreed.changes(one)} == {"insert", "delete"}
    for one in plan:
        run_reject(agreed.context, one.plan_hash, by="Sam")
    for edits in ((DELETES, ONE_MORE), (DELETES,)):
        agreed.switched_on("both", *edits)
        assert [agreed.changes(one, table_name="notes") for one in run_plan(agreed.context)] == [[]]
    assert len(read_refusals(agreed.context)) == 2


def test_a_yes_after_all_does_not_make_what_a_person_refused_of_a_later_plan(agreed: Desk) -> None:
    install = refused_cancellation(agreed)
    first = agreed.one(
        "select plan_hash from sync.plans where state = 'rejected' order by decided_at desc limit 1"
    )
    run_reopen(agreed.context, WhichRefusals(key=str(install)), by="Pat")
    edit(agreed, installs(agreed)[1], status="On Hold")
    later = agreed.plan()
    assert later.plan_hash != first
    run_reject(agreed.context, later.plan_hash, by="Ann", part=Part(only=[f"installs:{install}"]))
    before = status_at_enerflo(agreed, install)
    with pytest.raises(ConfigurationError, match="Ann refused a change of it since"):
        run_apply(agreed.context, first, approved_by="Bob")
    assert status_at_enerflo(agreed, install) == before
    assert [one.decided_by for one in read_refusals(agreed.context)] == ["Ann"]
