"""A table that `sync.yaml` calls otherwise by now is the same table: what was agreed on and refused goes along."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.text import story_sentences
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.copies import mapped
from tests.writes.kept import brought
from tests.writes.test_changes import ALONE, AT_ONCE, HANDED, approved, copied, copy_shows, handed, install
from tests.writes.test_moved_rows import AT_ONCE as TRIED_AT_ONCE
from tests.writes.test_moved_rows import BOARDS, CANCELLED, KEYS, ON_HOLD, _boards, at_enerflo

__all__ = ["copied", "install"]

QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
RENAMED = (
    "  installs:\n    crm_table: crm.installs",
    "  jobs:\n    of: installs\n    crm_table: crm.installs",
)


def test_what_a_person_refused_stays_refused(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    edit = "update crm.installs set status = 'On Hold', updated_at = now() where enerflo_install_id = :i"
    agreed.sql(edit, i=site)
    plan = agreed.plan()
    assert [one.field for one in agreed.changes(plan)] == ["status"]
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="the customer stays")
    assert agreed.plan().change_count == 0
    agreed.switched_on("both", QUICK, RENAMED)
    assert agreed.changes(agreed.plan()) == []


def test_a_plan_of_a_table_under_the_name_before_is_not_applied(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    agreed.sql("update crm.installs set panel_count = panel_count + 1")
    plan = agreed.plan()
    agreed.switched_on("both", QUICK, RENAMED)
    with pytest.raises(ConfigurationError, match="the mapping changed since it was made"):
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")


def test_a_row_that_a_person_deleted_is_not_made_again(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select max(enerflo_install_id) from crm.installs")
    agreed.sql("delete from crm.milestones where enerflo_install_id = :i", i=site)
    agreed.sql("delete from crm.installs where enerflo_install_id = :i", i=site)
    assert agreed.plan().change_count == 0
    agreed.switched_on("both", QUICK, RENAMED)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert plan.undecided


def test_what_was_decided_under_the_name_before_is_not_denied(agreed: Desk) -> None:
    """The ledger is what it was: it keeps the name of its time."""
    agreed.switched_on("both", QUICK)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    agreed.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :i", i=site)
    run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    told = story_sentences(run_explain(agreed.context, "install", str(site), field="panel_count").fields[0])
    assert "approved by Pat" in told[-1]
    agreed.switched_on("both", QUICK, RENAMED)
    agreed.plan()
    told = story_sentences(run_explain(agreed.context, "job", str(site), field="panel_count").fields[0])
    assert told[-1] == (
        "Nothing was decided about it under these names of table and column: the ledger has no row of it."
    )


def test_an_edit_is_told_by_what_was_agreed_on_under_the_name_before(agreed: Desk) -> None:
    status = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: "
    review = (status + "newest", status + "review")
    agreed.switched_on("both", QUICK, review, RENAMED)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    agreed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :i", i=site)
    (change,) = agreed.changes(agreed.plan())
    assert (change.table_name, change.field, change.direction) == ("jobs", "status", "to_enerflo")
    # And back again.
    agreed.switched_on("both", QUICK, review)
    (change,) = agreed.changes(agreed.plan())
    assert (change.table_name, change.rule) == ("installs", "only_side_moved")


def test_what_was_handed_over_arrives_under_the_name_of_now(copied: Desk, install: int) -> None:
    # What the copy shows of an amount counts as arrived, and is not equal.
    copied.sql("alter table crm.installs alter contract_amount type numeric(12, 0)")
    plan, _ = approved(copied)
    assert {change.field for change in copied.changes(plan)} == {"contract_amount", "panel_count"}
    copied.switched_on("both", HANDED, ALONE, AT_ONCE, RENAMED)
    assert copied.plan().change_count == 0
    copy_shows(copied, install, panel_count=40)
    assert copied.plan().change_count == 0
    assert handed(copied) == []
    assert {(change.table_name, change.state) for change in copied.changes(plan)} == {("jobs", "applied")}
    (pair,) = copied.sql(
        "select value, agreed_by from sync.agreed where table_name = 'jobs' and field = 'panel_count'"
        " and key = jsonb_build_object('enerflo_install_id', cast(:id as bigint))",
        id=install,
    )
    assert (pair["value"], pair["agreed_by"]) == (40, "push")


def test_an_undo_after_the_name_brings_along_what_is_stored(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    site = agreed.one("select min(enerflo_install_id) from crm.installs where status = 'In progress'")
    edit = "update crm.installs set panel_count = 99, updated_at = now() where enerflo_install_id = :i"
    agreed.sql(edit, i=site)
    plan = agreed.plan()
    agreed.carried()
    stored = "select count(*) from sync.agreed where table_name = :table"
    before = agreed.one(stored, table="installs")
    agreed.switched_on("both", QUICK, RENAMED)
    undo = run_undo(agreed.context, plan.plan_hash)
    # What a plan applied stands under the name that the table had then.
    assert [one.reason for one in agreed.undecided(undo)] == ["the mapping does not know it any more"]
    assert [agreed.one(stored, table=table) for table in ("installs", "jobs")] == [0, before]
    assert agreed.plan().change_count == 0


WORKS = (
    "\n  works:\n    of: installs\n    crm_table: crm.installs\n    key: {enerflo_install_id: install_id}"
    "\n    fields:\n      deal_id: {enerflo: deal_id, type: text, source_of_truth: enerflo}\n\n  milestones:"
)


def test_of_two_new_names_the_one_with_the_same_fields_takes_what_is_stored(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK, RENAMED, ("\n  milestones:", WORKS))
    before = agreed.one("select count(*) from sync.agreed where table_name = 'installs'")
    agreed.plan()
    assert agreed.one("select count(*) from sync.agreed where table_name = 'installs'") == 0
    assert agreed.one("select count(*) from sync.agreed where table_name = 'jobs'") == before


def test_two_tables_of_one_crm_table_are_renamed_at_once(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK, ("\n  milestones:", WORKS))
    agreed.plan()
    stored = "select count(*) from sync.agreed where table_name = :table"
    installs, works = agreed.one(stored, table="installs"), agreed.one(stored, table="works")
    assert installs != works
    deals = WORKS.replace("  works:", "  deals:")
    agreed.switched_on("both", QUICK, RENAMED, ("\n  milestones:", deals))
    agreed.plan()
    found = [agreed.one(stored, table=table) for table in ("jobs", "deals", "installs", "works")]
    assert found == [installs, works, 0, 0]


def test_where_it_cannot_be_told_nothing_is_planned(agreed: Desk) -> None:
    """Both new tables are mapped like the one that is gone: each could be the one that somebody refused for."""
    agreed.switched_on("both", QUICK, ("\n  milestones:", WORKS))
    agreed.plan()
    jobs, deals = WORKS.replace("  works:", "  jobs:"), WORKS.replace("  works:", "  deals:")
    both = (jobs.replace("\n\n  milestones:", "") + "\n" + deals,)
    agreed.switched_on("both", QUICK, ("\n  milestones:", *both))
    with pytest.raises(ConfigurationError, match="cannot be told") as raised:
        agreed.plan()
    assert "Name the table that was works so once more" in str(raised.value)
    assert agreed.one("select count(*) from sync.agreed where table_name = 'works'") > 0
    # As it is told.
    agreed.switched_on(
        "both", QUICK, ("\n  milestones:", WORKS.replace("\n\n  milestones:", "") + "\n" + deals)
    )
    agreed.plan()
    agreed.switched_on("both", QUICK, ("\n  milestones:", *both))
    agreed.plan()
    assert agreed.one("select count(*) from sync.agreed where table_name = 'works'") == 0


# The tables of two boards change their names with each other, or give theirs to a table that is new.
SWAPPED = (
    BOARDS.replace("installs:", "w:")
    .replace("  west:\n    of: installs", "  installs:")
    .replace("  w:", "  west:\n    of: installs")
)
GIVEN_ON = SWAPPED.replace("  west:", "  east:")


@pytest.mark.parametrize("how", KEYS)
@pytest.mark.parametrize("tables", [SWAPPED, GIVEN_ON], ids=["swapped", "given on"])
def test_what_a_person_refused_goes_along_where_another_table_takes_the_name(
    agreed: Desk, tables: str, how: str
) -> None:
    kind, key = KEYS[how]
    brought(agreed, _boards, kind, key)
    site = agreed.one("select min(record::bigint) from crm.east where label = 'In progress'")
    agreed.sql(
        "insert into crm.west select item, record, label, updated_at from crm.east where record::bigint = :i",
        i=site,
    )
    agreed.carried()
    at_enerflo(agreed, site, ON_HOLD)
    plan = agreed.plan()
    assert {one.table_name for one in agreed.changes(plan)} == {"installs", "west"}
    run_reject(agreed.context, plan.plan_hash, by="Sam Hill", reason="a clerk looks at it")
    assert agreed.plan().change_count == 0
    mapped(agreed, "both", tables.format(key=key), TRIED_AT_ONCE)
    for _ in range(2):
        plan = agreed.plan()
        assert agreed.changes(plan) == []
        told = {
            (one.field, str(one.reason).endswith("a clerk looks at it"))
            for one in agreed.undecided(plan)
            if one.key in ({"record": site}, {"record": str(site)}, {"item": f"i{site}"})
        }
        assert told == {("label", True), ("stage", True)}, agreed.undecided(plan)
    # And back again.
    mapped(agreed, "both", BOARDS.format(key=key), TRIED_AT_ONCE)
    assert agreed.changes(agreed.plan()) == []
    at_enerflo(agreed, site, CANCELLED)
    assert {one.table_name for one in agreed.changes(agreed.plan())} == {"installs", "west"}


def _beside_an_equal_row(desk: Desk, kind: str, key: str) -> int:
    """Refuse a write to one board; the other one shows Enerflo's value already."""
    _boards(desk, kind, key)
    site = int(desk.one("select min(record::bigint) from crm.east where label = 'In progress'"))
    at_enerflo(desk, site, ON_HOLD)
    desk.sql(
        "insert into crm.west select item, record, 'On Hold', now() from crm.east where record::bigint = :i",
        i=site,
    )
    plan = desk.plan()
    assert {one.table_name for one in desk.changes(plan)} == {"installs"}
    run_reject(desk.context, plan.plan_hash, by="Sam Hill", reason="a clerk looks at it")
    assert desk.plan().change_count == 0
    return site


@pytest.mark.parametrize("how", KEYS)
@pytest.mark.parametrize("tables", [SWAPPED, GIVEN_ON], ids=["swapped", "given on"])
def test_what_a_person_refused_of_one_of_two_rows_goes_along(agreed: Desk, tables: str, how: str) -> None:
    kind, key = KEYS[how]
    site = brought(agreed, _beside_an_equal_row, kind, key)
    mapped(agreed, "both", tables.format(key=key), TRIED_AT_ONCE)
    for _ in range(2):
        assert agreed.changes(agreed.plan()) == []
    assert agreed.one("select label from crm.east where record::bigint = :i", i=site) == "In progress"


@pytest.mark.parametrize("how", KEYS)
def test_what_is_stored_of_a_table_that_is_mapped_no_more_makes_room(agreed: Desk, how: str) -> None:
    """One table of two is left, under the other one's name; later the other one comes back under a third."""
    kind, key = KEYS[how]
    brought(agreed, _beside_an_equal_row, kind, key)
    stored = "select count(*) from sync.agreed where table_name = :table"
    installs, west = agreed.one(stored, table="installs"), agreed.one(stored, table="west")
    alone = GIVEN_ON[: GIVEN_ON.index("  east:")] + GIVEN_ON[GIVEN_ON.index("  installs:") :]
    mapped(agreed, "both", alone.format(key=key), TRIED_AT_ONCE)
    assert agreed.changes(agreed.plan()) == []
    assert (agreed.one(stored, table="installs"), agreed.one(stored, table="west")) == (west, installs)
    mapped(agreed, "both", GIVEN_ON.format(key=key), TRIED_AT_ONCE)
    assert agreed.changes(agreed.plan()) == []
    assert agreed.one(stored, table="east") == installs


@pytest.mark.parametrize("how", KEYS)
def test_what_a_person_refused_holds_in_both_tables_where_rows_were_moved_and_the_old_ones_kept(
    agreed: Desk, how: str
) -> None:
    """The name is that of a new table of the same rows, and the former table stays mapped as an archive."""
    kind, key = KEYS[how]
    site = brought(agreed, _beside_an_equal_row, kind, key)
    agreed.sql("create table crm.north (like crm.east including all)")
    agreed.sql("insert into crm.north select * from crm.east")
    moved = BOARDS.replace("crm.east", "crm.north")
    archive = moved[moved.index("  installs:") : moved.index("  west:")]
    archive = archive.replace("  installs:", "  archive:\n    of: installs").replace("crm.north", "crm.east")
    mapped(agreed, "both", (moved + archive).format(key=key), TRIED_AT_ONCE)
    for _ in range(2):
        assert [one for one in agreed.changes(agreed.plan()) if one.after == "On Hold"] == []
    for table in ("north", "east"):
        said = agreed.one(f"select label from crm.{table} where record::bigint = :i", i=site)
        assert said == "In progress"
