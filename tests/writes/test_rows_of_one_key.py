"""Two rows of one key in two tables of sync.yaml: what was agreed on, and refused, of one says nothing of the other."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.approval import read_refusals, run_reject
from enerflo_sync.plan.parts import Part
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought
from tests.writes.test_moved_rows import AT_ONCE, BRANCH, ON_HOLD, a_site, at_enerflo, moved, of_status
from tests.writes.test_refused import edit


def _split(desk: Desk, truth: str) -> None:
    desk.sql("alter table crm.installs add branch text not null default 'east'")
    desk.sql("update crm.installs set branch = 'west' where enerflo_install_id % 2 = 0")
    tables = (
        BRANCH.format(name=name, branch=branch, field="status_name", truth=truth)
        for name, branch in (("installs", "east"), ("west", "west"))
    )
    mapped(desk, "both", f"tables:{''.join(tables)}", AT_ONCE)
    desk.carried()


@pytest.fixture
def split(agreed: Desk) -> Desk:
    """Two branches of one CRM table whose key no index makes unique."""
    brought(agreed, _split, "review")
    return agreed


def copied(desk: Desk, site: int, status: str) -> None:
    """Make another row for an install, of the other branch: an opportunity of another type."""
    names = ", ".join(
        row["column_name"]
        for row in desk.sql(
            "select column_name from information_schema.columns where table_schema = 'crm'"
            " and table_name = 'installs' and column_name not in ('branch', 'status')"
        )
    )
    desk.sql(
        f"insert into crm.installs ({names}, branch, status) select {names}, 'west', :s from crm.installs"
        " where enerflo_install_id = :i",
        s=status,
        i=site,
    )


def test_the_other_row_was_never_agreed_on(split: Desk) -> None:
    site = a_site(split)
    copied(split, site, "On Hold")
    assert of_status(split, site) == [("west", "asked")]


def test_a_row_that_moves_takes_its_pair_along(split: Desk) -> None:
    site = a_site(split)
    moved(split, site, "west")
    edit(split, site, status="On Hold")
    assert of_status(split, site) == [("west", "to_enerflo")]


def test_what_was_refused_of_one_row_is_written_to_the_other(split: Desk) -> None:
    site = a_site(split)
    copied(split, site, "In progress")
    split.carried()
    at_enerflo(split, site, ON_HOLD)
    plan = split.plan()
    both = [(change.table_name, change.direction) for change in split.changes(plan, field="status")]
    assert both == [("installs", "to_crm"), ("west", "to_crm")]
    run_reject(split.context, plan.plan_hash, by="Sam Hill", part=Part(("installs",)))
    assert of_status(split, site) == [("west", "to_crm"), ("installs", "asked")]


@pytest.mark.parametrize("status", ["In progress", "Cancelled"])
def test_the_other_row_ends_no_refusal(split: Desk, status: str) -> None:
    site = a_site(split)
    at_enerflo(split, site, ON_HOLD)
    plan = split.plan()
    assert [change.direction for change in split.changes(plan, field="status")] == ["to_crm"]
    run_reject(split.context, plan.plan_hash, by="Sam Hill")
    copied(split, site, "On Hold" if status == "In progress" else status)
    split.plan()
    (standing,) = read_refusals(split.context)
    assert (standing.table_name, standing.after) == ("installs", "On Hold")
    assert ("installs", "to_crm") not in of_status(split, site)
