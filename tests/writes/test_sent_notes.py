"""A note whose request went out unseen, and that is not looked for any more: its copy at Enerflo is asked about."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject, run_reopen
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.reopen import WhichRefusals
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, lost_after_the_post, note, posts, spelling

ASKED = "it may be the CRM's own note"


@pytest.fixture
def sent(agreed: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An account of which a note reached Enerflo, in a process that was lost before it could say so."""
    # One of the very same text would be adopted.
    spelling(agreed, "html")
    note(agreed, "N1", agreed.a_site().install_id, "Call first & last")
    lost_after_the_post(agreed, monkeypatch)
    run_poll(agreed.context)
    return agreed


def refuse(desk: Desk) -> None:
    """Reject the plan that takes the place of the approved one: something else has changed, too."""
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=desk.a_site().install_id,
    )
    (plan,) = (one for one in run_plan(desk.context) if desk.changes(one, table_name="notes"))
    assert {change.key["note_id"] for change in desk.changes(plan, table_name="notes")} == {"N1"}
    run_reject(desk.context, plan.plan_hash, by="Sam Hill", reason="not this one")


def questions(desk: Desk) -> list[Any]:
    return [one for one in desk.undecided(desk.plan()) if one.reason.startswith(ASKED)]


def copy_of(desk: Desk) -> int:
    return next(row.note_id for row in desk.world.truth.notes() if row.body.startswith("Call first"))


def test_while_the_next_push_will_look_for_it_nobody_is_asked(sent: Desk) -> None:
    assert questions(sent) == []


def test_a_refused_note_that_may_stand_at_enerflo_is_a_question_and_no_new_row(sent: Desk) -> None:
    before = in_crm(sent, sent.a_site().install_id)
    refuse(sent)
    for _ in range(2):
        (asked,) = questions(sent)
        assert (asked.table_name, asked.field) == ("notes", None)
        assert asked.enerflo_value == {"note_id": copy_of(sent)}
        assert asked.crm_value is None
        assert "refused" in asked.reason
        sent.carried()
    assert in_crm(sent, sent.a_site().install_id) == before
    assert len(posts(sent)) == 1


def test_the_id_in_the_crms_row_settles_it(sent: Desk) -> None:
    refuse(sent)
    sent.sql(
        "update crm.notes set enerflo_note_id = :n, updated_at = now() where note_id = 'N1'", n=copy_of(sent)
    )
    assert questions(sent) == []
    sent.carried()
    assert (
        len([row for row in in_crm(sent, sent.a_site().install_id) if row["body"].startswith("Call first")])
        == 1
    )


def test_one_that_is_opened_again_is_found_there(sent: Desk) -> None:
    refuse(sent)
    assert len(questions(sent)) == 1
    run_reopen(sent.context, WhichRefusals(table="notes"), by="Sam Hill")
    assert questions(sent) == []
    sent.carried()
    assert sent.crm("notes", note_id="N1")["enerflo_note_id"] == copy_of(sent)
    assert len(posts(sent)) == 1


def test_one_whose_row_is_gone_is_a_note_of_enerflo(sent: Desk) -> None:
    refuse(sent)
    sent.sql("delete from crm.notes where note_id = 'N1'")
    assert questions(sent) == []
    sent.carried()
    (row,) = [row for row in in_crm(sent, sent.a_site().install_id) if row["body"].startswith("Call first")]
    assert row["enerflo_note_id"] == copy_of(sent)


def test_where_notes_are_not_written_to_enerflo_any_more_it_is_asked_about(sent: Desk) -> None:
    sent.switched_on("crm")
    (asked,) = questions(sent)
    assert "not switched on" in asked.reason


def test_one_whose_key_column_was_renamed_since_ends_no_plan_and_becomes_no_second_row(sent: Desk) -> None:
    install_id = sent.a_site().install_id
    before = len(in_crm(sent, install_id))
    sent.sql("delete from crm.notes where note_id = 'N1'")
    sent.sql("alter table crm.notes rename column note_id to note_no")
    sent.switched_on(
        "both", ("key: [note_id]", "key: [note_no]"), ("on_insert: {note_id:", "on_insert: {note_no:")
    )
    (asked,) = questions(sent)
    assert asked.table_name == "notes"
    run_apply(sent.context, sent.plan().plan_hash, approved_by="Pat")
    query = "select count(*) from crm.notes where enerflo_install_id = :i"
    assert sent.one(query, i=install_id) == before - 1


@pytest.mark.parametrize("polled", [True, False])
@pytest.mark.parametrize(
    "statement", ["rename column note_id to note_no", "alter column note_id type varchar(40)"]
)
def test_one_whose_key_column_changed_since_is_not_sent_a_second_time(
    sent: Desk, statement: str, polled: bool
) -> None:
    posted = len(posts(sent))
    sent.sql(f"alter table crm.notes {statement}")
    if "rename" in statement:
        sent.switched_on(
            "both", ("key: [note_id]", "key: [note_no]"), ("on_insert: {note_id:", "on_insert: {note_no:")
        )
    if polled:
        run_poll(sent.context)
    sent.carried()
    assert len(posts(sent)) == posted
