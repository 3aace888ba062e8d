"""A CRM row that is marked as deleted counts as a row that is not there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.reconcile.conftest import NOW, TwoSides

MARKS = "deleted_when: {is_deleted: true, deleted_at: not_null, stage: gone}"


@pytest.fixture
def marked(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Both sides, with CRM tables that mark their deleted rows in one of three ways."""
    for table in ("installs", "milestones", "notes"):
        sides.sql(
            f"alter table crm.{table} add is_deleted boolean, add deleted_at timestamptz, add stage text"
        )
    text = sides.config.file.read_text().replace(
        "    updated_at: updated_at\n", f"    updated_at: updated_at\n    {MARKS}\n"
    )
    sides.with_config(text, tmp_path)
    return sides


@pytest.mark.parametrize(
    ("mark", "gone"),
    [
        ({"is_deleted": True}, True),
        ({"deleted_at": NOW}, True),
        ({"stage": "gone"}, True),
        ({"is_deleted": False, "stage": "Gone"}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize("full", [True, False])
def test_any_of_the_marks_makes_a_row_one_that_is_not_there(
    marked: TwoSides, mark: dict[str, object], gone: bool, full: bool
) -> None:
    marked.install(1, crm_panel_count=99)
    marked.install(2)
    assert len(marked.causes(marked.reconcile(NOW))) == 1
    later = NOW + timedelta(hours=2)
    for column, value in mark.items():
        marked.sql(
            f"update crm.installs set {column} = :value, updated_at = :at where enerflo_install_id = 1",
            value=value,
            at=later,
        )
    report = marked.reconcile(later + timedelta(hours=1), full=full)
    expected = (None, "deleted_in_crm") if gone else ("panel_count", "unexplained")
    assert marked.causes(report) == [("installs", {"enerflo_install_id": 1}, *expected)]
    assert report.tables[0].crm_rows == (1 if gone else 2)


def test_a_row_that_is_restored_is_compared_again(marked: TwoSides) -> None:
    marked.install(1, crm_panel_count=99, crm_is_deleted=True)
    assert marked.causes(marked.reconcile(NOW))[0][3] == "deleted_in_crm"
    later = NOW + timedelta(hours=2)
    marked.sql("update crm.installs set is_deleted = false, updated_at = :at", at=later)
    report = marked.reconcile(later + timedelta(hours=1))
    assert [(field, cause) for *_, field, cause in marked.causes(report)] == [("panel_count", "unexplained")]


@pytest.mark.parametrize("full", [True, False])
def test_a_marked_row_is_no_duplicate_of_a_living_one(marked: TwoSides, full: bool) -> None:
    marked.install(1)
    marked.mirror("notes", note_id=7, install_id=1, body="Hi")
    marked.crm("notes", note_id="old", enerflo_note_id=7, enerflo_install_id=1, body="?", is_deleted=True)
    marked.reconcile(NOW)
    marked.crm("notes", note_id="new", enerflo_note_id=7, enerflo_install_id=1, body="Hi", updated_at=NOW)
    assert marked.causes(marked.reconcile(NOW + timedelta(hours=1), full=full)) == []
    marked.sql(
        "update crm.notes set is_deleted = false, updated_at = :at where note_id = 'old'",
        at=NOW + timedelta(hours=2),
    )
    report = marked.reconcile(NOW + timedelta(hours=2), full=full)
    assert marked.causes(report) == [("notes", {"enerflo_note_id": 7}, None, "duplicate_identity")]


def test_a_marked_row_that_enerflo_does_not_have_is_nothing(marked: TwoSides) -> None:
    marked.crm("installs", enerflo_install_id=1, is_deleted=True)
    report = marked.reconcile(NOW)
    assert (report.differences, report.tables[0].crm_rows) == (0, 0)
