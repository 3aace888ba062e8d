"""Parked changes: tried again when ``writes`` is corrected or a person says so, and shown on the right sides."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.retry import run_retry
from enerflo_sync.plan.retry import RetrySelection
from tests.writes.conftest import Desk

NOT_IN_FLIGHT = ("in_flight_minutes: 30", "in_flight_minutes: 0")
WRONG_STATUS = ("  status: {status: status_id}", "  status: {status: state_of_it}")
WRONG_NOTE = ("note: {body: note,", "note: {body: words,")


def agreeing(desk: Desk, *edits: tuple[str, str]) -> int:
    """Make both sides agree, use the shipped configuration with ``edits``, and return an install."""
    desk.switched_on("both", NOT_IN_FLIGHT)
    run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    desk.switched_on("both", NOT_IN_FLIGHT, *edits)
    return int(
        desk.one(
            "select min(enerflo_install_id) from crm.installs where status not in ('On Hold', 'Voided', 'Completed')"
        )
    )


def held_status(desk: Desk, install: int) -> None:
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :id",
        id=install,
    )


def apply(desk: Desk) -> Any:
    return run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")


def test_what_enerflo_did_not_keep_is_tried_again_once_writes_is_corrected(desk: Desk) -> None:
    install = agreeing(desk, WRONG_STATUS)
    held_status(desk, install)
    report = apply(desk)
    assert (report.applied, report.parked) == (0, 1), report
    assert desk.plan().change_count == 0
    # Another section of writes is not what this request is made of.
    desk.switched_on("both", NOT_IN_FLIGHT, WRONG_STATUS, WRONG_NOTE)
    assert desk.plan().change_count == 0
    desk.switched_on("both", NOT_IN_FLIGHT)
    assert apply(desk).applied == 1
    row = desk.world.truth.install(install)
    assert row is not None
    assert row.status_name == "On Hold"


def test_what_the_crm_refused_is_not_tried_again_for_another_writes(desk: Desk) -> None:
    install = agreeing(desk)
    desk.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    desk.sql("update crm.installs set panel_count = 99 where enerflo_install_id = :id", id=install)
    desk.sql("update crm.installs set updated_at = now() where enerflo_install_id = :id", id=install)
    assert apply(desk).parked == 1
    desk.switched_on("both", NOT_IN_FLIGHT, WRONG_STATUS, WRONG_NOTE)
    assert desk.plan().change_count == 0


def test_a_parked_value_stands_on_its_own_side(desk: Desk) -> None:
    install = agreeing(desk)
    truth = desk.one("select panel_count from enerflo.installs where install_id = :id", id=install)
    desk.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    desk.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = :id",
        id=install,
    )
    assert apply(desk).parked == 1
    (question,) = desk.undecided(desk.plan())
    assert (question.enerflo_value, question.crm_value) == (truth, 99)


def test_a_parked_creation_is_one_question_on_the_side_that_has_the_record(desk: Desk) -> None:
    install = agreeing(desk, WRONG_NOTE)
    desk.sql("alter table crm.notes add constraint short check (length(body) < 12) not valid")
    note = desk.world.add_note(install, "Of Enerflo, and too long for the CRM.")
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('n-1', :id, 'Ann', 'Of the CRM.', now())",
        id=install,
    )
    run_poll(desk.context)
    report = apply(desk)
    assert (report.applied, report.waiting) == (0, 0), report
    questions = {str(one.key["note_id"]): one for one in desk.undecided(desk.plan())}
    theirs, ours = questions.pop(f"enerflo-{note}"), questions.pop("n-1")
    assert not questions
    assert (theirs.field, theirs.crm_value) == (None, None)
    assert theirs.enerflo_value["body"] == "Of Enerflo, and too long for the CRM."
    assert (ours.field, ours.enerflo_value) == (None, None)
    assert ours.crm_value["body"] == "Of the CRM."


@pytest.mark.parametrize("by", ["record", "field", "plan", "reason", "all"])
def test_a_person_has_it_tried_again_at_once(desk: Desk, by: str) -> None:
    install = agreeing(desk)
    other = int(desk.one("select max(enerflo_install_id) from crm.installs"))
    desk.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    desk.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id in (:a, :b)",
        a=install,
        b=other,
    )
    report = apply(desk)
    assert report.parked == 2
    desk.sql("alter table crm.installs drop constraint few")
    listed = run_retry(desk.context, RetrySelection(), by="Ann")
    assert (len(listed.changes), listed.retried) == (2, False)
    assert desk.plan().change_count == 0
    selection = {
        "record": RetrySelection("install", str(install)),
        "field": RetrySelection("install", f"enerflo:{install}", "panel_count"),
        "plan": RetrySelection(plan_hash=report.plan_hash[:12]),
        "reason": RetrySelection(reason="checkviolation (FEW)"),
        "all": RetrySelection(everything=True),
    }[by]
    retried = run_retry(desk.context, selection, by="Ann")
    wanted = 1 if by in {"record", "field"} else 2
    assert (len(retried.changes), retried.retried) == (wanted, True)
    assert desk.plan().change_count == wanted
    assert apply(desk).applied == wanted
    rows = desk.sql("select requested_by from sync.retries")
    assert [row["requested_by"] for row in rows] == ["Ann"] * wanted


def test_what_is_parked_again_is_held_again(desk: Desk) -> None:
    install = agreeing(desk)
    desk.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    desk.sql(
        "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = :id",
        id=install,
    )
    assert apply(desk).parked == 1
    run_retry(desk.context, RetrySelection(everything=True), by="Ann")
    assert apply(desk).parked == 1
    assert desk.plan().change_count == 0
    assert len(run_retry(desk.context, RetrySelection(), by="Ann").changes) == 1


def test_what_was_made_since_it_was_parked_is_made_again_at_once(desk: Desk) -> None:
    install = agreeing(desk)
    truth = desk.crm("installs", enerflo_install_id=install)["panel_count"]

    def set_to(panels: int) -> None:
        desk.sql(
            "update crm.installs set panel_count = :n, updated_at = now() where enerflo_install_id = :id",
            n=panels,
            id=install,
        )

    desk.sql("alter table crm.installs add constraint few check (panel_count > 90) not valid")
    set_to(99)
    assert apply(desk).parked == 1
    desk.sql("alter table crm.installs drop constraint few")
    set_to(98)
    assert apply(desk).applied == 1
    set_to(99)
    assert apply(desk).applied == 1
    assert desk.crm("installs", enerflo_install_id=install)["panel_count"] == truth


def test_one_field_of_a_new_record_is_never_tried_without_the_others(desk: Desk) -> None:
    install = agreeing(desk)
    desk.sql("alter table crm.notes add constraint short check (length(body) < 12) not valid")
    note = desk.world.add_note(install, "Of Enerflo, and too long for the CRM.")
    run_poll(desk.context)
    assert apply(desk).parked > 1
    desk.sql("alter table crm.notes drop constraint short")
    chosen = run_retry(desk.context, RetrySelection("note", f"enerflo-{note}", "body"), by="Ann")
    assert len(chosen.changes) > 1
    # A note's text is personal data, and its row's key is none.
    assert "too long" not in str(chosen)
    assert apply(desk).parked == 0
    assert desk.crm("notes", enerflo_note_id=note)["body"] == "Of Enerflo, and too long for the CRM."


def test_a_choice_that_fits_nothing_is_said(desk: Desk) -> None:
    desk.switched_on("both")
    for selection in (RetrySelection(reason="no such words"), RetrySelection(plan_hash="0123456789")):
        with pytest.raises(ConfigurationError, match="no parked change fits"):
            run_retry(desk.context, selection, by="Ann")
    with pytest.raises(ConfigurationError, match="its table and its key"):
        run_retry(desk.context, RetrySelection("install"), by="Ann")
    assert run_retry(desk.context, RetrySelection(everything=True), by="Ann").changes == []
