"""A plan made from a backfill says so, and waits for a person from a size that can be set."""

from __future__ import annotations

import pytest

from enerflo_sync.backfill.request import whole_request
from enerflo_sync.jobs.backfill import open_backfills
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.render.shown_plan import headline
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

CHANGED = 6


def changed_at_enerflo(desk: Desk, by: str) -> PlanReport:
    """Some installs get another status, which comes into the mirror by a poll or by a backfill."""
    for row in list(desk.world.truth.installs())[:CHANGED]:
        desk.world.set_status(row.install_id, 6 if row.status_id != 6 else 4)
    if by == "poll":
        run_poll(desk.context)
    else:
        open_backfills(desk.context, workers=2).backfill(whole_request())
    return desk.plan()


@pytest.mark.parametrize(("allowed", "waits"), [(CHANGED, False), (CHANGED - 1, True)])
def test_it_waits_from_the_size_that_is_set(agreed: Desk, allowed: int, waits: bool) -> None:
    agreed.switched_on(
        "both", ("backfill_changes: 100", f"backfill_changes: {allowed}"), ("percent: 10", "percent: 100")
    )
    plan = changed_at_enerflo(agreed, "backfill")
    assert plan.from_backfills == CHANGED == plan.change_count
    assert f"{CHANGED} come from a backfill" in headline(plan)
    assert plan.waits_for_approval is waits
    assert any("approval.backfill_changes" in reason for reason in plan.reasons) is waits


def test_what_a_poll_brought_in_does_not_come_from_a_backfill(agreed: Desk) -> None:
    agreed.switched_on(
        "both", ("backfill_changes: 100", "backfill_changes: 0"), ("percent: 10", "percent: 100")
    )
    plan = changed_at_enerflo(agreed, "poll")
    assert (plan.change_count, plan.from_backfills, plan.needs_approval) == (CHANGED, 0, False)
    assert "backfill" not in headline(plan)
