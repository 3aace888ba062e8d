"""Wide columns whose changes are handed over to a tool (``write_to: changes``)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_tables_of_one_kind import END, QUICK, two_sites
from tests.writes.test_wide_milestones import DAY, PERMITTING, TABLE, edited, of_enerflo, wide

__all__ = ["wide"]


@pytest.mark.parametrize("rule", ["newest", "crm"])
def test_a_day_of_ours_that_arrives_after_its_zone_changed_is_not_sent_to_enerflo(
    wide: Desk, rule: str
) -> None:
    site = two_sites(wide)[0]
    handed = TABLE.replace("layout: wide\n", "layout: wide\n    write_to: changes\n")
    wide.switched_on("both", QUICK, (END, END + handed))
    # The second of March in Denver, and the third in Auckland.
    evening = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    wide.world.set_milestone(site, PERMITTING, {"completed": evening})
    run_poll(wide.context)
    run_apply(wide.context, wide.plan().plan_hash, approved_by="Pat")
    wide.sql("update sync.crm_changes set acknowledged_at = now()")
    moved = handed.replace(
        "America/Denver, source_of_truth: newest", f"Pacific/Auckland, source_of_truth: {rule}"
    )
    wide.switched_on("both", QUICK, (END, END + moved))
    edited(wide, site, "Permit_Date__c", DAY)
    plans = [wide.changes(plan) for plan in run_plan(wide.context)]
    of_it = [
        (one.direction, one.field)
        for changes in plans
        for one in changes
        if one.key == {"Install_Id__c": site}
    ]
    assert ("to_enerflo", "Permit_Date__c") not in of_it
    assert of_enerflo(wide, site, PERMITTING) == evening
    # A person's own edit of the CRM is sent by what it stands for now.
    edited(wide, site, "Permit_Date__c", date(2026, 3, 9))
    changes = [one for plan in run_plan(wide.context) for one in wide.changes(plan)]
    assert ("to_enerflo", site) in {
        (one.direction, one.key["Install_Id__c"]) for one in changes if one.field == "Permit_Date__c"
    }
