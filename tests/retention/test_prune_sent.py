"""Requests that went out long ago, and notes that no row of the CRM names: a prune lets none be made twice."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.retention.conftest import pruned_at_desk
from tests.writes.conftest import Desk
from tests.writes.sending import in_crm, lost_after_the_post, note, posts, spelling
from tests.writes.test_restored_notes import MARKED, goes_after_the_post

REFUSES = """
create function crm.guard() returns trigger language plpgsql as
$g$begin if new.enerflo_note_id is not null then raise exception 'no'; end if; return new; end$g$;
create trigger guard before update on crm.notes for each row when (old.note_id = 'N1')
execute function crm.guard()
"""
WAITS = ("  changes: 500", "  changes: 1")


def years_pass(desk: Desk, *edits: tuple[str, str]) -> None:
    """Later plans are made, wait and are applied, and then all that nothing needs is deleted."""
    desk.switched_on("both", WAITS, *edits)
    for panels in (43, 44):
        desk.world.resubmit_install(desk.a_site().install_id, panel_count=panels)
        run_poll(desk.context)
        plan = desk.plan()
        assert plan.needs_approval
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    desk.sql("update sync.ledger set recorded_at = recorded_at - interval '2 days'")
    pruned_at_desk(desk)


def rounds(desk: Desk) -> None:
    for _ in range(2):
        run_poll(desk.context)
        desk.carried()


def rows(desk: Desk) -> int:
    return len(in_crm(desk, desk.a_site().install_id))


def test_a_note_whose_id_the_crm_does_not_take_becomes_no_second_row(agreed: Desk) -> None:
    desk = agreed
    for statement in REFUSES.split(";\n"):
        desk.sql(statement)
    note(desk, "N1", desk.a_site().install_id, "Call first")
    before = rows(desk)
    assert run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat").parked == 3
    years_pass(desk)
    rounds(desk)
    assert (rows(desk), len(posts(desk))) == (before, 1)


@pytest.mark.parametrize("back", ["after the prune", "never"])
def test_a_note_whose_row_was_away_when_it_was_sent_is_not_sent_again(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, back: str
) -> None:
    desk = agreed
    desk.sql("alter table crm.notes add is_deleted boolean not null default false")
    marks = ("    create_only: true\n", MARKED)
    desk.switched_on("both", marks)
    # One of the very same text would be adopted.
    spelling(desk, "html")
    note(desk, "N1", desk.a_site().install_id, "Call first & last")
    before = rows(desk)
    goes_after_the_post(desk, monkeypatch, "update crm.notes set is_deleted = true where note_id = 'N1'")
    run_poll(desk.context)
    years_pass(desk, marks)
    if back != "never":
        desk.sql("update crm.notes set is_deleted = false where note_id = 'N1'")
    rounds(desk)
    assert (rows(desk), len(posts(desk))) == (before, 1)


def test_a_note_that_cannot_be_told_from_others_is_not_sent_again(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, install = agreed, agreed.a_site().install_id
    spelling(desk, "cut=10")
    note(desk, "N1", install, "Call first about the roof")
    lost_after_the_post(desk, monkeypatch)
    desk.world.add_note(install, "Call")
    run_poll(desk.context)
    assert run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat").parked == 3
    years_pass(desk)
    for _ in range(2):
        run_poll(desk.context)
        run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")
    assert len(posts(desk)) == 1
