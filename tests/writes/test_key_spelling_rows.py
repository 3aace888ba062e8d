"""Rows whose keys the CRM spells in several ways: each is found, written under its own key, and made once."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.completion import LAST_MILESTONE
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_completion import finished

OPTIONS = "type: integer, trim: true}"
EDITS = (
    (
        "    key: {enerflo_install_id: install_id}",
        f"    key: {{enerflo_install_id: {{enerflo: install_id, {OPTIONS}}}",
    ),
    ("{enerflo_note_id: note_id}", f"{{enerflo_note_id: {{enerflo: note_id, {OPTIONS}}}"),
    ("{enerflo_customer_id: customer_id}", f"{{enerflo_customer_id: {{enerflo: customer_id, {OPTIONS}}}"),
    ("in_flight_minutes: 30", "in_flight_minutes: 0"),
)


def untidy(desk: Desk) -> None:
    """Let the CRM name installs, notes and customers by texts, of which no two of a kind are spelled alike."""
    for table, column in (
        ("installs", "enerflo_install_id"),
        ("notes", "enerflo_note_id"),
        ("leads", "enerflo_customer_id"),
    ):
        desk.sql(
            f"alter table crm.{table} alter {column} type text using case {column} % 3"
            f" when 0 then '000' || {column} when 1 then ' ' || {column} || '.0 ' else {column}::text end"
        )
    desk.switched_on("both", *EDITS)


@pytest.fixture
def spelled(desk: Desk) -> Desk:
    """An account that writes both ways, whose sides agree, and whose CRM's keys are untidy texts."""
    brought(desk, _spelled)
    return desk


def _spelled(desk: Desk) -> None:
    untidy(desk)
    desk.carried()
    desk.settled()


def key_of(desk: Desk, install: int) -> str:
    return str(
        desk.one(
            "select enerflo_install_id from crm.installs where trim(enerflo_install_id)::numeric = :id",
            id=install,
        )
    )


def untidy_site(desk: Desk) -> tuple[int, str]:
    """Return an install in progress whose key the CRM does not spell as Enerflo does."""
    rows = desk.sql(
        "select install_id, c.enerflo_install_id as key from enerflo.installs i join crm.installs c"
        " on trim(c.enerflo_install_id)::numeric = i.install_id and c.enerflo_install_id <> install_id::text"
        " where i.status_name = 'In progress' and c.status = i.status_name order by 1 limit 1"
    )
    return rows[0]["install_id"], rows[0]["key"]


def test_no_row_that_is_there_is_made_again(desk: Desk) -> None:
    before = desk.one("select count(*) from crm.installs")
    notes = desk.one("select count(*) from crm.notes")
    untidy(desk)
    plan = desk.plan()
    assert {one.table_name for one in desk.changes(plan, op="insert")} <= {"leads"}
    desk.carried()
    desk.settled()
    assert (desk.one("select count(*) from crm.installs"), desk.one("select count(*) from crm.notes")) == (
        before,
        notes,
    )


def test_a_row_is_written_read_and_undone_under_the_key_that_it_has(spelled: Desk) -> None:
    install, key = untidy_site(spelled)
    spelled.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :key", key=key)
    plan = spelled.plan()
    assert [(one.key, one.field) for one in spelled.changes(plan)] == [
        ({"enerflo_install_id": key}, "panel_count")
    ]
    report = run_apply(spelled.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (1, 0)
    spelled.settled()
    undo = run_undo(spelled.context, plan.plan_hash)
    assert run_apply(spelled.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert spelled.crm("installs", enerflo_install_id=key)["panel_count"] == 1
    for name in (key, str(install), f"enerflo:{install}"):
        found = run_explain(spelled.context, "install", name, field="panel_count")
        assert (found.crm_rows, len(found.fields[0].steps)) == (1, 2)


def test_an_edit_of_the_crm_reaches_enerflo_and_comes_back_as_no_change(spelled: Desk) -> None:
    install, key = untidy_site(spelled)
    spelled.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :key",
        key=key,
    )
    assert spelled.carried().applied == 1
    assert spelled.world.truth.install(install).status_name == "On Hold"  # type: ignore[union-attr]
    spelled.settled()


def test_the_last_milestone_completes_the_install_under_the_key_that_its_row_has(spelled: Desk) -> None:
    install, key = untidy_site(spelled)
    plan = finished(spelled, install)
    assert [one.key for one in spelled.changes(plan, rule=LAST_MILESTONE)] == [{"enerflo_install_id": key}]
    spelled.carried()
    run_poll(spelled.context)
    spelled.carried()
    assert spelled.crm("installs", enerflo_install_id=key)["status"] == "Completed"
    spelled.settled()


def test_a_row_that_was_deleted_is_a_question_and_made_by_nobody(spelled: Desk) -> None:
    _, key = untidy_site(spelled)
    spelled.sql("delete from crm.installs where enerflo_install_id = :key", key=key)
    plan = spelled.plan()
    assert spelled.changes(plan) == []
    (asked,) = spelled.undecided(plan)
    assert (asked.cause, asked.reason) == ("deleted_in_crm", "it was deleted from the CRM since both agreed")


def test_a_new_record_gets_a_row_with_the_plain_key_once(spelled: Desk) -> None:
    install = spelled.world.create_install()
    run_poll(spelled.context)
    spelled.carried()
    assert key_of(spelled, install) == str(install)
    spelled.settled()


def test_a_row_that_spells_the_key_otherwise_after_the_plan_keeps_a_second_one_out(spelled: Desk) -> None:
    install = spelled.world.create_install()
    run_poll(spelled.context)
    plan = spelled.plan()
    spelled.sql(
        "insert into crm.installs (enerflo_install_id, updated_at) values (:key, now())", key=f"00{install}"
    )
    run_apply(spelled.context, plan.plan_hash, approved_by="Pat")
    assert {row["decision"] for row in spelled.ledger(table_name="installs", op="insert")} == {"moved"}
    assert key_of(spelled, install) == f"00{install}"


def test_a_row_that_is_spelled_otherwise_by_now_is_not_taken_for_an_edit(spelled: Desk) -> None:
    install, key = untidy_site(spelled)
    spelled.sql(
        "update crm.installs set enerflo_install_id = :new, updated_at = now() where enerflo_install_id = :key",
        key=key,
        new=f"0000000{install}",
    )
    plan = spelled.plan()
    assert (spelled.changes(plan), spelled.undecided(plan)) == ([], [])


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_a_row_without_a_key_is_sent_once_and_takes_the_plain_id(spelled: Desk, nothing: str | None) -> None:
    install, _ = untidy_site(spelled)
    spelled.sql(
        "insert into crm.notes (note_id, enerflo_note_id, enerflo_install_id, body, author, updated_at)"
        " values ('new', :link, :id, 'Call first', 'Ann', now())",
        id=install,
        link=nothing,
    )
    spelled.carried()
    spelled.settled()
    link = spelled.crm("notes", note_id="new")["enerflo_note_id"]
    note = spelled.one("select max(note_id) from enerflo.notes where install_id = :id", id=install)
    assert link == str(note)


def test_a_row_whose_key_cannot_be_read_is_a_question_and_sent_to_nobody(spelled: Desk) -> None:
    install, _ = untidy_site(spelled)
    spelled.sql(
        "insert into crm.notes (note_id, enerflo_note_id, enerflo_install_id, body, author, updated_at)"
        " values ('new', 'n/a', :id, 'Call first', 'Ann', now())",
        id=install,
    )
    plan = spelled.plan()
    assert spelled.changes(plan) == []
    (asked,) = spelled.undecided(plan)
    assert asked.reason == "enerflo_note_id holds no key as it is declared"


def test_a_row_with_an_empty_link_adopts_its_record(spelled: Desk) -> None:
    install, _ = untidy_site(spelled)
    note = spelled.world.add_note(install, "Call first")
    spelled.sql(
        "insert into crm.notes (note_id, enerflo_note_id, enerflo_install_id, body, updated_at)"
        " values ('mine', '', :id, 'Call first', now())",
        id=install,
    )
    run_poll(spelled.context)
    spelled.carried()
    spelled.settled()
    rows = spelled.sql("select note_id from crm.notes where enerflo_note_id = :note", note=str(note))
    assert [row["note_id"] for row in rows] == ["mine"]


def test_pairs_of_plain_keys_stay_when_the_key_gets_options(desk: Desk) -> None:
    desk.sql("alter table crm.installs alter enerflo_install_id type text")
    desk.switched_on("both")
    desk.carried()
    desk.settled()
    desk.switched_on("both", EDITS[0])
    desk.carried()
    install = desk.a_site().install_id
    desk.sql("delete from crm.installs where enerflo_install_id = :id", id=str(install))
    plan = desk.plan()
    assert desk.changes(plan) == []
    assert [one.cause for one in desk.undecided(plan)] == ["deleted_in_crm"]
