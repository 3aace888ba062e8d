"""Rows that an import numbers anew while their record has none, or that get their former key again."""

from __future__ import annotations

import time

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.test_moved_rows import AT_ONCE
from tests.writes.test_refused import status_at_enerflo
from tests.writes.test_reused_keys import (
    DEALS,
    an_edit_is_one_again,
    deals,
    in_front_of_another_stage,
    numbered_anew,
)

__all__ = ["deals"]


def numbered_in_two_parts(desk: Desk, site: int) -> None:
    """Number all rows anew; make and apply a plan when an install's row is among those that are not back yet."""
    desk.sql(
        "create table crm.import as select substr(item, 2)::int as n, record, stage, now() as at from crm.deals"
    )
    number = desk.one("select n from crm.import where record = :i", i=site)
    desk.sql("delete from crm.deals")
    for part in ("n < :n", "n >= :n"):
        desk.sql(
            "insert into crm.deals select 'i' || n + 1, record, stage, now() from crm.import where " + part,
            n=number,
        )
        desk.carried()


def taken_back(deals: Desk) -> None:
    """Apply the plan of one change, and take it back."""
    plan = deals.plan()
    assert run_apply(deals.context, plan.plan_hash, approved_by="Pat").applied == 1
    undo = run_undo(deals.context, plan.plan_hash)
    assert run_apply(deals.context, undo.plan_hash, approved_by="Sam").applied == 1


def at_enerflo(desk: Desk, site: int, status: int) -> None:
    desk.world.set_status(site, status)
    run_poll(desk.context)


def test_a_plan_in_the_middle_of_an_import_forgets_nothing_of_rows_that_are_not_back_yet(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    at_enerflo(deals, site, 323)
    numbered_in_two_parts(deals, site)
    for _ in range(2):
        deals.carried()
        assert status_at_enerflo(deals, site) == 323
    an_edit_is_one_again(deals, site)


def test_nor_what_a_person_took_back_of_them(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    at_enerflo(deals, site, 4)
    taken_back(deals)
    numbered_in_two_parts(deals, site)
    for _ in range(2):
        plan = deals.plan()
        assert (plan.change_count, deals.undecided(plan)) == (0, [])
        deals.carried()
    assert status_at_enerflo(deals, site) == 4
    assert deals.one("select stage from crm.deals where record = :i", i=site) == "In progress"


def test_nor_of_a_record_whose_key_goes_to_a_row_of_a_deleted_one(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    before = deals.one(
        "select a.record from crm.deals a join crm.deals b on substr(a.item, 2)::int = substr(b.item, 2)::int - 1"
        " where b.record = :i",
        i=site,
    )
    deals.world.delete_install(before)
    deals.world.set_status(site, 323)
    run_poll(deals.context, full=True)
    numbered_anew(deals)
    for _ in range(3):
        deals.carried()
    assert status_at_enerflo(deals, site) == 323


def test_a_row_that_gets_its_former_key_again_is_not_judged_by_what_was_agreed_on_then(deals: Desk) -> None:
    site = in_front_of_another_stage(deals)
    item = deals.one("select item from crm.deals where record = :i", i=site)
    change = "update crm.deals set {}, updated_at = now() where record = :i"
    deals.sql(change.format("item = 'other'"), i=site)
    deals.carried()
    deals.sql(change.format("stage = 'On Hold'"), i=site)
    deals.carried()
    assert status_at_enerflo(deals, site) == 4
    at_enerflo(deals, site, 323)
    # Enerflo tells whole seconds.
    time.sleep(1.1)
    deals.sql(change.format("item = :n"), i=site, n=item)
    for _ in range(2):
        (asked,) = [one for one in deals.undecided(deals.plan()) if one.field == "stage"]
        assert "another row of the CRM stood for it before" in str(asked.reason)
        deals.carried()
    assert status_at_enerflo(deals, site) == 323


def test_a_note_that_was_deleted_from_the_crm_is_not_made_again_where_another_row_has_its_key(
    agreed: Desk,
) -> None:
    gone, other = agreed.sql("select note_id, enerflo_note_id from crm.notes order by note_id limit 2")
    agreed.sql("delete from crm.notes where note_id = :n", n=gone["note_id"])
    for _ in range(3):
        plan = agreed.plan()
        assert plan.change_count == 0
        assert [one.reason for one in agreed.undecided(plan)] == [
            "it was deleted from the CRM since both agreed"
        ]
        agreed.carried()
        agreed.sql(
            "update crm.notes set note_id = :n, updated_at = now() where enerflo_note_id = :e",
            n=gone["note_id"],
            e=other["enerflo_note_id"],
        )


def test_what_was_agreed_on_before_an_import_is_no_base_once_the_column_is_mapped_otherwise(
    deals: Desk,
) -> None:
    site = in_front_of_another_stage(deals)
    at_enerflo(deals, site, 4)
    plan = deals.plan()
    run_apply(deals.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(deals.context, plan.plan_hash)
    assert run_apply(deals.context, undo.plan_hash, approved_by="Sam").applied == 1
    numbered_anew(deals)
    for _ in range(2):
        assert deals.plan().change_count == 0
    mapped(deals, "both", DEALS.replace("type: text", "type: text, values: {On Hold: Halted}"), AT_ONCE)
    for _ in range(2):
        assert [change.field for change in deals.changes(deals.plan())] == ["stage"]


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("truth", ["crm", "newest", "review"])
def test_a_write_that_a_person_takes_back_after_its_row_got_another_key_stays_taken_back(
    deals: Desk, truth: str, between: bool
) -> None:
    mapped(deals, "both", DEALS.replace("newest", truth), AT_ONCE)
    deals.carried()
    site = in_front_of_another_stage(deals)
    deals.sql("update crm.deals set stage = 'On Hold', updated_at = now() where record = :i", i=site)
    plan = deals.plan()
    assert run_apply(deals.context, plan.plan_hash, approved_by="Pat").applied == 1
    numbered_anew(deals)
    if between:
        deals.carried()
    undo = run_undo(deals.context, plan.plan_hash)
    assert run_apply(deals.context, undo.plan_hash, approved_by="Sam").applied == 1
    for _ in range(2):
        plan = deals.plan()
        assert (plan.change_count, deals.undecided(plan)) == (0, [])
    assert deals.one("select stage from crm.deals where record = :i", i=site) == "On Hold"
    # Another value is another change.
    deals.sql("update crm.deals set stage = 'Cancelled', updated_at = now() where record = :i", i=site)
    assert [change.direction for change in deals.changes(deals.plan())] == ["to_enerflo"]


def loaded_anew(desk: Desk, load: int) -> None:
    """Load the whole table under keys that no row had before."""
    desk.sql("create table crm.load as select item, record, stage, now() as at from crm.deals")
    desk.sql("delete from crm.deals")
    desk.sql(f"insert into crm.deals select 'n{load}-' || md5(item), record, stage, at from crm.load")
    desk.sql("drop table crm.load")


def test_a_table_that_is_loaded_anew_under_new_keys_leaves_no_more_behind_each_time(deals: Desk) -> None:
    """Whatever comes of a former key, what a person took back stays as it was left."""
    site = in_front_of_another_stage(deals)
    at_enerflo(deals, site, 4)
    taken_back(deals)
    stored = []
    for load in range(4):
        loaded_anew(deals, load)
        for _ in range(2):
            plan = deals.plan()
            assert (plan.change_count, deals.undecided(plan)) == (0, [])
        stored.append(deals.one("select count(*) from sync.agreed where table_name = 'installs'"))
    assert len(set(stored)) == 1, stored
    assert deals.one("select stage from crm.deals where record = :i", i=site) == "In progress"
    assert status_at_enerflo(deals, site) == 4
