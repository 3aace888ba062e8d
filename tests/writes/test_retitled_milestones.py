"""An administrator gives a milestone of Enerflo another title, while a wide column names it by the former one."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import TableReport
from tests.writes.conftest import Desk
from tests.writes.test_tables_of_one_kind import END, QUICK, two_sites
from tests.writes.test_wide_milestones import (
    MIDNIGHT,
    PERMITTING,
    TABLE,
    due,
    edited,
    of_enerflo,
    planned,
    renamed,
    said,
    seen_anew,
    wide,
)

__all__ = ["renamed", "wide"]

INTERCONNECTION = 3904
BY_ITS_ID = "Name the milestone by its id in sync.yaml, which stays the same."
ASKED = "another milestone has this title by now: name the milestone by its id in sync.yaml"


def of_permits(desk: Desk) -> TableReport:
    return next(one for one in run_reconcile(desk.context).tables if one.table_name == "permits")


def warned(desk: Desk) -> list[str]:
    with desk.engine.connect() as connection:
        findings = check_mapping(connection, desk.context.config, "default", desk.context.config_path)
    return [one.found for one in findings if one.what == "tables.permits.columns.Permit_Due__c.milestone"]


def dates(desk: Desk) -> list[Any]:
    return desk.sql(
        'select "Install_Id__c", "Permit_Date__c", "Permit_Due__c" from crm."Opportunity" order by 1'
    )


def asked(desk: Desk) -> set[tuple[str, str]]:
    plan = desk.plan()
    return {(one.field or "", one.reason) for one in desk.undecided(plan) if one.table_name == "permits"}


@pytest.mark.parametrize("by_steps", [False, True])
def test_two_milestones_that_swap_titles_move_no_dates(wide: Desk, renamed: Any, by_steps: bool) -> None:
    before = dates(wide)
    if by_steps:
        # So a person does it, and a round of ours falls between the steps.
        renamed(PERMITTING, "Permitting (old)")
        seen_anew(wide)
        wide.carried()
        renamed(INTERCONNECTION, "Permitting")
        seen_anew(wide)
        wide.carried()
        renamed(PERMITTING, "Interconnection")
    else:
        renamed(PERMITTING, "Interconnection")
        renamed(INTERCONNECTION, "Permitting")
    seen_anew(wide)
    for _ in range(2):
        assert asked(wide) >= {("Permit_Date__c", ASKED), ("Permit_Due__c", ASKED)}
        wide.carried()
        assert dates(wide) == before
    moved = "the title 'Permitting' is that of milestone 3904 by now, and was that of milestone 3903"
    assert moved in warned(wide)
    assert f"Permit_Due__c: {moved}. {BY_ITS_ID}" in of_permits(wide).remarks
    # Nor is an edit of the CRM sent to the other milestone.
    site = two_sites(wide)[0]
    there = of_enerflo(wide, site, INTERCONNECTION, "due_at")
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    wide.carried()
    assert of_enerflo(wide, site, INTERCONNECTION, "due_at") == there
    # By its id the milestone is the one that it was.
    wide.switched_on("both", QUICK, (END, END + TABLE.replace("milestone: Permitting", "milestone: 3903")))
    assert ("permits", "to_enerflo", "Permit_Due__c") in due(planned(wide))
    assert warned(wide) == []
    wide.carried()
    assert of_enerflo(wide, site, PERMITTING, "due_at") == MIDNIGHT


def test_a_title_that_some_installs_do_not_have_any_more_is_told_where_both_sides_are_empty(
    wide: Desk, renamed: Any
) -> None:
    site = two_sites(wide)[0]
    assert warned(wide) == []
    assert not any("another title" in one for one in of_permits(wide).remarks)
    edited(wide, site, "Permit_Due__c", None)
    wide.world.set_milestone(site, PERMITTING, {"due": None})
    run_poll(wide.context)
    wide.carried()
    renamed(PERMITTING, "Permit approval")
    wide.world.set_milestone(site, PERMITTING, {"due": MIDNIGHT})
    run_poll(wide.context)
    before = dates(wide)
    found = (
        "1 install(s) have milestone 3903 under another title than 'Permitting', which is not compared there"
    )
    assert f"Permit_Due__c: {found}. {BY_ITS_ID}" in of_permits(wide).remarks
    assert warned(wide) == [found]
    # One question for a column, however many installs there are.
    assert asked(wide) == {
        (column, f"{found}: name the milestone by its id in sync.yaml")
        for column in ("Permit_Date__c", "Permit_Due__c")
    }
    wide.carried()
    assert dates(wide) == before
    # With the id nothing is left out.
    wide.switched_on("both", QUICK, (END, END + TABLE.replace("milestone: Permitting", "milestone: 3903")))
    wide.carried()
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT
    assert not any("another title" in one for one in of_permits(wide).remarks)


@pytest.mark.parametrize("with_a_deleted_one", [False, True])
def test_a_title_that_no_install_has_any_more_stops_its_column_alone(
    wide: Desk, renamed: Any, with_a_deleted_one: bool
) -> None:
    wide.plan()
    if with_a_deleted_one:
        wide.sql(
            "insert into enerflo.milestones"
            " (account, install_id, milestone_id, title, observed_at, observed_by, deleted_at)"
            " values ('default', 1, 3903, 'Permitting', now(), 'poll', now())"
        )
    renamed(PERMITTING, "Permit approval")
    wide.sql(
        "update enerflo.milestones set title = 'Permit approval', observed_at = now()"
        " where milestone_id = 3903 and deleted_at is null"
    )
    assert all("under another title" in one for one in warned(wide))
    before = dates(wide)
    site, other = two_sites(wide)
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    edited(wide, other, "PTO_Date__c", MIDNIGHT)
    wide.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :s", s=site
    )
    found = due(planned(wide))
    assert ("installs", "to_enerflo", "status") in found
    assert ("permits", "to_enerflo", "PTO_Date__c") in found
    assert not [one for one in found if one[2] in ("Permit_Due__c", "Permit_Date__c")]
    assert {field for field, _ in asked(wide)} == {"Permit_Date__c", "Permit_Due__c"}
    wide.carried()
    wide.carried()
    assert [row["Permit_Date__c"] for row in dates(wide)] == [row["Permit_Date__c"] for row in before]
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT


@pytest.mark.parametrize("title", ["PERMITTING", " permitting "])
def test_a_title_in_another_case_or_with_blanks_is_the_same(wide: Desk, renamed: Any, title: str) -> None:
    renamed(PERMITTING, title)
    seen_anew(wide)
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    wide.carried()
    assert of_enerflo(wide, site, PERMITTING, "due_at") == MIDNIGHT
    assert warned(wide) == []


def test_a_title_that_was_corrected_and_that_no_other_milestone_had_is_not_asked_about(
    wide: Desk, renamed: Any
) -> None:
    """The title that sync.yaml names came later than the milestone, and is its own."""
    renamed(INTERCONNECTION, "Utility")
    seen_anew(wide)
    wide.carried()
    named = TABLE.replace("{milestone: Permitting, enerflo: due_at", "{milestone: Utility, enerflo: due_at")
    wide.switched_on("both", QUICK, (END, END + named))
    wide.carried()
    site = two_sites(wide)[0]
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    wide.carried()
    assert of_enerflo(wide, site, INTERCONNECTION, "due_at") == MIDNIGHT


def test_dates_stay_when_a_milestone_is_removed_and_one_of_its_title_is_put_in_its_place(wide: Desk) -> None:
    site = two_sites(wide)[0]
    before = said(wide, site, "Permit_Due__c")
    assert before is not None
    wide.sql(
        "insert into enerflo.milestones (account, install_id, milestone_id, title, sequence, observed_at, observed_by)"
        " select account, install_id, 3950, title, sequence, now(), 'poll' from enerflo.milestones"
        " where milestone_id = 3903"
    )
    wide.sql(
        "update enerflo.milestones set deleted_at = now(), observed_at = now() where milestone_id = 3903"
    )
    for _ in range(2):
        assert [one for one in due(planned(wide)) if one[:2] == ("permits", "to_crm")] == []
        wide.carried()
        assert said(wide, site, "Permit_Due__c") == before


@pytest.mark.parametrize("called", ["Permitting", "3903"])
def test_a_milestone_that_no_install_has_any_more_stops_its_columns_alone(wide: Desk, called: str) -> None:
    named = TABLE.replace("milestone: Permitting", f"milestone: {called}")
    wide.switched_on("both", QUICK, (END, END + named))
    wide.carried()
    wide.sql(
        "update enerflo.milestones set deleted_at = now(), observed_at = now() where milestone_id = 3903"
    )
    shown = repr(called) if called == "Permitting" else called
    gone = f"no install has milestone {shown} any more, so nothing is compared there"
    assert warned(wide) == [gone]
    assert [one for one in of_permits(wide).remarks if one.startswith(f"Permit_Due__c: {gone}")]
    before = dates(wide)
    site, other = two_sites(wide)
    edited(wide, site, "Permit_Due__c", MIDNIGHT)
    edited(wide, other, "PTO_Date__c", MIDNIGHT)
    found = due(planned(wide))
    assert ("permits", "to_enerflo", "PTO_Date__c") in found
    assert not [one for one in found if one[2] in ("Permit_Due__c", "Permit_Date__c")]
    wide.carried()
    assert [row["Permit_Date__c"] for row in dates(wide)] == [row["Permit_Date__c"] for row in before]
    assert said(wide, site, "Permit_Due__c") == MIDNIGHT
