"""Columns of the CRM whose collation calls different texts equal: the mapping alone says what is equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk

ANY_CASE = "create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"


@pytest.fixture
def loose(agreed: Desk) -> Callable[[str, str], None]:
    """Give a column of the CRM's installs a collation to which ``Abc`` is ``ABC``."""
    try:
        agreed.sql(ANY_CASE)
    except sa.exc.NotSupportedError:
        pytest.skip("NOT CHECKED: collations of ICU, which this PostgreSQL was built without")

    def alter(column: str, type_: str) -> None:
        agreed.sql(f"alter table crm.installs alter {column} type {type_} collate any_case")

    return alter


@pytest.mark.parametrize("type_", ["text", "varchar(80)"])
def test_another_case_is_a_difference_where_the_mapping_does_not_fold_it(
    agreed: Desk, loose: Callable[[str, str], None], type_: str
) -> None:
    loose("deal_id", type_)
    agreed.carried()
    first: dict[str, Any] = {
        "enerflo_install_id": agreed.one("select min(enerflo_install_id) from crm.installs")
    }
    before = agreed.crm("installs", **first)["deal_id"]
    agreed.sql(
        "update crm.installs set deal_id = upper(deal_id), updated_at = now() where enerflo_install_id = :i",
        i=first["enerflo_install_id"],
    )
    (change,) = agreed.changes(agreed.plan())
    assert (change.field, change.before, change.after) == ("deal_id", before.upper(), before)
    agreed.carried()
    assert agreed.crm("installs", **first)["deal_id"] == before
    # A case that the mapping folds is none.
    loose("status", type_)
    agreed.sql("update crm.installs set status = upper(status), updated_at = now()")
    assert agreed.plan().change_count == 0


def test_numbers_in_such_a_column_are_read(agreed: Desk, loose: Callable[[str, str], None]) -> None:
    loose("system_size_kw", "text")
    agreed.sql(
        "update crm.installs set system_size_kw = system_size_kw || '0'"
        " where system_size_kw collate \"C\" like '%.%'"
    )
    assert agreed.plan().change_count == 0


BY_DEAL = (
    "key: {enerflo_install_id: install_id}\n    updated_at: updated_at\n    fields:\n"
    "      deal_id: {enerflo: deal_id, type: text, source_of_truth: enerflo}\n",
    "key: {deal_id: %s}\n    updated_at: updated_at\n    fields:\n",
)


def in_capitals(desk: Desk, loose: Callable[[str, str], None], key: str, unique: bool) -> int:
    """Match installs by their deal, of which the CRM writes one in capitals; return that install."""
    desk.sql("delete from crm.installs where deal_id is null")
    loose("deal_id", "text")
    if unique:
        desk.sql("create unique index on crm.installs (deal_id)")
    desk.switched_on("crm", (BY_DEAL[0], BY_DEAL[1] % key), ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    desk.carried()
    install = desk.one("select min(enerflo_install_id) from crm.installs")
    desk.sql("update crm.installs set deal_id = upper(deal_id) where enerflo_install_id = :i", i=install)
    desk.sql(
        "update enerflo.installs set panel_count = 71, observed_at = now() where install_id = :i", i=install
    )
    return int(install)


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_a_key_in_another_case_names_no_record_in_report_and_plan_alike(
    agreed: Desk, loose: Callable[[str, str], None], unique: bool, full: bool
) -> None:
    install = in_capitals(agreed, loose, "deal_id", unique)
    (table,) = [
        one for one in run_reconcile(agreed.context, full=full).tables if one.table_name == "installs"
    ]
    assert (table.only_enerflo, table.only_crm) == (1, 1)
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="installs") == []
    assert len(agreed.undecided(plan)) == 2
    assert agreed.crm("installs", enerflo_install_id=install)["panel_count"] != 71


@pytest.mark.parametrize("unique", [False, True])
def test_a_key_in_another_case_that_the_mapping_folds_is_no_duplicate(
    agreed: Desk, loose: Callable[[str, str], None], unique: bool
) -> None:
    install = in_capitals(agreed, loose, "{enerflo: deal_id, type: text, fold_case: true}", unique)
    (table,) = [one for one in run_reconcile(agreed.context).tables if one.table_name == "installs"]
    assert Cause.DUPLICATE_IDENTITY not in table.by_cause
    agreed.carried()
    assert agreed.crm("installs", enerflo_install_id=install)["panel_count"] == 71
    agreed.settled()


def test_a_note_in_another_case_is_another_note(agreed: Desk, loose: Callable[[str, str], None]) -> None:
    agreed.sql("alter table crm.notes alter body type text collate any_case")
    install = agreed.a_site().install_id
    agreed.world.add_note(install, "Call first")
    agreed.sql(
        "insert into crm.notes (note_id, enerflo_install_id, body, created_at, updated_at)"
        " values ('N-1', :i, 'CALL FIRST', now(), now())",
        i=install,
    )
    run_poll(agreed.context)
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="notes") == []
    assert all("it may be a note of the other side" in one.reason for one in agreed.undecided(plan))
    agreed.carried()
    assert agreed.crm("notes", note_id="N-1")["enerflo_note_id"] is None


@pytest.mark.parametrize("type_", ["text", "citext"])
def test_rows_whose_keys_the_database_calls_equal_are_duplicates_and_not_written_without_end(
    agreed: Desk, loose: Callable[[str, str], None], type_: str
) -> None:
    install = in_capitals(agreed, loose, "deal_id", unique=False)
    if type_ == "citext":
        try:
            agreed.sql("create extension citext")
        except sa.exc.NotSupportedError:
            pytest.skip("NOT CHECKED: the type citext, whose extension this PostgreSQL lacks")
        agreed.sql("alter table crm.installs alter deal_id type citext")
    agreed.sql(
        "insert into crm.installs (enerflo_install_id, deal_id, updated_at)"
        " select 1, lower(deal_id), now() from crm.installs where enerflo_install_id = :i",
        i=install,
    )
    for full in (False, True):
        report = run_reconcile(agreed.context, full=full)
        (table,) = [one for one in report.tables if one.table_name == "installs"]
        assert table.by_cause == {Cause.DUPLICATE_IDENTITY: 2}
        plan = agreed.plan()
        assert agreed.changes(plan, table_name="installs") == []
        assert {one.reason for one in agreed.undecided(plan)} == {"more than one row has this key"}


def test_a_mark_in_another_case_deletes_no_row(agreed: Desk, loose: Callable[[str, str], None]) -> None:
    agreed.sql("alter table crm.installs add state text collate any_case")
    agreed.sql("update crm.installs set state = case when panel_count % 2 = 0 then 'gone' else 'open' end")
    agreed.switched_on(
        "crm",
        ("    crm_table: crm.installs\n", "    crm_table: crm.installs\n    deleted_when: {state: Gone}\n"),
    )
    assert sum(table.only_enerflo for table in run_reconcile(agreed.context, full=True).tables) == 0
