"""A time of ours without a zone that arrives after ``time_zone`` changed is our own word, and no edit by a person."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_changes import approved, handed

AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
TABLE = "    crm_table: crm.milestones\n"
HANDED = (TABLE, f"{TABLE}    write_to: changes\n")
DUE = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"


def in_zone(desk: Desk, zone: str, truth: str = "newest") -> None:
    due = DUE.replace("newest", f"{truth}, time_zone: {zone}")
    desk.switched_on("both", HANDED, (DUE, due), AT_ONCE)


@pytest.mark.parametrize("truth", ["newest", "crm", "enerflo"])
@pytest.mark.parametrize("after_plan", [False, True])
def test_a_time_that_arrives_after_its_zone_changed_is_not_sent_by_its_new_meaning(
    agreed: Desk, truth: str, after_plan: bool
) -> None:
    agreed.sql("alter table crm.milestones alter due_at type timestamp using due_at at time zone 'UTC'")
    in_zone(agreed, "UTC", truth if truth != "crm" else "enerflo")
    agreed.carried()
    install = agreed.a_site().install_id
    milestone = agreed.one(
        "select min(milestone_id) from enerflo.milestones where install_id = :i and deleted_at is null",
        i=install,
    )
    due = datetime(2027, 3, 1, 12, tzinfo=UTC)
    agreed.world.set_milestone(install, milestone, {"due": due})
    run_poll(agreed.context)
    approved(agreed)
    (waiting,) = handed(agreed)
    assert waiting["column"] == "due_at"
    agreed.sql("update sync.crm_changes set acknowledged_at = now()")
    in_zone(agreed, "America/Denver", truth)
    if after_plan:
        agreed.plan()
    agreed.sql(
        "update crm.milestones set due_at = '2027-03-01 12:00', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        i=install,
        m=milestone,
    )
    plan = agreed.plan()
    key = {"enerflo_install_id": install, "milestone_id": milestone}
    changes = agreed.changes(plan, key=key)
    asked = [one.reason for one in agreed.undecided(plan) if one.key == key]
    assert [one for one in changes if one.direction == "to_enerflo"] == []
    if truth == "crm":
        assert len(asked) == 1
    else:
        assert [(one.direction, one.field) for one in changes] == [("to_crm", "due_at")]
    # Nor by what it means in a third zone.
    in_zone(agreed, "Europe/Berlin", truth)
    agreed.plan()
    assert agreed.changes(agreed.plan(), key=key, direction="to_enerflo") == []
