"""The plan: what stands in it, under which hash, when it waits for a person, and what it leaves to one."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.plan.render import plan_summary, write_plan
from enerflo_sync.plan.render.shown_plan import headline, masked_changes, masked_undecided
from enerflo_sync.plan.report import PlanState
from tests.writes.conftest import Desk

FIRST = "select min(enerflo_install_id) from crm.installs"


def edited(desk: Desk, column: str, value: object, install_id: int | None = None) -> int:
    install = install_id or desk.one(FIRST)
    desk.sql(
        f"update crm.installs set {column} = :v, updated_at = now() where enerflo_install_id = :i",
        v=value,
        i=install,
    )
    return install


def test_the_same_differences_are_the_same_plan(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    first, second = agreed.plan(), agreed.plan()
    assert first.plan_hash == second.plan_hash
    assert len(first.plan_hash) == 64
    assert agreed.one("select count(*) from sync.plans where state = 'open'") == 1


def test_a_change_says_what_it_expects_what_it_writes_and_why(agreed: Desk) -> None:
    install = edited(agreed, "panel_count", 99)
    (change,) = agreed.changes(agreed.plan())
    assert (change.table_name, change.key, change.op, change.field) == (
        *("installs", {"enerflo_install_id": install}),
        *("update", "panel_count"),
    )
    truth = next(row for row in agreed.world.truth.installs() if row.install_id == install)
    assert (change.before, change.after) == (99, truth.panel_count)
    assert (change.direction, change.policy, change.cause, change.rule) == (
        *("to_crm", "enerflo"),
        *("edited_in_crm", "source_of_truth"),
    )


def test_the_same_change_made_again_later_is_another_plan(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    first = agreed.plan()
    agreed.carried()
    edited(agreed, "panel_count", 99)
    again = agreed.plan()
    assert again.plan_hash != first.plan_hash
    assert again.state is PlanState.OPEN


def test_a_plan_without_changes_is_empty_and_counts_as_applied(agreed: Desk) -> None:
    plan = agreed.plan()
    assert (plan.change_count, plan.needs_approval, plan.state) == (0, False, PlanState.APPLIED)
    assert run_apply(agreed.context, plan.plan_hash).applied == 0


def test_a_later_plan_takes_the_place_of_one_that_waits(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    first = agreed.plan()
    edited(agreed, "panel_count", 98)
    agreed.plan()
    states = {row["plan_hash"]: row["state"] for row in agreed.sql("select plan_hash, state from sync.plans")}
    assert states[first.plan_hash] == "superseded"
    assert agreed.sql(
        "select distinct state from sync.plan_changes where plan_hash = :h", h=first.plan_hash
    ) == [{"state": "superseded"}]
    assert agreed.ledger(plan_hash=first.plan_hash) == []
    with pytest.raises(ConfigurationError, match="it was superseded"):
        run_apply(agreed.context, first.plan_hash)


def test_a_plan_expires_by_the_clock(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    agreed.sql("update sync.plans set expires_at = now() - interval '1 second' where state = 'open'")
    with pytest.raises(ConfigurationError, match="it has expired"):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.ledger(plan_hash=plan.plan_hash) == []


def test_a_mapping_that_changed_since_makes_the_plan_void(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    agreed.switched_on("both", ("tolerance: 0.005, source_of_truth", "tolerance: 0.5, source_of_truth"))
    with pytest.raises(ConfigurationError, match="the mapping changed since"):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")


def test_a_plan_that_was_edited_by_hand_is_refused(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    agreed.sql("update sync.plan_changes set after = '12' where plan_hash = :h", h=plan.plan_hash)
    with pytest.raises(ConfigurationError, match="its changes were edited"):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.ledger(plan_hash=plan.plan_hash) == []


def test_the_first_plan_of_an_account_waits(desk: Desk) -> None:
    desk.switched_on("both")
    plan = desk.plan()
    assert plan.waits_for_approval
    assert any(
        reason.startswith("No plan of this account was applied as a whole yet") for reason in plan.reasons
    )
    with pytest.raises(ConfigurationError, match=r"needs a person's approval.*--approve"):
        run_apply(desk.context, plan.plan_hash)
    assert desk.ledger() == []


def test_a_small_plan_of_a_known_mapping_passes_by_the_rules(agreed: Desk) -> None:
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    assert (plan.needs_approval, list(plan.reasons)) == (False, [])
    run_apply(agreed.context, plan.plan_hash)
    assert [row["decided_by"] for row in agreed.ledger(plan_hash=plan.plan_hash)] == ["the approval rules"]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (("changes: 500", "changes: 0"), "more than 0 (approval.changes)"),
        (("percent: 10", "percent: 1"), "more than 1 % (approval.percent)"),
        (
            (
                "panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}",
                "panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo, protected: true}",
            ),
            "the protected field installs.panel_count",
        ),
    ],
)
def test_the_rules_say_why_a_plan_waits(agreed: Desk, edit: tuple[str, str], reason: str) -> None:
    agreed.switched_on("both", edit)
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    assert plan.waits_for_approval
    assert any(reason in text for text in plan.reasons), plan.reasons


def test_taking_a_value_away_and_deleting_wait(agreed: Desk) -> None:
    agreed.switched_on(
        "both",
        (
            "panel_type: {enerflo: panel_type_new, type: text, trim: true, source_of_truth: enerflo}",
            "panel_type: {enerflo: panel_type_new, type: text, trim: true, source_of_truth: enerflo,"
            " null_overwrites: true}",
        ),
        (
            "    reconcile: false\n    fields:\n      enerflo_install_id",
            "    reconcile: false\n    delete_in: [crm]\n    fields:\n      enerflo_install_id",
        ),
    )
    orders = agreed.sql("select * from crm.change_orders order by panel_type is null desc, 1")
    nulled = orders[0]["enerflo_change_order_id"]
    agreed.sql(
        "update crm.change_orders set panel_type = 'Typed by hand' where enerflo_change_order_id = :o",
        o=nulled,
    )
    gone = orders[-1]["enerflo_change_order_id"]
    agreed.sql("update enerflo.change_orders set deleted_at = now() where change_order_id = :o", o=gone)
    plan = agreed.plan()
    deleted = agreed.changes(plan, op="delete")
    assert [change.key for change in deleted] == [{"enerflo_change_order_id": gone}]
    assert any("deletes 1 row " in reason for reason in plan.reasons)
    if orders[0]["panel_type"] is None:
        assert any("takes 1 value away" in reason for reason in plan.reasons)
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.sql("select 1 from crm.change_orders where enerflo_change_order_id = :o", o=gone) == []
    assert agreed.plan().change_count == 0


def test_a_status_that_the_company_does_not_have_is_left_to_a_person(agreed: Desk) -> None:
    install = edited(agreed, "status", "Waiting for HOA")
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    (question,) = agreed.undecided(plan)
    assert question.key == {"enerflo_install_id": install}
    assert question.reason == "the company has no status of this name"
    assert question.crm_value == "Waiting for HOA"


def test_two_rows_of_one_install_are_left_to_a_person(desk: Desk) -> None:
    desk.switched_on("both")
    desk.sql("drop index crm.installs_enerflo_install_id")
    desk.sql("insert into crm.installs select * from crm.installs where enerflo_install_id = (" + FIRST + ")")
    questions = [one for one in desk.undecided(desk.plan()) if one.table_name == "installs"]
    assert [(one.key, one.cause) for one in questions] == [
        ({"enerflo_install_id": desk.one(FIRST)}, "duplicate_identity")
    ]


def test_an_install_that_enerflo_does_not_have_is_left_to_a_person(agreed: Desk) -> None:
    agreed.sql(
        "insert into crm.installs (enerflo_install_id, status, updated_at) values (77, 'In progress', now())"
    )
    (question,) = agreed.undecided(agreed.plan())
    assert (question.key, question.reason) == (
        {"enerflo_install_id": 77},
        "the mirror of Enerflo has no record of this id",
    )


def test_a_row_that_was_deleted_from_the_crm_is_not_made_again(agreed: Desk) -> None:
    install = agreed.one(FIRST)
    agreed.sql("delete from crm.installs where enerflo_install_id = :i", i=install)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert [(one.key, one.cause) for one in agreed.undecided(plan)] == [
        ({"enerflo_install_id": install}, "deleted_in_crm")
    ]


def test_a_quarantined_record_is_not_planned(agreed: Desk) -> None:
    install = edited(agreed, "panel_count", 99)
    agreed.sql(
        "insert into sync.quarantine (account, item_id, kind, reason, fingerprint, first_seen_at, last_seen_at,"
        " count, state, table_name, key) values ('default', 'q', 'record', 'r', 'f', now(), now(), 1, 'open',"
        " 'installs', cast(:key as jsonb))",
        key=json.dumps({"install_id": install}),
    )
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert [one.reason for one in agreed.undecided(plan)] == ["its record stands in quarantine"]


def test_a_mode_of_one_table_leaves_the_other_directions_alone(agreed: Desk) -> None:
    agreed.switched_on("crm")
    edited(agreed, "status", "On Hold")
    edited(agreed, "panel_count", 99)
    plan = agreed.plan()
    assert [(change.field, change.direction) for change in agreed.changes(plan)] == [
        ("panel_count", "to_crm")
    ]
    assert plan.kept["not switched on (mode crm)"] == 1


def test_in_report_mode_the_plan_shows_everything_and_nothing_can_be_applied(desk: Desk) -> None:
    edited(desk, "panel_count", 99)
    plan = desk.plan()
    assert [change.after for change in desk.changes(plan, field="panel_count")]
    with pytest.raises(ConfigurationError, match="the mode is report"):
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert desk.crm("installs", enerflo_install_id=desk.one(FIRST))["panel_count"] == 99


def test_json_holds_every_change_and_masks_what_is_personal(desk: Desk) -> None:
    plan = desk.plan()
    tables = desk.context.config.tables_for("default")
    out = io.BytesIO()
    with desk.engine.connect() as connection:
        changes = masked_changes(read_changes(connection, "default", plan.plan_hash), tables)
        questions = masked_undecided(read_undecided(connection, "default", plan.plan_hash), tables)
        write_plan(plan, changes, questions, out)
    document = json.loads(out.getvalue())
    assert list(document)[:2] == ["plan_hash", "needs_approval"]
    assert {"counts", "changes", "undecided"} <= document.keys()
    assert len(document["changes"]) == plan.change_count == document["counts"]["changes"] > 0
    names = {
        text
        for row in desk.sql("select first_name, last_name, email from enerflo.customers")
        for text in row.values()
    }
    assert not names & {change["after"] for change in document["changes"]}
    assert not any(name in plan_summary(plan) for name in names if name)


def test_an_empty_plan_counts_what_it_leaves_and_claims_no_more_than_the_mirror(agreed: Desk) -> None:
    plan = agreed.plan()
    assert (plan.change_count, plan.undecided, plan.refused) == (0, {}, {})
    parked = msgspec.structs.replace(plan, kept={"it was parked a moment ago": 2})
    assert headline(parked) == "Nothing to write: 2 differences stay as they are, each with its reason."
    whole = msgspec.structs.replace(plan, kept={})
    assert headline(whole) == "Nothing to write: the mirror and the CRM are as the rules say."
