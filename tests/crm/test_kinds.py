"""Tables of sync.yaml have names of their own, and are of kinds that the resources declare."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES, RecordKind
from enerflo_sync.resources.registry import ALL
from tests.crm.conftest import check, load, mistakes

TEXT = """version: 1
accounts:
  default: {}
  second:
    tables:
      permits: {crm_table: west.permits, fields: {due_at: null}}
columns:
  milestones:
    inspector: {path: inspector.name, type: text, personal_data: name}
tables:
  permits:
    of: milestones
    crm_table: crm.permits
    key: {install_id: install_id, permit_id: milestone_id}
    fields:
      due_at: {enerflo: due_at, type: timestamp}
      inspector: {enerflo: inspector, type: text}
  commercial:
    of: installs
    crm_table: crm.commercial
    key: {id: install_id}
    fields: {status: {enerflo: status_name, type: text}}
  milestones:
    crm_table: crm.milestones
    key: {install_id: install_id, milestone_id: milestone_id}
    fields: {due_at: {enerflo: due_at, type: timestamp}}
  residential:
    of: installs
    crm_table: crm.residential
    key: {id: install_id}
    fields: {status: {enerflo: status_name, type: text}}
"""


def test_kinds_are_what_the_resources_declare() -> None:
    declared = {part.crm_table for one in ALL for part in one.parts if part.crm_table}
    assert set(MIRROR_TABLES) == declared
    assert set(map(str, RecordKind)) <= declared


def test_several_tables_are_of_one_kind_in_the_order_of_kinds_and_of_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, TEXT)
    tables = config.tables_for("default")
    assert list(tables) == ["commercial", "residential", "permits", "milestones"]
    assert config.tables_of("default", "installs") == ["commercial", "residential"]
    assert config.tables_of("default", "milestones") == ["permits", "milestones"]
    assert config.tables_of("default", "notes") == []
    # Declared columns are of the kind: whichever table names one masks it as declared.
    assert tables["permits"].personal_kinds["inspector"] == "name"


def test_an_account_overrides_a_table_by_its_name(tmp_path: Path) -> None:
    found = load(tmp_path, TEXT).tables_for("second")["permits"]
    assert (found.crm_table, found.kind("permits"), list(found.fields)) == (
        "west.permits",
        "milestones",
        ["inspector"],
    )


def test_the_kind_that_a_name_says_anyway_changes_no_hash(tmp_path: Path) -> None:
    config = load(tmp_path, TEXT)
    said = load(
        tmp_path, TEXT.replace("crm_table: crm.milestones", "of: milestones\n    crm_table: crm.milestones")
    )
    other = load(tmp_path, TEXT.replace("  permits:", "  inspections:"))
    assert said.hash("default") == config.hash("default") != other.hash("default")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "    of: milestones\n    crm_table: crm.permits",
            "    crm_table: crm.permits",
            "11: tables.permits: found the table permits, of which nothing says of what kind it is",
        ),
        (
            "    of: milestones\n    crm_table: crm.permits",
            "    crm_table: crm.permits",
            "one of leads, installs, milestones, notes, change_orders",
        ),
        ("of: milestones", "of: milestone", "12: tables.permits.of: found the text 'milestone'"),
        ("of: milestones", "of: milestone", "did you mean milestones?"),
        ("  milestones:\n    crm_table", "  milstones:\n    crm_table", "did you mean milestones?"),
        ("  commercial:", "  Commercial:", "18: tables.Commercial: found the table name 'Commercial'"),
        ("  commercial:", f"  {'c' * 42}:", "small letters, digits or _, 41 at most"),
        (
            "      permits: {crm_table: west.permits, ",
            "      permit: {mode: crm, ",
            "6: accounts.second.tables.permit: found the table permit, which tables does not have",
        ),
        ("      permits: {crm_table: west.permits, ", "      permit: {mode: crm, ", "did you mean permits?"),
        (
            "columns:\n  milestones:",
            "columns:\n  permits:",
            "8: columns.permits: found the text 'permits', expected one of leads",
        ),
        ("enerflo: inspector,", "enerflo: inspectr,", "found the column inspectr"),
    ],
)
def test_a_mistake_about_kinds_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in TEXT
    found = mistakes(tmp_path, TEXT.replace(old, new, 1))
    assert any(expected in line for line in found), found


def test_the_doctor_looks_at_each_table_under_its_name(warehouse: sa.Engine, tmp_path: Path) -> None:
    findings = check(
        warehouse,
        tmp_path,
        TEXT,
        "create schema crm",
        "create table crm.residential (id bigint primary key, status text)",
        "create table crm.commercial (id bigint primary key, state text)",
        "create table crm.milestones (install_id bigint, milestone_id bigint, due_at timestamptz)",
    )
    errors = {finding.what: finding.found for finding in findings if finding.severity == "error"}
    assert errors == {
        "tables.permits.crm_table": "no table crm.permits in the database",
        "tables.commercial.fields.status": "no column status in crm.commercial",
    }
