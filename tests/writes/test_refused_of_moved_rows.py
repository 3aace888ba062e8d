"""What a person refused stays refused when its row goes to another table of sync.yaml that maps the same column."""

from __future__ import annotations

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sync.jobs.approval import read_refusals, run_reject, run_reopen
from enerflo_sync.plan.reopen import WhichRefusals
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_moved_rows import (
    CANCELLED,
    KEYS,
    ON_HOLD,
    _boards,
    a_site,
    at_enerflo,
    moved,
    of_status,
    split,
)
from tests.writes.test_refused import edit, status_at_enerflo

__all__ = ["split"]


def refused(desk: Desk) -> None:
    plan = desk.plan()
    assert [change.field for change in desk.changes(plan)] == ["status"]
    run_reject(desk.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")


@pytest.fixture
def cancelled(split: Desk) -> tuple[Desk, int]:
    """A cancellation in the CRM that a person refused to send; the row goes to the other branch then."""
    site = a_site(split)
    edit(split, site, status="Cancelled")
    refused(split)
    moved(split, site, "west")
    return split, site


def test_it_is_not_sent_for_the_other_table(cancelled: tuple[Desk, int]) -> None:
    desk, site = cancelled
    plan = desk.plan()
    assert desk.changes(plan) == []
    (told,) = [one for one in desk.undecided(plan) if site in one.key.values()]
    assert (told.table_name, told.field) == ("west", "status")
    assert told.reason.endswith("UTC: the customer stays")
    assert sum(plan.refused.values()) == 1
    desk.carried()
    assert status_at_enerflo(desk, site) == c.IN_PROGRESS
    moved(desk, site, "east")
    assert desk.changes(desk.plan()) == []


def test_it_is_not_written_to_the_other_table(split: Desk) -> None:
    site = a_site(split)
    at_enerflo(split, site, ON_HOLD)
    refused(split)
    moved(split, site, "west")
    assert of_status(split, site) == [("west", "asked")]


def test_another_value_is_another_change(cancelled: tuple[Desk, int]) -> None:
    desk, site = cancelled
    edit(desk, site, status="On Hold")
    assert of_status(desk, site) == [("west", "to_enerflo")]
    assert read_refusals(desk.context) == []


def test_it_ends_when_both_sides_say_the_same(cancelled: tuple[Desk, int]) -> None:
    desk, site = cancelled
    at_enerflo(desk, site, CANCELLED)
    assert of_status(desk, site) == []
    assert read_refusals(desk.context) == []


def test_a_person_opens_it_again(cancelled: tuple[Desk, int]) -> None:
    desk, site = cancelled
    desk.plan()
    (standing,) = read_refusals(desk.context)
    run_reopen(desk.context, WhichRefusals(ids=(standing.refusal_id,)), by="Pat")
    assert of_status(desk, site) == [("west", "to_enerflo")]


@pytest.mark.parametrize("how", KEYS)
def test_an_item_that_goes_to_another_board_takes_its_refusal_along(agreed: Desk, how: str) -> None:
    brought(agreed, _boards, *KEYS[how])
    site = int(agreed.one("select min(record::bigint) from crm.east where label = 'In progress'"))
    agreed.sql(
        "update crm.east set label = 'Cancelled', updated_at = now() where record::bigint = :i", i=site
    )
    plan = agreed.plan()
    assert [change.field for change in agreed.changes(plan)] == ["label"]
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    agreed.sql("insert into crm.west select * from crm.east where record::bigint = :i", i=site)
    agreed.sql("delete from crm.east where record::bigint = :i", i=site)
    plan = agreed.plan()
    assert agreed.changes(plan, field="stage") == []
    (told,) = [one for one in agreed.undecided(plan) if one.field == "stage"]
    assert told.reason.endswith("UTC: the customer stays")
    agreed.sql("update crm.west set stage = 'On Hold', updated_at = now() where record::bigint = :i", i=site)
    assert [one.direction for one in agreed.changes(agreed.plan(), field="stage")] == ["to_enerflo"]
    # It stands for the board where it was refused.
    assert [one.table_name for one in read_refusals(agreed.context)] == ["installs"]


def test_what_was_refused_of_one_board_does_not_hide_a_change_to_the_row_of_another(agreed: Desk) -> None:
    """A record that stands on both boards: each board's own row may be written or not."""
    brought(agreed, _boards, *KEYS["the record's id"])
    site = int(agreed.one("select min(record) from crm.east where label = 'In progress'"))
    agreed.sql("insert into crm.west select * from crm.east where record = :i", i=site)
    agreed.plan()
    at_enerflo(agreed, site, ON_HOLD)
    plan = agreed.plan()
    assert {change.field for change in agreed.changes(plan)} == {"label", "stage"}
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill")
    agreed.sql("update crm.west set stage = 'Completed', updated_at = now() where record = :i", i=site)
    written = agreed.changes(agreed.plan())
    assert [(one.table_name, one.direction) for one in written] == [("west", "to_enerflo")]
    (east,) = [one for one in read_refusals(agreed.context) if one.table_name == "installs"]
    assert (east.field, east.after) == ("label", "On Hold")
