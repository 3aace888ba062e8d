"""A backup that holds an approved plan, of which all was made since: nothing of it is made a second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from enerflo_sync.jobs.ledger import run_ledger_check
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.sending import note, posts, spelling
from tests.writes.test_restored_warehouse import OWN, backup, restore, rounds, run_program, sides


@pytest.fixture(params=["plain", "html", "emoji"])
def approved(request: pytest.FixtureRequest, agreed: Desk) -> tuple[Desk, PlanReport, Path]:
    """A plan of notes and statuses that was approved, backed up, and applied; the vendor re-spells texts or not."""
    desk = agreed
    if request.param != "plain":
        spelling(desk, request.param)
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    live = [desk.world.installs.get(number) for number in desk.world.installs.live()]
    sites = [state for state in live if state.status_id == c.IN_PROGRESS]
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i",
        i=sites[0].install_id,
    )
    desk.sql("update crm.installs set panel_count = panel_count + 1, updated_at = now()")
    note(desk, "N1", sites[0].install_id, "Call first & <then> come  ")
    note(desk, "N2", sites[1].install_id, "Second note")
    run_poll(desk.context)
    plan = desk.plan()
    run_approve(desk.context, plan.plan_hash, by="Pat")
    path = backup(desk, "all.dump", *OWN, "--schema=crm")
    report = run_apply(desk.context, plan.plan_hash)
    assert report.waiting == 0, report
    assert report.applied > 3
    return desk, plan, path


@pytest.mark.parametrize("crm", ["too", "not"])
@pytest.mark.parametrize("first", ["apply", "poll", "plan"])
def test_a_plan_that_was_applied_after_the_backup_is_not_made_again(
    approved: tuple[Desk, PlanReport, Path], crm: str, first: str
) -> None:
    desk, plan, path = approved
    before, sent, notes = sides(desk), len(desk.world.received), len(posts(desk))
    kept = backup(desk, "crm.dump", "--schema=crm") if crm == "not" else None
    restore(desk, path)
    if kept:
        desk.sql("drop schema crm cascade")
        run_program(desk, "pg_restore", "--exit-on-error", str(kept))
        desk.engine.dispose()
    assert desk.one("select state from sync.plans where plan_hash = :h", h=plan.plan_hash) == "approved"
    if first == "poll":
        run_poll(desk.context)
    if first == "plan":
        run_poll(desk.context)
        desk.plan()
    if first == "plan":
        with pytest.raises(ConfigurationError, match="a later plan took its place"):
            run_apply(desk.context, plan.plan_hash)
    else:
        assert run_apply(desk.context, plan.plan_hash).state == "applied"
    assert len(posts(desk)) == notes, "a note was sent a second time"
    assert len(desk.world.received) == sent, desk.world.received[sent:]
    rounds(desk)
    desk.settled()
    assert len(posts(desk)) == notes
    assert len(desk.world.received) == sent, desk.world.received[sent:]
    if crm == "not":
        assert sides(desk) == before
    assert run_ledger_check(desk.context).intact
