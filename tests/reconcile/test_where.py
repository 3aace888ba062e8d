"""CRM rows that do not meet ``where`` do not exist: they are neither compared nor counted, nor made again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.errors import ConfigurationError
from tests.reconcile.conftest import NOW, TwoSides

WHERE = "    where: \"record_type in ('Solar') and 100 % 7 = 2\"\n"
LATER = NOW + timedelta(hours=2)


@pytest.fixture
def typed(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Both sides, with CRM tables of which only rows of one record type count."""
    for table in ("installs", "milestones", "notes"):
        sides.sql(f"alter table crm.{table} add record_type text default 'Solar'")
    text = sides.config.file.read_text().replace(
        "    updated_at: updated_at\n", f"    updated_at: updated_at\n{WHERE}"
    )
    sides.with_config(text, tmp_path)
    return sides


def moved_to(sides: TwoSides, record_type: str | None, install: int = 1) -> None:
    sides.sql(
        "update crm.installs set record_type = :type, updated_at = :at where enerflo_install_id = :id",
        type=record_type,
        at=LATER,
        id=install,
    )


def remarks(report: Any, table: int = 0) -> str:
    return " ".join(report.tables[table].remarks)


def test_rows_outside_are_neither_compared_nor_counted(typed: TwoSides) -> None:
    typed.install(1)
    typed.install(2, crm_panel_count=99, crm_record_type="Roofing")
    typed.crm("installs", enerflo_install_id=3, record_type=None)
    report = typed.reconcile(NOW)
    assert typed.causes(report) == [("installs", {"enerflo_install_id": 2}, None, "policy")]
    assert (report.tables[0].crm_rows, report.tables[0].matched, report.unexplained) == (1, 1, 0)
    assert "1 of Enerflo's installs have their row of crm.installs outside where" in remarks(report)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("viewed", [False, True])
def test_a_row_that_leaves_is_not_deleted_and_one_that_comes_is_compared(
    typed: TwoSides, tmp_path: Path, full: bool, viewed: bool
) -> None:
    if viewed:
        # Of a view only hashes tell which rows changed.
        typed.sql("create view crm.shown as select * from crm.installs")
        text = typed.config.file.read_text().replace("crm_table: crm.installs", "crm_table: crm.shown")
        typed.with_config(text.replace("    updated_at: updated_at\n", ""), tmp_path)
    typed.install(1, crm_panel_count=99)
    typed.install(2)
    assert [one[2:] for one in typed.causes(typed.reconcile(NOW))] == [("panel_count", "unexplained")]
    moved_to(typed, "Roofing")
    report = typed.reconcile(LATER + timedelta(hours=1), full=full)
    assert typed.causes(report) == [("installs", {"enerflo_install_id": 1}, None, "policy")]
    assert report.tables[0].crm_rows == 1
    moved_to(typed, "Solar")
    report = typed.reconcile(LATER + timedelta(hours=2), full=full)
    assert [one[2:] for one in typed.causes(report)] == [("panel_count", "unexplained")]


def test_a_row_outside_that_is_deleted_leaves_a_missing_one(typed: TwoSides) -> None:
    typed.install(1, crm_record_type="Roofing")
    typed.install(2)
    assert typed.causes(typed.reconcile(NOW))[0][3] == "policy"
    typed.sql("delete from crm.installs where enerflo_install_id = 1")
    report = typed.reconcile(LATER)
    assert typed.causes(report) == [("installs", {"enerflo_install_id": 1}, None, "missing_in_crm")]


def test_a_row_outside_is_no_duplicate(typed: TwoSides) -> None:
    typed.install(1)
    typed.mirror("notes", note_id=7, install_id=1, body="Hi")
    for name, kind in (("a", "Solar"), ("b", "Roofing")):
        typed.crm("notes", note_id=name, enerflo_note_id=7, enerflo_install_id=1, body="Hi", record_type=kind)
    assert typed.causes(typed.reconcile(NOW)) == []


def test_a_condition_that_leaves_no_row_stops_before_anything_is_compared(typed: TwoSides) -> None:
    typed.install(1, crm_record_type="Roofing")
    with pytest.raises(ConfigurationError) as caught:
        typed.reconcile(NOW)
    assert "sync.yaml:9: tables.installs.where: found a condition that no row of crm.installs meets" in str(
        caught.value
    )
    typed.sql("delete from crm.installs")
    assert [cause for *_, cause in typed.causes(typed.reconcile(NOW))] == ["missing_in_crm"]


def test_a_changed_condition_compares_everything_again(typed: TwoSides, tmp_path: Path) -> None:
    typed.install(1)
    typed.install(2, crm_record_type="Roofing", crm_panel_count=3)
    typed.reconcile(NOW)
    text = typed.config.file.read_text().replace("in ('Solar')", "in ('Solar', 'Roofing')")
    typed.with_config(text, tmp_path)
    report = typed.reconcile(LATER)
    assert report.scope == "full"
    assert [one[2:] for one in typed.causes(report)] == [("panel_count", "unexplained")]
