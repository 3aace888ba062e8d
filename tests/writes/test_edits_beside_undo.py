"""What a person edits on the other side after a plan, and before its undo is made: the next plan has it."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.test_changes import copied, counted, handed, install
from tests.writes.test_tables_of_one_kind import QUICK

__all__ = ["copied", "install"]

ON_HOLD = 4


@pytest.fixture
def site(agreed: Desk) -> int:
    """An install that is in progress on both sides."""
    agreed.switched_on("both", QUICK)
    return agreed.a_site().install_id


def said(desk: Desk, site: int) -> tuple[str, str]:
    """Return an install's status at Enerflo and in the CRM."""
    status = desk.one("select status_name from enerflo.installs where install_id = :i", i=site)
    return status, desk.crm("installs", enerflo_install_id=site)["status"]


def edited(desk: Desk, site: int, status: str) -> None:
    desk.sql(
        "update crm.installs set status = :s, updated_at = now() where enerflo_install_id = :i",
        s=status,
        i=site,
    )


def moved(desk: Desk, site: int, status: str) -> None:
    found = desk.one("select status_id from enerflo.install_statuses where name = :n", n=status)
    desk.world.set_status(site, found)
    run_poll(desk.context)


def applied(desk: Desk) -> str:
    plan = desk.plan()
    assert run_apply(desk.context, plan.plan_hash, approved_by="Pat").applied == 1
    run_poll(desk.context)
    return plan.plan_hash


@pytest.mark.parametrize("planned_before", [False, True])
def test_an_edit_of_the_crm_is_sent_after_the_undo_of_a_write_to_enerflo(
    agreed: Desk, site: int, planned_before: bool
) -> None:
    before, _ = said(agreed, site)
    edited(agreed, site, "On Hold")
    plan = applied(agreed)
    undo = run_undo(agreed.context, plan) if planned_before else None
    edited(agreed, site, "Pending KCA")
    undo = undo or run_undo(agreed.context, plan)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert said(agreed, site) == (before, "Pending KCA")
    agreed.carried()
    assert said(agreed, site) == ("Pending KCA", "Pending KCA")
    agreed.settled()


@pytest.mark.parametrize("planned_before", [False, True])
def test_a_change_at_enerflo_is_written_after_the_undo_of_a_write_to_the_crm(
    agreed: Desk, site: int, planned_before: bool
) -> None:
    _, before = said(agreed, site)
    moved(agreed, site, "On Hold")
    plan = applied(agreed)
    undo = run_undo(agreed.context, plan) if planned_before else None
    moved(agreed, site, "Pending KCA")
    undo = undo or run_undo(agreed.context, plan)
    assert run_apply(agreed.context, undo.plan_hash, approved_by="Pat").applied == 1
    assert said(agreed, site) == ("Pending KCA", before)
    agreed.carried()
    assert said(agreed, site) == ("Pending KCA", "Pending KCA")
    agreed.settled()


def test_an_edit_that_says_what_the_undo_restores_leaves_both_sides_agreed(agreed: Desk, site: int) -> None:
    before, _ = said(agreed, site)
    edited(agreed, site, "On Hold")
    plan = applied(agreed)
    edited(agreed, site, before)
    undo = run_undo(agreed.context, plan)
    run_apply(agreed.context, undo.plan_hash, approved_by="Pat")
    agreed.settled()
    # Enerflo alone changes it from there.
    moved(agreed, site, "On Hold")
    (change,) = agreed.changes(agreed.plan())
    assert (change.direction, change.rule) == ("to_crm", "only_side_moved")


def test_what_enerflo_says_since_is_handed_over_after_a_change_on_its_way_was_withdrawn(
    copied: Desk, install: int
) -> None:
    plan = copied.plan()
    assert run_apply(copied.context, plan.plan_hash, approved_by="Pat").handed_over == 1
    undo = run_undo(copied.context, plan.plan_hash)
    counted(copied, install, 44)
    assert run_apply(copied.context, undo.plan_hash, approved_by="Pat").applied == 1
    again = copied.plan()
    assert [change.after for change in copied.changes(again)] == [44]
    run_apply(copied.context, again.plan_hash, approved_by="Pat")
    assert [row["after"] for row in handed(copied)] == [44]
