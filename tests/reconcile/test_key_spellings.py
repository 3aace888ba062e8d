"""Keys that the CRM spells in several ways are compared in a declared domain, on both sides."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.crm.chosen_rows import key_expressions
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from tests.reconcile.conftest import CRM_INSTALL, INSTALL, LONG_AGO, NOW, TwoSides

OPTIONS = "{enerflo: install_id, type: integer, trim: true}"
LATER = NOW + timedelta(hours=2)


def opportunities(sides: TwoSides, folder: Path, options: str = OPTIONS, more: str = "") -> TwoSides:
    """Map installs to a table as Salesforce's copy is: a text names the install."""
    sides.sql(
        'create table crm."Opportunity" ("Id" text primary key, "Enerflo_Install_Id__c" text, customer_name text,'
        " status text, system_size_kw numeric, panel_count integer, contract_amount numeric,"
        " updated_at timestamptz)"
    )
    text = sides.config.file.read_text()
    text = text.replace("crm_table: crm.installs", 'crm_table: crm."Opportunity"')
    text = text.replace(
        "key: {enerflo_install_id: install_id}\n    updated",
        f"key: {{Enerflo_Install_Id__c: {options}}}\n{more}    updated",
        1,
    )
    sides.with_config(text, folder)
    return sides


def row(sides: TwoSides, key: str | None, number: int | None = None, **values: Any) -> None:
    """Put a row into the CRM, and its install into the mirror where it has a number."""
    sides.insert('crm."Opportunity"', **CRM_INSTALL | {"updated_at": LONG_AGO} | {
        "Id": f"006{sides_count(sides)}", "Enerflo_Install_Id__c": key} | values)  # fmt: skip
    if number is not None:
        sides.mirror("installs", **INSTALL | {"install_id": number})


def sides_count(sides: TwoSides) -> int:
    with sides.engine.connect() as connection:
        return int(connection.exec_driver_sql('select count(*) from crm."Opportunity"').scalar_one())


def found(sides: TwoSides, report: Any) -> list[tuple[Any, ...]]:
    return [(key["Enerflo_Install_Id__c"], field, cause) for _, key, field, cause in sides.causes(report)]


def test_untidy_keys_of_whole_numbers_meet_their_records(sides: TwoSides, tmp_path: Path) -> None:
    opportunities(sides, tmp_path)
    for key, number in (
        ("0001234", 1234),
        (" 1235 ", 1235),
        ("1236.0", 1236),
        ("+1237", 1237),
        ("1238", 1238),
    ):
        row(sides, key, number)
    report = sides.reconcile(NOW)
    assert found(sides, report) == []
    assert (report.tables[0].matched, report.tables[0].only_enerflo) == (5, 0)


def test_what_is_no_whole_number_is_a_row_without_a_key_and_said_masked(
    sides: TwoSides, tmp_path: Path
) -> None:
    opportunities(sides, tmp_path)
    row(sides, "1234", 1234)
    for key in (None, "", "  ", "n/a", "Zq-17", "12 34", "1.5"):
        row(sides, key)
    report = sides.reconcile(NOW)
    assert {cause for *_, cause in found(sides, report)} == {"missing_in_enerflo"}
    table = report.tables[0]
    assert (table.crm_rows, table.only_crm, table.unlinked) == (8, 7, 7)
    (said,) = [one for one in table.remarks if "have no key" in one]
    assert said.startswith("4 rows of crm.Opportunity have no key of type integer in Enerflo_Install_Id__c")
    assert "a/a, Aa-99" in said
    assert "n/a" not in said


@pytest.mark.parametrize("full", [True, False])
def test_ignored_rows_without_a_key_are_only_counted(sides: TwoSides, tmp_path: Path, full: bool) -> None:
    opportunities(sides, tmp_path, more="    unlinked: ignore\n")
    row(sides, "01", 1)
    row(sides, "n/a")
    row(sides, None)
    sides.reconcile(NOW)
    row(sides, "", updated_at=NOW)
    row(sides, "2", 2, panel_count=5, updated_at=NOW)
    report = sides.reconcile(LATER, full=full)
    assert found(sides, report) == [("2", "panel_count", "unexplained")]
    table = report.tables[0]
    assert (table.crm_rows, table.matched, table.only_crm, table.unlinked) == (2, 2, 0, 3)
    assert "3 rows of crm.Opportunity have no key (unlinked: ignore): they do not count." in table.remarks


@pytest.mark.parametrize("full", [True, False])
def test_two_rows_that_become_one_key_are_duplicates(sides: TwoSides, tmp_path: Path, full: bool) -> None:
    opportunities(sides, tmp_path)
    row(sides, "1234", 1234)
    row(sides, "1235", 1235)
    assert found(sides, sides.reconcile(NOW)) == []
    row(sides, " 001234", updated_at=NOW)
    report = sides.reconcile(LATER, full=full)
    assert found(sides, report) == [("1234", None, "duplicate_identity")]
    assert "2 CRM rows share 1 key;" in " ".join(report.tables[0].remarks)


@pytest.mark.parametrize("full", [True, False])
def test_a_change_of_an_untidy_row_and_its_end_are_found(sides: TwoSides, tmp_path: Path, full: bool) -> None:
    opportunities(sides, tmp_path)
    row(sides, "0001", 1, panel_count=4)
    row(sides, "0002", 2)
    row(sides, "n/a")
    sides.reconcile(NOW)
    sides.sql(
        'update crm."Opportunity" set panel_count = 20, updated_at = :at where "Id" = \'0060\'', at=LATER
    )
    sides.sql('delete from crm."Opportunity" where "Id" = \'0061\'')
    report = sides.reconcile(LATER + timedelta(hours=1), full=full)
    assert found(sides, report) == [("2", None, "missing_in_crm"), ("n/a", None, "missing_in_enerflo")]


def test_texts_are_trimmed_stripped_and_folded_where_declared(sides: TwoSides, tmp_path: Path) -> None:
    options = "{enerflo: deal_id, type: text, trim: true, strip_zeros: true, fold_case: true}"
    opportunities(sides, tmp_path, options)
    for key, deal, number in (("a0XÄb", "A0xäB", 1), (" 00a7", "A7", 2), ("000", "0", 3), ("x", "y", 4)):
        row(sides, key)
        sides.mirror("installs", **INSTALL | {"install_id": number, "deal_id": deal})
    report = sides.reconcile(NOW)
    assert found(sides, report) == [("x", None, "missing_in_enerflo"), ("y", None, "missing_in_crm")]


def test_an_index_on_the_key_as_it_is_compared_proves_it_unique(sides: TwoSides, tmp_path: Path) -> None:
    opportunities(sides, tmp_path)
    row(sides, "01", 1)
    with sides.engine.begin() as connection:
        fold = case_folding(connection)
        plan = live_comparisons(connection, sides.config, "default", fold)[0]
        assert not plan.crm_unique
        ((key, _),) = key_expressions(plan.mapping, plan.live, fold)
        connection.exec_driver_sql(f'create unique index on crm."Opportunity" (({key}))')
        assert live_comparisons(connection, sides.config, "default", fold)[0].crm_unique
    assert found(sides, sides.reconcile(NOW)) == []


def test_a_changed_key_option_compares_everything_again(sides: TwoSides, tmp_path: Path) -> None:
    opportunities(sides, tmp_path, OPTIONS.replace(", trim: true", ""))
    row(sides, " 1", 1)
    assert found(sides, sides.reconcile(NOW)) == [
        (" 1", None, "missing_in_enerflo"),
        ("1", None, "missing_in_crm"),
    ]
    text = sides.config.file.read_text().replace("c: {enerflo: install_id, type: integer}", f"c: {OPTIONS}")
    sides.with_config(text, tmp_path)
    report = sides.reconcile(LATER)
    assert (report.scope, found(sides, report)) == ("full", [])
