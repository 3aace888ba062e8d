"""Missing rights, columns that nothing fills, and copies are told before a plan meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.doctor import Finding, Severity
from tests.crm.conftest import check

CONFIG = """\
version: 1
accounts: {default: {mode: crm}}
tables:
  installs:
    crm_table: crm."Odd % name"
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    delete_in: [crm]
    fields:
      status: {enerflo: status_name, type: text}
      panel_count: {enerflo: panel_count, type: integer}
      deal_id: {enerflo: deal_id, type: text, direction: to_enerflo}
"""
TABLE = """
create schema crm;
create table crm."Odd %% name" (id bigserial, enerflo_install_id bigint primary key, status text,
  panel_count integer, deal_id text, updated_at timestamptz);
drop role if exists clerk;
create role clerk;
grant usage on schema crm to clerk;
grant select on crm."Odd %% name" to clerk;
"""


@pytest.fixture
def clerk(warehouse: sa.Engine) -> Iterator[str]:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE, {})
    yield "clerk"
    # A role belongs to the server, and so would be there in later tests.
    with warehouse.begin() as connection:
        connection.exec_driver_sql("drop owned by clerk; drop role clerk")


def told(engine: sa.Engine, folder: Path, text: str, *statements: str, role: str = "") -> list[Finding]:
    found = check(engine, folder, text, *statements, role=role)
    return [finding for finding in found if finding.severity is Severity.WARNING]


def test_each_missing_right_comes_with_the_statement_that_gives_it(
    warehouse: sa.Engine, clerk: str, tmp_path: Path
) -> None:
    found = told(warehouse, tmp_path, CONFIG, role=clerk)
    assert [(one.what, one.found) for one in found] == [
        ("tables.installs.crm_table", "no right to update rows"),
        ("tables.installs.crm_table", "no right to insert rows"),
        ("tables.installs.delete_in", "no right to delete rows"),
        ("tables.installs.crm_table", "no right to use the sequence Odd % name_id_seq"),
    ]
    steps = [one.next_step.removeprefix("Run: ") for one in found]
    assert steps[0] == (
        'grant update ("status", "panel_count", "updated_at") on "crm"."Odd % name" to "clerk";'
    )
    # As they stand there they can be pasted, and are all that is needed.
    with warehouse.begin() as connection:
        for step in steps:
            connection.exec_driver_sql(step.replace("%", "%%"), {})
    assert told(warehouse, tmp_path, CONFIG, role=clerk) == []


def test_only_what_lacks_of_a_right_is_told(warehouse: sa.Engine, clerk: str, tmp_path: Path) -> None:
    text = CONFIG.replace("    delete_in: [crm]\n", "    create_in: []\n")
    grant = 'grant update (status, updated_at) on crm."Odd %% name" to clerk'
    (finding,) = told(warehouse, tmp_path, text, grant, role=clerk)
    assert finding.found == "no right to update rows of panel_count"


@pytest.mark.parametrize("mode", ["report", "enerflo"])
def test_a_mode_that_does_not_write_the_crm_needs_no_right_to(
    warehouse: sa.Engine, clerk: str, tmp_path: Path, mode: str
) -> None:
    assert told(warehouse, tmp_path, CONFIG.replace("mode: crm", f"mode: {mode}"), role=clerk) == []


def test_a_right_to_read_is_given_by_what_is_printed(
    warehouse: sa.Engine, clerk: str, tmp_path: Path
) -> None:
    revoke = 'revoke all on crm."Odd %% name" from clerk; revoke all on schema crm from clerk'
    (finding,) = check(warehouse, tmp_path, CONFIG, revoke, role=clerk)
    with warehouse.begin() as connection:
        connection.exec_driver_sql(finding.next_step.removeprefix("Run: ").replace("%", "%%"), {})
    assert {one.severity for one in check(warehouse, tmp_path, CONFIG, role=clerk)} <= {
        Severity.WARNING,
        Severity.HINT,
    }


def test_columns_that_a_new_row_would_not_fill_are_told(
    warehouse: sa.Engine, clerk: str, tmp_path: Path
) -> None:
    statement = (
        "alter table crm.\"Odd %% name\" add owner_id text not null, add kind text not null default 'solar',"
        " add number bigint generated always as identity"
    )
    (finding,) = told(warehouse, tmp_path, CONFIG, statement)
    assert finding.what == "tables.installs.create_in"
    assert "column owner_id, NOT NULL without a default" in finding.found
    filled = CONFIG.replace("    fields:\n", "    on_insert: {owner_id: nobody}\n    fields:\n")
    assert told(warehouse, tmp_path, filled) == []
    assert told(warehouse, tmp_path, CONFIG.replace("    delete_in: [crm]\n", "    create_in: []\n")) == []


@pytest.mark.parametrize(
    ("columns", "tool", "arrival"),
    [
        ("_fivetran_synced timestamptz, add _fivetran_deleted boolean", "Fivetran", "_fivetran_synced"),
        ("_airbyte_extracted_at timestamptz, add _airbyte_raw_id text", "Airbyte", "_airbyte_extracted_at"),
        (
            "_sdc_batched_at timestamptz, add _sdc_sequence bigint",
            "Stitch or another Singer tap",
            "_sdc_batched_at",
        ),
        ("_dlt_load_id text, add _dlt_id text", "dlt", None),
    ],
)
def test_a_copy_is_recognised_by_the_columns_of_its_tool(
    warehouse: sa.Engine, clerk: str, tmp_path: Path, columns: str, tool: str, arrival: str | None
) -> None:
    found = check(warehouse, tmp_path, CONFIG, f'alter table crm."Odd %% name" add {columns}')
    (error,) = [one for one in found if one.severity is not Severity.HINT]
    assert "a copy of the CRM's table" in error.found
    assert "write_to: changes" in error.next_step
    hints = {one.what: one.next_step for one in found if one.severity is Severity.HINT}
    assert all(f"a copy that {tool} keeps" in one.found for one in found if one.severity is Severity.HINT)
    assert (arrival is not None) == ("tables.installs.arrived_at" in hints)
    if arrival is not None:
        assert f"Write arrived_at: {arrival}" in hints["tables.installs.arrived_at"]
    assert ("tables.installs.deleted_when" in hints) == ("deleted" in columns)
    # Where it is only read, a copy is as good as any table.
    assert told(warehouse, tmp_path, CONFIG.replace("mode: crm", "mode: report")) == []


def test_our_own_tables_are_never_proposed(warehouse: sa.Engine, clerk: str, tmp_path: Path) -> None:
    for near in ("enerfl.installs", "sync.leads", "syn.plans"):
        (finding,) = check(warehouse, tmp_path, CONFIG.replace('crm."Odd % name"', near))
        assert "enerflo." not in finding.next_step
        assert "sync." not in finding.next_step


def test_where_rows_are_marked_the_mark_is_to_be_updated_and_nothing_is_deleted(
    warehouse: sa.Engine, clerk: str, tmp_path: Path
) -> None:
    marked = CONFIG.replace(
        "    delete_in: [crm]\n", "    delete_in: [crm]\n    deleted_when: {gone: true}\n"
    )
    add = 'alter table crm."Odd %% name" add gone boolean'
    found = told(warehouse, tmp_path, marked, add, role=clerk)
    assert [one.found for one in found if "right" in one.found] == [
        "no right to update rows",
        "no right to insert rows",
        "no right to use the sequence Odd % name_id_seq",
    ]
    assert '"gone"' in found[0].next_step


@pytest.mark.parametrize(("role", "hides"), [("clerk", True), ("", False)])
def test_rows_that_policies_may_hide_are_told(
    warehouse: sa.Engine, clerk: str, tmp_path: Path, role: str, hides: bool
) -> None:
    secured = 'alter table crm."Odd % name" enable row level security'.replace("%", "%%")
    found = told(warehouse, tmp_path, CONFIG.replace("mode: crm", "mode: report"), secured, role=role)
    assert [(one.what, one.line) for one in found] == ([("tables.installs.crm_table", 5)] if hides else [])
    if hides:
        assert found[0].found.startswith("row-level security of crm.Odd % name that applies to")
        assert "counts as missing" in found[0].next_step
