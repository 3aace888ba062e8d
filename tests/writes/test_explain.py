"""``explain``: one record's story as people ask for it, told of what really happened to it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.explanation import Explanation, FieldStory, KnownFrom, WaitingKind
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.kept import brought

ON_HOLD = 4


@pytest.fixture
def install(desk: Desk) -> int:
    """An install that is in progress on both sides, both of them written by the rules from now on."""
    return brought(desk, _in_progress)


def _in_progress(desk: Desk) -> int:
    desk.switched_on("both", ("first_to_enerflo: true", "first_to_enerflo: false"))
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    return int(
        desk.one(
            "select min(install_id) from enerflo.installs i join crm.installs c"
            " on c.enerflo_install_id = i.install_id and c.status = i.status_name"
            " where status_name not in ('On Hold', 'Voided', 'Completed')"
        )
    )


def apply(desk: Desk) -> str:
    plan = desk.plan()
    report = run_apply(desk.context, plan.plan_hash, approved_by="Me")
    assert report.applied == plan.change_count, report
    return plan.plan_hash


def edit(desk: Desk, install: int, **values: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    desk.sql(
        f"update crm.installs set {sets}, updated_at = now() where enerflo_install_id = :id",
        id=install,
        **values,
    )


def told(desk: Desk, key: object, field: str = "status", table: str = "install", **more: Any) -> FieldStory:
    (story,) = run_explain(desk.context, table, str(key), field=field, **more).fields
    return story


def text(desk: Desk, key: object, field: str | None = None, table: str = "install", **more: Any) -> str:
    return " ".join(
        render_explanation(run_explain(desk.context, table, str(key), field=field, **more)).split()
    )


def test_a_value_that_came_from_enerflo_is_told_with_its_evidence_and_its_approval(
    desk: Desk, install: int
) -> None:
    before = desk.one("select status from crm.installs where enerflo_install_id = :id", id=install)
    desk.world.set_status(install, ON_HOLD)
    poll = run_poll(desk.context)
    plan_hash = apply(desk)
    story = told(desk, install)
    (step,) = story.steps
    assert (story.same, story.enerflo.value, story.crm.value) == (True, "On Hold", "On Hold")
    assert (step.said, step.old_value, step.direction, step.decision) == (
        "On Hold",
        before,
        "to_crm",
        "applied",
    )
    assert (step.rule, step.decided_by, step.plan_hash) == ("only_side_moved", "Me", plan_hash)
    assert (step.evidence.observed_by, step.evidence.reference) == ("poll", f"poll:{poll.run_id}")
    assert story.agreed.agreed_by == "push"
    assert story.waiting == []
    said = text(desk, install, "status")
    assert 'Both sides say "On Hold".' in said
    assert f'The CRM said "{before}".' in said
    assert "takes the newest value, and only Enerflo changed it since both agreed" in said
    assert f"Written to the CRM in run {step.run_id}, plan {plan_hash[:12]}, approved by Me." in said


def test_a_value_that_came_from_the_crm_is_told_with_its_confirmation(desk: Desk, install: int) -> None:
    before = desk.one("select status_name from enerflo.installs where install_id = :id", id=install)
    edit(desk, install, status="on hold ")
    apply(desk)
    (step,) = told(desk, install).steps
    assert (step.said, step.new_value, step.old_value) == ("on hold ", "On Hold", before)
    assert step.confirmed_by == f"push:{step.run_id}"
    said = text(desk, install, "status")
    assert 'The CRM said "on hold␣" (its row changed at ' in said
    assert f'only the CRM changed it since both agreed on "{before}"' in said
    assert 'Written to Enerflo as "On Hold" and read back' in said
    assert "when it was read back after a write" in said


def test_the_whole_text_of_one_field(desk: Desk, install: int) -> None:
    edit(desk, install, status="On Hold")
    apply(desk)
    found = render_explanation(run_explain(desk.context, "install", str(install), field="status"))
    fixed = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", found.replace(str(install), "ID"))
    fixed = re.sub(r"(apply|poll)-\w+-\w+", r"\1-RUN", re.sub(r"plan \w{12}", "plan HASH", fixed))
    fixed = " ".join(fixed.split())
    before = told(desk, install).steps[0].old_value
    assert fixed == (
        "install ID Enerflo has it as ID. crm.installs has its row, last changed at TIME. The table's mode is both."
        ' status Both sides say "On Hold".'
        " Enerflo's value is known since TIME, when it was read back after a write, run apply-RUN."
        " They last agreed on this value at TIME: the value was written and read back."
        ' TIME: The CRM said "On Hold" (its row changed at TIME). Enerflo said'
        f' "{before}". The field takes the newest value, and only the CRM changed it since both agreed on'
        f' "{before}" (TIME). Written to Enerflo and read back in run apply-RUN, plan HASH, approved by Me.'
    )


def test_a_field_without_history_says_since_when_its_value_is_known(desk: Desk, install: int) -> None:
    story = told(desk, install, "panel_type")
    assert story.steps == []
    assert story.enerflo.evidence.observed_by == "poll"
    assert story.agreed.agreed_by == "comparison"
    said = text(desk, install, "panel_type")
    assert "by poll, run poll-" in said
    assert "the ledger has no row of it" in said


def test_the_loser_of_a_conflict_is_told(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    desk.sql(
        "update crm.installs set status = 'Completed', updated_at = now() - interval '1 hour'"
        " where enerflo_install_id = :id",
        id=install,
    )
    apply(desk)
    (step,) = told(desk, install).steps
    assert (step.rule, step.said, step.old_value) == ("later_time", "On Hold", "Completed")
    assert "both sides had changed it since they agreed, and Enerflo's record was changed later" in text(
        desk, install, "status"
    )


def test_the_evidence_is_the_version_that_first_held_the_value(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    first = run_poll(desk.context)
    apply(desk)
    desk.world.set_status(install, 2)
    run_poll(desk.context)
    desk.world.set_status(install, ON_HOLD)
    milestone = desk.one(
        "select min(milestone_id) from enerflo.milestones where install_id = :id", id=install
    )
    desk.world.set_milestone(install, milestone, {"due": desk.one("select now()")})
    last = run_poll(desk.context)
    desk.world.set_milestone(install, milestone, {"due": None})
    run_poll(desk.context)
    story = told(desk, install)
    assert story.steps[0].evidence.reference == f"poll:{first.run_id}"
    assert story.enerflo.evidence.reference == f"poll:{last.run_id}"


def test_what_an_undo_left_apart_is_told_as_such(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    note = desk.world.add_note(install, "Undone.")
    run_poll(desk.context)
    undo = run_undo(desk.context, apply(desk))
    run_apply(desk.context, undo.plan_hash, approved_by="Ann")
    desk.plan()
    assert [one.kind for one in told(desk, install).waiting] == [WaitingKind.LEFT_APART]
    for key in (f"enerflo:{note}", f"enerflo-{note}"):
        found = run_explain(desk.context, "note", key)
        assert (found.key, found.in_enerflo, found.crm_rows) == ({"note_id": f"enerflo-{note}"}, True, 0)
        assert [one.kind for one in found.waiting] == [WaitingKind.LEFT_APART]
        assert [step.op for step in found.steps] == ["delete"]


def test_a_question_of_an_undo_is_told_until_a_later_plan_decides(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    applied = apply(desk)
    # Somebody works on it: the undo asks. Then it is put right, and nothing differs.
    edit(desk, install, status="In Progress")
    undo = run_undo(desk.context, applied)
    (waiting,) = told(desk, install).waiting
    assert (waiting.kind, waiting.reference) == (WaitingKind.UNDECIDED, undo.plan_hash)
    edit(desk, install, status="On Hold")
    desk.plan()
    assert told(desk, install).waiting == []


def test_what_waits_is_told_of_a_plan_a_question_and_a_fresh_difference(desk: Desk, install: int) -> None:
    edit(desk, install, status="On Hold", panel_type="Something else", contract_amount=1)
    assert told(desk, install).waiting[0].kind is WaitingKind.IN_FLIGHT
    plan = desk.plan()
    (waiting,) = told(desk, install).waiting
    assert (waiting.kind, waiting.reference, waiting.after) == (
        WaitingKind.PLANNED,
        plan.plan_hash,
        "On Hold",
    )
    edit(desk, install, status="No such status")
    plan = desk.plan()
    (waiting,) = told(desk, install).waiting
    assert (waiting.kind, waiting.why) == (WaitingKind.UNDECIDED, "the company has no status of this name")
    assert (
        f"Waiting for a person: the company has no status of this name (plan {plan.plan_hash[:12]})."
        in text(desk, install, "status")
    )


def test_a_difference_that_stays_is_not_in_flight_because_its_row_is_written_again(
    desk: Desk, install: int
) -> None:
    edit(desk, install, status="On Hold")
    run_reconcile(desk.context)
    assert told(desk, install).waiting[0].kind is WaitingKind.IN_FLIGHT
    desk.sql("update sync.differences set unchanged_since = now() - interval '1 hour'")
    edit(desk, install, status="On Hold")
    assert told(desk, install).waiting[0].kind is WaitingKind.DIFFERENT
    edit(desk, install, status="Completed")
    assert told(desk, install).waiting[0].kind is WaitingKind.IN_FLIGHT
    # Another value each time, for a day.
    desk.sql("update sync.differences set since = now() - interval '24 hours'")
    assert told(desk, install).waiting[0].kind is WaitingKind.DIFFERENT


def test_what_moved_under_a_plan_is_told_until_it_is_settled(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    plan = desk.plan()
    edit(desk, install, status="Completed")
    run_apply(desk.context, plan.plan_hash, approved_by="Me")
    (step,) = told(desk, install).steps
    assert step.decision == "moved"
    kinds = [one.kind for one in told(desk, install).waiting]
    assert kinds == [WaitingKind.NOT_WRITTEN]
    assert "Not written to the CRM: the CRM says something else than when the plan was made" in text(
        desk, install, "status"
    )


def test_a_rejected_plan_is_told_with_the_person(desk: Desk, install: int) -> None:
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    plan = desk.plan()
    run_reject(desk.context, plan.plan_hash, by="Ann", reason="not yet")
    assert f"Ann refused this change of plan {plan.plan_hash[:12]} (not yet)" in text(desk, install, "status")


def test_as_of_tells_both_sides_as_they_were(desk: Desk, install: int) -> None:
    before = desk.one("select status from crm.installs where enerflo_install_id = :id", id=install)
    start = desk.one("select clock_timestamp()")
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    between = desk.one("select clock_timestamp()")
    apply(desk)
    after = desk.one("select clock_timestamp()")
    story = told(desk, install, as_of=start)
    assert (story.enerflo.value, story.crm.value, story.steps) == (before, before, [])
    assert story.enerflo.known_from is KnownFrom.VERSION
    story = told(desk, install, as_of=between)
    assert (story.enerflo.value, story.crm.value, story.steps) == ("On Hold", before, [])
    assert story.crm.known_from is KnownFrom.LEDGER
    story = told(desk, install, as_of=after)
    assert (story.enerflo.value, story.crm.value, len(story.steps)) == ("On Hold", "On Hold", 1)
    assert "as known at" in text(desk, install, "status", as_of=start)


def test_before_its_creation_the_crm_had_no_such_record(desk: Desk, install: int) -> None:
    start = desk.one("select clock_timestamp()")
    note = desk.world.add_note(install, "A new note.")
    run_poll(desk.context)
    apply(desk)
    story = told(desk, f"enerflo:{note}", "body", "note", as_of=start)
    assert not story.crm.exists
    assert not story.enerflo.exists


def test_each_table_is_found_by_its_key_and_by_the_id_of_enerflo(desk: Desk, install: int) -> None:
    milestone = desk.one(
        "select min(milestone_id) from enerflo.milestones where install_id = :id", id=install
    )
    found = run_explain(desk.context, "milestone", f"{install}/{milestone}")
    assert found.key == {"enerflo_install_id": install, "milestone_id": milestone}
    note = desk.sql("select note_id, enerflo_note_id from crm.notes where enerflo_note_id is not null")[0]
    for key in (note["note_id"], f"enerflo:{note['enerflo_note_id']}"):
        found = run_explain(desk.context, "note", key)
        assert (found.key, found.enerflo_key) == (
            {"note_id": note["note_id"]},
            {"note_id": note["enerflo_note_id"]},
        )
    deal = desk.one("select deal_id from enerflo.installs where install_id = :id", id=install)
    if deal is not None:
        assert run_explain(desk.context, "install", deal).key == {"enerflo_install_id": install}
    order = desk.one("select min(change_order_id) from enerflo.change_orders")
    assert run_explain(desk.context, "change-order", str(order)).in_enerflo
    lead = desk.one("select min(lead_id) from crm.leads")
    assert [story.field for story in run_explain(desk.context, "lead", lead).fields][:2] == [
        "first_name",
        "last_name",
    ]


def test_a_note_that_was_sent_is_told_as_created_there(desk: Desk, install: int) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('n-1', :id, 'Ann', 'Call the customer.', now())",
        id=install,
    )
    apply(desk)
    story = told(desk, "n-1", "body", "note", reveal=True, by="Me")
    (step,) = story.steps
    assert (step.op, step.direction, step.said) == ("insert", "to_enerflo", "Call the customer.")
    said = text(desk, "n-1", table="note")
    assert "Enerflo had no such record, so it is created there (create_in)." in said
    assert "Created in Enerflo and read back with" in said
    assert "Call the customer" not in said


def test_personal_data_is_masked_unless_revealed_and_a_reveal_is_kept(desk: Desk, install: int) -> None:
    desk.sql(
        "update crm.installs set customer_name = 'Zoe Unmistakable', updated_at = now()"
        " where enerflo_install_id = :id",
        id=install,
    )
    desk.plan()
    masked = run_explain(desk.context, "install", str(install))
    assert "nmistakable" not in render_explanation(masked)
    assert b"nmistakable" not in msgspec.json.encode(masked)
    assert "Personal data is masked" in render_explanation(masked)
    assert desk.sql("select * from sync.reveals") == []
    revealed = run_explain(desk.context, "install", str(install), reveal=True, by="Me")
    assert "Zoe Unmistakable" in render_explanation(revealed)
    (row,) = desk.sql("select who, what from sync.reveals")
    assert dict(row) == {"who": "Me", "what": f"install/{install}"}
    with pytest.raises(ConfigurationError, match="nobody is named"):
        run_explain(desk.context, "install", str(install), reveal=True)


def test_a_record_that_enerflo_deleted_is_told_with_its_time(desk: Desk, install: int) -> None:
    desk.sql(
        "update enerflo.installs set deleted_at = now(), absent_since = now() where install_id = :id",
        id=install,
    )
    found: Explanation = run_explain(desk.context, "install", str(install))
    assert (found.in_enerflo, found.crm_rows) == (False, 1)
    assert f"Enerflo deleted it ({install}); that was found at" in text(desk, install)


def test_a_quarantined_record_says_so(desk: Desk, install: int) -> None:
    from enerflo_sandbox.bad_records import BadKind

    desk.world.plant_bad(install, next(iter(BadKind)))
    run_poll(desk.context)
    found = run_explain(desk.context, "install", str(install))
    assert [one.kind for one in found.waiting] == [WaitingKind.QUARANTINED]
    assert "stands in quarantine" in text(desk, install)


@pytest.mark.parametrize(
    ("table", "key", "says"),
    [
        ("install", "1", "neither side has such a record"),
        ("install", "one", "the key is not of the type bigint"),
        ("install", "0b1f5d0e-0000-4000-8000-000000000000", "neither side has such a record"),
        ("milestone", "4400003", "the key has 2 parts"),
        ("note", "enerflo:1", "neither side has such a record"),
        ("note", "enerflo:one", "the key is not of the type whole number"),
        ("note", "n-404", "neither side has such a record"),
        ("house", "1", "there is no table 'house'"),
    ],
)
def test_what_is_not_there_is_said_with_a_next_step(desk: Desk, table: str, key: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as raised:
        run_explain(desk.context, table, key)
    assert raised.value.where
    assert raised.value.next_step


def test_an_unknown_field_lists_those_that_there_are(desk: Desk, install: int) -> None:
    with pytest.raises(ConfigurationError, match=r"no mapped field 'colour'.*deal_id, customer_name"):
        run_explain(desk.context, "install", str(install), field="colour")


def test_the_time_of_a_webhook_is_told(desk: Desk, install: int) -> None:
    """What a webhook told is told with the event and its file, and the poll as the second witness."""
    story = told(desk, install)
    at = story.enerflo.evidence.observed_at
    desk.sql(
        "update enerflo.install_versions set observed_by = 'webhook', evidence = 'file:///drop/1.json'"
        " where install_id = :id",
        id=install,
    )
    desk.sql(
        "insert into sync.webhook_events (account, event_id, event, install_id, content_hash, received_at,"
        " source_uri, state, body) values ('default', 'e1', 'update_install', :id, 'h', :at,"
        " 'file:///drop/1.json', 'applied', '{}')",
        id=install,
        at=at - timedelta(seconds=5),
    )
    evidence = told(desk, install).enerflo.evidence
    assert (evidence.event, evidence.event_id) == ("update_install", "e1")
    assert "read because of the webhook update_install of" in text(desk, install, "status")


def test_in_report_mode_no_change_is_said_to_wait(agreed: Desk) -> None:
    agreed.switched_on("report")
    changed = agreed.one("select min(enerflo_install_id) from crm.installs")
    agreed.sql("update crm.installs set panel_count = 99 where enerflo_install_id = :i", i=changed)
    plan = agreed.plan()
    assert (plan.mode, plan.change_count) == ("report", 1)
    told = text(agreed, changed, "panel_count")
    assert "Planned: a change in the CRM from 99 to" in told
    assert f"its plan is only shown, since no plan is applied in report mode ({plan.plan_hash[:12]})." in told
    assert "Waiting:" not in told
