"""New rows, deleted rows and the ids of created records, where the CRM's table is only a copy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sync.agreed.handing_over import end_unmade
from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.creations import LINK_LOST, ROW_LOST_LINK
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, note, posts
from tests.writes.test_changes import ALONE, AT_ONCE, HANDED, INSTALLS, approved, copied, handed

__all__ = ["copied"]

NOTES = ("    crm_table: crm.notes\n", "    crm_table: crm.notes\n    write_to: changes\n")
LEADS = ("    crm_table: crm.leads\n", "    crm_table: crm.leads\n    write_to: changes\n")
DELETED_TOO = ("    write_to: changes\n", "    write_to: changes\n    delete_in: [crm]\n")


def copied_as_said(desk: Desk, table: str, key: str) -> None:
    """Copy the CRM's rows anew, after a tool made there what was handed over of new rows and links."""
    rows: dict[str, dict[str, Any]] = {}
    for row in handed(desk):
        one = rows.setdefault(json.dumps(row["key"]), {**row["key"]})
        if row["op"] == "delete":
            desk.sql(f"delete from crm.{table} where {key} = :key", key=row["key"][key])
            rows.pop(json.dumps(row["key"]))
        else:
            one[row["column"]] = row["after"]
    for one in rows.values():
        names = ", ".join(one)
        made = f"jsonb_populate_record(null::crm.{table}, cast(:row as jsonb))"
        sets = ", ".join(f"{name} = made.{name}" for name in one)
        row = json.dumps(one)
        there = desk.sql(
            f"update crm.{table} t set {sets}, updated_at = now() from {made} made where t.{key} = made.{key}"
            " returning 1 as one",
            row=row,
        )
        if not there:
            desk.sql(
                f"insert into crm.{table} ({names}, updated_at) select {names}, now() from {made}", row=row
            )


def causes(desk: Desk, table: str) -> dict[str, int]:
    (found,) = (one for one in run_reconcile(desk.context).tables if one.table_name == table)
    return {str(cause): number for cause, number in found.by_cause.items() if number}


def new_install(desk: Desk) -> int:
    desk.world.create_install()
    run_poll(desk.context)
    return int(
        desk.one(
            "select install_id from enerflo.installs where install_id not in"
            " (select enerflo_install_id from crm.installs)"
        )
    )


def test_a_new_row_is_handed_over_column_by_column_and_is_there_with_the_copy(copied: Desk) -> None:
    install = new_install(copied)
    plan, report = approved(copied)
    rows = [row for row in handed(copied) if row["table_name"] == "installs"]
    assert {row["op"] for row in rows} == {"insert"}
    assert {"status", "panel_count"} <= {row["column"] for row in rows}
    assert report.handed_over == len(rows)
    assert causes(copied, "installs") == {"on_its_way": 1}
    assert not copied.changes(copied.plan(), table_name="installs")
    copied_as_said(copied, "installs", "enerflo_install_id")
    assert causes(copied, "installs") == {}
    copied.settled()
    assert {row["state"] for row in handed(copied, every=True)} == {"arrived"}
    undo = run_undo(copied.context, plan.plan_hash)
    (change,) = copied.changes(undo, table_name="installs")
    assert (change.op, change.key) == ("delete", {"enerflo_install_id": install})
    run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    (gone,) = handed(copied)
    assert (gone["op"], gone["column"], gone["kind"]) == ("delete", None, "undo")
    copied_as_said(copied, "installs", "enerflo_install_id")
    assert not copied.changes(copied.plan(), table_name="installs")
    assert handed(copied) == []


def test_a_new_row_of_which_a_value_moves_on_is_not_made_twice(copied: Desk) -> None:
    install = new_install(copied)
    approved(copied)
    before = len(handed(copied))
    copied.world.resubmit_install(install, panel_count=44)
    run_poll(copied.context)
    plan, _ = approved(copied)
    assert [(change.op, change.field) for change in copied.changes(plan)] == [("insert", "panel_count")]
    assert len(handed(copied)) == before
    (old,) = (row for row in handed(copied, every=True) if row["state"] == "superseded")
    assert old["column"] == "panel_count"
    copied_as_said(copied, "installs", "enerflo_install_id")
    assert copied.crm("installs", enerflo_install_id=install)["panel_count"] == 44
    copied.settled()


def test_a_new_row_that_is_undone_before_it_is_taken_over_is_not_made(copied: Desk) -> None:
    new_install(copied)
    plan, _ = approved(copied)
    undo = run_undo(copied.context, plan.plan_hash)
    (change,) = copied.changes(undo, table_name="installs")
    assert (change.op, change.rule) == ("delete", "withdraw")
    report = run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (undo.change_count, 0)
    assert {row["state"] for row in handed(copied, every=True)} == {"withdrawn"}
    assert not copied.changes(copied.plan(), table_name="installs")


def test_a_deletion_is_handed_over_and_undone(copied: Desk) -> None:
    copied.switched_on("both", HANDED, DELETED_TOO, AT_ONCE)
    copied.carried()
    install = copied.a_site().install_id
    copied.world.delete_install(install)
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    plan = copied.plan()
    # The copy comes anew between plan and apply: its load time is no other content.
    copied.sql("update crm.installs set _fivetran_synced = now() + interval '1 minute'")
    report = run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert report.moved == 0
    (row,) = (one for one in handed(copied) if one["table_name"] == "installs")
    assert (row["op"], row["column"], row["key"]) == ("delete", None, {"enerflo_install_id": install})
    assert causes(copied, "installs") == {"on_its_way": 1}
    assert not copied.changes(copied.plan(), table_name="installs")
    undo = run_undo(copied.context, plan.plan_hash)
    assert {change.rule for change in copied.changes(undo, table_name="installs")} == {"withdraw"}
    run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    assert [one for one in handed(copied) if one["table_name"] == "installs"] == []
    assert not copied.changes(copied.plan(), table_name="installs")


def test_a_deletion_that_the_copy_shows_has_arrived(copied: Desk) -> None:
    copied.switched_on("both", HANDED, DELETED_TOO, AT_ONCE)
    copied.carried()
    install = copied.a_site().install_id
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    _plan, _ = approved(copied)
    copied_as_said(copied, "installs", "enerflo_install_id")
    assert not copied.changes(copied.plan(), table_name="installs")
    assert handed(copied) == []
    assert not copied.sql(
        "select from sync.agreed where key = cast(:k as jsonb)", k=json.dumps({"enerflo_install_id": install})
    )


def test_a_note_of_the_crm_is_sent_once_and_takes_its_id_by_the_copy(agreed: Desk) -> None:
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "Called back")
    _, report = approved(agreed)
    assert report.applied > 0
    assert len(posts(agreed)) == 1
    assert [row["enerflo_note_id"] for row in in_crm(agreed, install) if row["note_id"] == "N1"] == [None]
    (link,) = handed(agreed)
    assert (link["kind"], link["column"], link["key"]) == ("link", "enerflo_note_id", {"note_id": "N1"})
    for _ in range(2):
        assert set(causes(agreed, "notes")) == {"on_its_way"}
        run_poll(agreed.context)
        plan = agreed.plan()
        assert plan.change_count == 0
        assert not agreed.undecided(plan)
    assert len(posts(agreed)) == 1
    copied_as_said(agreed, "notes", "note_id")
    agreed.settled()
    assert [row["state"] for row in handed(agreed, every=True)] == ["arrived"]


def test_another_row_that_is_alike_does_not_take_the_record_whose_id_is_on_its_way(agreed: Desk) -> None:
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "Called back")
    approved(agreed)
    run_poll(agreed.context)
    note(agreed, "N0", install, "Called back")
    plan = agreed.plan()
    assert agreed.changes(plan, field="enerflo_note_id") == []
    assert plan.kept["the id of its record was handed over for another row"] >= 1
    copied_as_said(agreed, "notes", "note_id")
    # Two notes of the same text are two notes.
    changes = agreed.changes(agreed.plan(), key={"note_id": "N0"})
    assert {(one.op, one.direction) for one in changes} == {("insert", "to_enerflo")}


def test_a_note_that_is_edited_while_its_id_is_on_its_way_is_neither_sent_nor_made_again(
    agreed: Desk,
) -> None:
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "Called back")
    approved(agreed)
    (link,) = handed(agreed)
    # Nothing but the id says any more that the two are one.
    agreed.world.edit_note(link["after"], "Wants another inverter")
    run_poll(agreed.context)
    plan = agreed.plan()
    assert plan.change_count == 0
    assert not agreed.undecided(plan)
    assert {reason for reason in plan.kept if "id of its record" in reason}
    assert len(posts(agreed)) == 1


@pytest.mark.parametrize("corrected", [True, False])
def test_a_note_whose_id_the_crm_refuses_is_neither_sent_nor_made_again(
    agreed: Desk, corrected: bool
) -> None:
    """Its text was corrected in the CRM since, so the two are not the same by their words."""
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    note(agreed, "N1", install, "Called back")
    approved(agreed)
    (link,) = handed(agreed)
    with agreed.engine.begin() as connection:
        reason = "Salesforce refuses the record (FIELD_CUSTOM_VALIDATION_EXCEPTION)"
        end_unmade(connection, "default", "a run", [link["number"]], Decision.PARKED, reason)
    if corrected:
        agreed.sql("update crm.notes set body = 'Called back twice', updated_at = now() where note_id = 'N1'")
    run_poll(agreed.context)
    plan = agreed.plan()
    changes = agreed.changes(plan, table_name="notes")
    if corrected:
        assert changes == []
        assert {one.reason for one in agreed.undecided(plan) if one.table_name == "notes"} == {
            LINK_LOST,
            ROW_LOST_LINK.format("enerflo_note_id"),
        }
    else:
        # By its words the row is still the record's, and gets the id once more.
        assert [(one.op, one.field, one.after) for one in changes] == [
            ("update", "enerflo_note_id", link["after"])
        ]
    assert len(posts(agreed)) == 1


def test_a_note_of_enerflo_is_made_by_what_is_handed_over(agreed: Desk) -> None:
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    agreed.world.add_note(install, "Called back")
    run_poll(agreed.context)
    approved(agreed)
    assert set(causes(agreed, "notes")) == {"on_its_way"}
    copied_as_said(agreed, "notes", "note_id")
    assert [row["body"] for row in in_crm(agreed, install)].count("Called back") == 1
    agreed.settled()
    assert {row["state"] for row in handed(agreed, every=True)} == {"arrived"}


def test_a_lead_is_delivered_once_while_its_id_is_on_its_way(agreed: Desk) -> None:
    agreed.switched_on("both", LEADS, AT_ONCE)
    agreed.carried()
    assert not handed(agreed)
    sent = len(posts(agreed))
    agreed.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " updated_at) values ('L-new', 'Ada', 'Byron', 'ada@example.com', '+15125550111', '12 Main St', 'Austin',"
        " 'TX', '78701', 'qualified', now())"
    )
    approved(agreed)
    assert len(posts(agreed)) == sent + 1
    (link,) = handed(agreed)
    assert (link["kind"], link["column"]) == ("link", "enerflo_customer_id")
    for _ in range(2):
        run_poll(agreed.context)
        plan = agreed.plan()
        assert plan.change_count == 0
        assert not agreed.undecided(plan)
    copied_as_said(agreed, "leads", "lead_id")
    agreed.settled()
    assert agreed.crm("leads", lead_id="L-new")["enerflo_customer_id"] == link["after"]


def test_the_crm_itself_may_make_the_key_of_a_row_that_is_handed_over(agreed: Desk) -> None:
    agreed.switched_on(
        "both",
        NOTES,
        AT_ONCE,
        ('    on_insert: {note_id: "enerflo-{note_id}", author:', "    on_insert: {author:"),
    )
    agreed.carried()
    install = agreed.a_site().install_id
    agreed.world.add_note(install, "Called back")
    run_poll(agreed.context)
    approved(agreed)
    rows = handed(agreed)
    number = agreed.one("select note_id from enerflo.notes where body = 'Called back'")
    assert {json.dumps(row["key"]) for row in rows} == {json.dumps({"enerflo_note_id": number})}
    assert set(causes(agreed, "notes")) == {"on_its_way"}
    assert agreed.plan().change_count == 0
    values = {row["column"]: row["after"] for row in rows} | {"note_id": "a0X000001"}
    agreed.sql(
        "insert into crm.notes select (jsonb_populate_record(null::crm.notes, cast(:row as jsonb))).*",
        row=json.dumps(values | {"updated_at": "2026-01-01T00:00:00Z"}),
    )
    agreed.settled()
    assert {row["state"] for row in handed(agreed, every=True)} == {"arrived"}


def test_a_key_that_the_copy_spells_in_its_own_way_is_found_again(copied: Desk) -> None:
    copied.sql(
        "alter table crm.installs alter enerflo_install_id type text using lpad(enerflo_install_id::text, 10, '0')"
    )
    copied.switched_on(
        "both",
        HANDED,
        ALONE,
        AT_ONCE,
        (
            "    key: {enerflo_install_id: install_id}\n",
            "    key: {enerflo_install_id: {enerflo: install_id, type: integer}}\n",
        ),
    )
    copied.carried()
    assert not handed(copied)
    known = copied.a_site().install_id
    copied.world.resubmit_install(known, panel_count=40)
    new = copied.world.create_install()
    run_poll(copied.context)
    approved(copied)
    keys = {row["key"]["enerflo_install_id"] for row in handed(copied)}
    assert keys == {f"{known:010}", str(new)}
    assert causes(copied, "installs") == {"on_its_way": 2}
    assert not copied.changes(copied.plan(), table_name="installs")
    copied_as_said(copied, "installs", "enerflo_install_id")
    copied.sql("update crm.installs set enerflo_install_id = lpad(enerflo_install_id, 10, '0')")
    copied.settled()
    assert {row["state"] for row in handed(copied, every=True)} == {"arrived"}


def test_a_deletion_on_its_way_does_not_go_over_what_a_person_edits_meanwhile(copied: Desk) -> None:
    copied.switched_on("both", HANDED, DELETED_TOO, AT_ONCE)
    copied.carried()
    install = copied.a_site().install_id
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    approved(copied)
    assert [one["op"] for one in handed(copied)] == ["delete"]
    # The next copy brings what somebody wrote into the CRM's row since.
    copied.sql(
        "update crm.installs set customer_name = 'Call Jo before Friday', updated_at = now()"
        " where enerflo_install_id = :id",
        id=install,
    )
    plan = copied.plan()
    assert handed(copied) == []
    (change,) = copied.changes(plan, table_name="installs")
    assert (change.op, plan.needs_approval) == ("delete", True)
    (old,) = (one for one in handed(copied, every=True) if one["op"] == "delete")
    assert old["state"] == "superseded"
    assert old["reason"] == "the CRM's copy shows another row than was to be deleted"


def test_a_deletion_has_not_arrived_where_the_copy_is_loaded_anew(copied: Desk) -> None:
    copied.switched_on("both", HANDED, DELETED_TOO, AT_ONCE)
    copied.carried()
    install = copied.a_site().install_id
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    plan, _ = approved(copied)
    # The copy tool empties the table and loads it anew, and a plan is made meanwhile.
    copied.sql("create table kept as select * from crm.installs")
    copied.sql("delete from crm.installs")
    copied.plan()
    copied.sql("insert into crm.installs select * from kept")
    assert [(one["op"], one["state"]) for one in handed(copied)] == [("delete", "open")]
    assert [change.state for change in copied.changes(plan)] == ["handed_over"]
    assert copied.plan().change_count == 0
    # The next copy is whole, and lacks the row that the tool deleted.
    copied.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    copied.plan()
    assert [change.state for change in copied.changes(plan)] == ["applied"]


def test_a_deletion_has_not_arrived_where_its_row_went_to_another_branch(copied: Desk) -> None:
    where = (INSTALLS, f"{INSTALLS}    where: \"coalesce(branch, '') <> 'archive'\"\n")
    copied.sql("alter table crm.installs add branch text")
    copied.switched_on("both", HANDED, DELETED_TOO, where, AT_ONCE)
    copied.carried()
    install = copied.a_site().install_id
    copied.sql("update enerflo.installs set deleted_at = now() where install_id = :id", id=install)
    plan, _ = approved(copied)
    copied.sql("update crm.installs set branch = 'archive' where enerflo_install_id = :id", id=install)
    copied.plan()
    # Nor has it in a later plan, which looks for what a tool may have taken over before.
    for _ in range(2):
        copied.plan()
    (change,) = copied.changes(plan)
    assert change.state == "superseded"
    assert handed(copied) == []


def test_what_enerflo_says_while_the_id_of_a_lead_is_on_its_way_is_no_spelling_of_what_was_sent(
    agreed: Desk,
) -> None:
    agreed.switched_on("both", LEADS, AT_ONCE)
    agreed.carried()
    agreed.sql(
        "insert into crm.leads (lead_id, first_name, last_name, email, mobile, address, city, state, zip, status,"
        " updated_at) values ('L-new', 'Ada', 'Byron', 'ada@example.com', '+15125550111', '12 Main St', 'Austin',"
        " 'TX', '78701', 'qualified', now())"
    )
    approved(agreed)
    (link,) = handed(agreed)
    agreed.world.edit_customer(link["after"], {"city": "Waco"})
    run_poll(agreed.context)
    copied_as_said(agreed, "leads", "lead_id")
    changes = agreed.changes(agreed.plan(), key={"lead_id": "L-new"})
    # Nobody can tell whether the mobile, which Enerflo spells in its own way, was edited as well.
    assert {(one.field, one.direction) for one in changes} == {
        ("city", "to_enerflo"),
        ("mobile", "to_enerflo"),
    }
    agreed.carried()
    assert agreed.plan().change_count == 0


def test_two_notes_of_one_text_whose_answers_were_lost_get_an_id_each(agreed: Desk) -> None:
    agreed.switched_on("both", NOTES, AT_ONCE)
    agreed.carried()
    install = agreed.a_site().install_id
    for key in ("N1", "N2"):
        note(agreed, key, install, "Called back")
    path = f"/api/v3/installs/{install}/notes"
    agreed.api.faults = Faults(script=[ScriptedFault(FaultKind.ANSWER_LOST, path, 1, 2, "POST")])
    approved(agreed)
    agreed.api.faults = Faults()
    assert len(posts(agreed)) == 2
    ids = agreed.one("select array_agg(note_id) from enerflo.notes where body like 'Called back%'")
    assert {row["after"] for row in handed(agreed) if row["column"] == "enerflo_note_id"} == {*ids}
    copied_as_said(agreed, "notes", "note_id")
    agreed.settled()
