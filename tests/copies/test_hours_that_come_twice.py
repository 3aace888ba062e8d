"""A time of a CRM elsewhere whose column has no zone: what we wrote in an hour that comes twice has arrived."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.copies.conftest import CRM, Elsewhere, MariaDB
from tests.copies.test_elsewhere import differing
from tests.writes.conftest import Desk
from tests.writes.test_changes import AT_ONCE

DUE = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"


def without_zone(away: Desk, elsewhere: Elsewhere, truth: str) -> None:
    """Let the CRM keep due dates as times of Denver, with both sides agreed."""
    alter = "modify due_at" if isinstance(elsewhere, MariaDB) else "alter due_at type"
    elsewhere.sql(f"alter table crm.milestones {alter} {elsewhere.types['timestamp']}")
    for policy in ("enerflo", truth):
        due = DUE.replace("newest", f"{policy}, time_zone: America/Denver")
        away.switched_on("both", CRM, AT_ONCE, (DUE, due))
        away.carried()


@pytest.mark.parametrize("elsewhere", ["mariadb", "duckdb"], indirect=True)
@pytest.mark.parametrize("truth", ["enerflo", "newest", "review"])
def test_a_time_of_an_hour_that_comes_twice_has_arrived_and_is_no_edit(
    away: Desk, elsewhere: Elsewhere, truth: str
) -> None:
    without_zone(away, elsewhere, truth)
    install = away.a_site().install_id
    key = away.sql(
        "select milestone_id from enerflo.milestones where install_id = :i and deleted_at is null order by 1",
        i=install,
    )
    # Half past one of the first of November, in summer time and an hour later.
    for row, hour in zip(key, (7, 8), strict=False):
        away.world.set_milestone(
            install, row["milestone_id"], {"due": datetime(2026, 11, 1, hour, 30, tzinfo=UTC)}
        )
    run_poll(away.context)
    plan = away.plan()
    assert plan.change_count == 2
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (2, 0)
    for _ in range(2):
        plan = away.plan()
        assert (away.changes(plan), away.undecided(plan)) == ([], [])
    assert differing(run_reconcile(away.context)).get("milestones", {}).keys() <= {
        "equal_after_normalisation"
    }
