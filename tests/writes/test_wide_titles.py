"""Titles that go to other milestones at Enerflo, and what a person refused of a wide column that names them."""

from __future__ import annotations

from typing import Any

from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk
from tests.writes.test_tables_of_one_kind import two_sites
from tests.writes.test_wide_milestones import (
    MIDNIGHT,
    PERMITTING,
    due,
    edited,
    of_enerflo,
    planned,
    renamed,
    seen_anew,
    wide,
)

__all__ = ["renamed", "wide"]

INTERCONNECTION = 3904


def refused(desk: Desk, renamed: Any) -> int:
    """Refuse a due time in the column of Permitting, and give that title to another milestone, without one."""
    site = two_sites(desk)[0]
    for milestone in (PERMITTING, INTERCONNECTION):
        desk.world.set_milestone(site, milestone, {"due": None})
    run_poll(desk.context)
    edited(desk, site, "Permit_Due__c", None)
    desk.sql(
        "update crm.milestones set due_at = null, updated_at = now()"
        " where enerflo_install_id = :s and milestone_id in (3903, 3904)",
        s=site,
    )
    desk.carried()
    edited(desk, site, "Permit_Due__c", MIDNIGHT)
    plan = desk.plan()
    assert due(desk.changes(plan)) == [("permits", "to_enerflo", "Permit_Due__c")]
    run_reject(desk.context, plan.plan_hash, by="Pat", reason="wrong day")
    renamed(PERMITTING, "Old permit")
    renamed(INTERCONNECTION, "Permitting")
    seen_anew(desk)
    return site


def test_what_a_person_refused_is_not_sent_to_the_milestone_that_has_the_title_by_now(
    wide: Desk, renamed: Any
) -> None:
    site = refused(wide, renamed)
    for _ in range(2):
        assert [one for one in due(planned(wide)) if one[1] == "to_enerflo"] == []
        wide.carried()
    assert of_enerflo(wide, site, INTERCONNECTION, "due_at") is None
    assert wide.one("select count(*) from sync.refusals where ended_at is null") == 1


def test_the_refusal_ends_when_the_column_says_something_else(wide: Desk, renamed: Any) -> None:
    site = refused(wide, renamed)
    wide.carried()
    edited(wide, site, "Permit_Due__c", MIDNIGHT.replace(day=5))
    assert ("permits", "to_enerflo", "Permit_Due__c") in due(planned(wide))
    assert wide.one("select count(*) from sync.refusals where ended_at is null") == 0
