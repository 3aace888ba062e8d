"""After an apply: what was written and stands there no longer is told, also where its row is gone."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply, run_verify
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.sending import note


def differing(desk: Desk, plan_hash: str) -> tuple[int, int]:
    found = run_verify(desk.context, plan_hash, run_reconcile(desk.context))
    return found.applied, found.differing


def called_back(desk: Desk, made_by: str) -> None:
    """Let one side make a note that the other one lacks."""
    install = desk.a_site().install_id
    if made_by == "enerflo":
        desk.world.add_note(install, "Called back")
        run_poll(desk.context)
    else:
        note(desk, "N1", install, "Called back")


@pytest.mark.parametrize("made_by", ["enerflo", "crm"])
def test_a_written_row_of_a_key_of_its_own_that_is_gone_is_not_called_verified(
    agreed: Desk, made_by: str
) -> None:
    called_back(agreed, made_by)
    plan = agreed.plan()
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert report.applied == plan.change_count > 1
    assert differing(agreed, plan.plan_hash) == (report.applied, 0)
    agreed.sql("delete from crm.notes where body = 'Called back'")
    assert differing(agreed, plan.plan_hash) == (report.applied, report.applied)


@pytest.mark.parametrize("what", ["note", "install"])
def test_a_row_that_an_undo_took_away_is_as_the_undo_meant_it(agreed: Desk, what: str) -> None:
    if what == "note":
        agreed.world.add_note(agreed.a_site().install_id, "Called back")
    else:
        agreed.world.create_install()
    run_poll(agreed.context)
    report = run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    undo = run_undo(agreed.context, report.plan_hash)
    done = run_apply(agreed.context, undo.plan_hash, approved_by="Pat")
    assert done.applied == undo.change_count > 0
    assert differing(agreed, undo.plan_hash) == (done.applied, 0)


@pytest.mark.parametrize("made_by", ["enerflo", "crm"])
def test_a_column_that_only_a_new_row_gets_is_not_called_verified(agreed: Desk, made_by: str) -> None:
    called_back(agreed, made_by)
    plan = agreed.plan()
    aside = [one for one in agreed.changes(plan) if one.policy in {"on_insert", "sent_along"}]
    assert len(aside) == {"enerflo": 2, "crm": 1}[made_by]
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    found = run_verify(agreed.context, plan.plan_hash, run_reconcile(agreed.context))
    assert (found.applied, found.differing, found.not_compared) == (plan.change_count, 0, len(aside))
