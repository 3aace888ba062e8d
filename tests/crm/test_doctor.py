"""The doctor compares the mapping with the live tables, names the line and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.doctor import Severity
from tests.crm.conftest import check

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text}
      panel_count: {enerflo: panel_count, type: integer}
"""
TABLE = """
create schema crm;
create table crm.installs (enerflo_install_id bigint primary key, status text, panel_count integer,
  updated_at timestamptz);
create index on crm.installs (updated_at);
"""


@pytest.fixture
def crm(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE)
    return warehouse


def test_a_mapping_that_fits_gives_nothing(crm: sa.Engine, tmp_path: Path) -> None:
    assert check(crm, tmp_path, CONFIG) == []


@pytest.mark.parametrize(
    ("statement", "severity", "line", "found", "step"),
    [
        (
            "alter table crm.installs rename to instals",
            "error",
            5,
            "no table crm.installs",
            "mean crm.instals?",
        ),
        ("alter table crm.installs rename status to phase", "error", 9, "no column status", "Write a column"),
        (
            "alter table crm.installs rename panel_count to panel_cnt",
            "error",
            10,
            "no column",
            "mean panel_cnt?",
        ),
        (
            "alter table crm.installs rename enerflo_install_id to id",
            "error",
            6,
            "no column enerflo_install_id",
            "",
        ),
        (
            "alter table crm.installs rename updated_at to updated",
            "error",
            7,
            "no column updated_at",
            "mean updated?",
        ),
        (
            "alter table crm.installs alter panel_count type date using null",
            "error",
            10,
            "column panel_count of type date",
            "Change the declared type",
        ),
        (
            "alter table crm.installs alter updated_at type text",
            "warning",
            7,
            "column updated_at of type text",
            "not used until then",
        ),
        (
            "alter table crm.installs drop constraint installs_pkey;"
            " insert into crm.installs values (1), (1), (2), (2), (3)",
            "warning",
            6,
            "2 values of enerflo_install_id that more than one row has",
            "duplicate_identity",
        ),
    ],
)
def test_a_mismatch_is_named_with_line_and_next_step(
    crm: sa.Engine, tmp_path: Path, statement: str, severity: str, line: int, found: str, step: str
) -> None:
    (finding,) = check(crm, tmp_path, CONFIG, statement)
    assert (finding.severity, finding.file, finding.line) == (severity, "sync.yaml", line)
    assert found in finding.found
    assert step in finding.next_step


@pytest.mark.parametrize("table", ["enerflo.installs", "sync.crm_changes", "crm_copies.mine"])
def test_a_table_of_our_own_is_no_crm_table(crm: sa.Engine, tmp_path: Path, table: str) -> None:
    (finding,) = check(crm, tmp_path, CONFIG.replace("crm_table: crm.installs", f"crm_table: {table}"))
    assert (finding.severity, finding.line, finding.what) == (Severity.ERROR, 5, "tables.installs.crm_table")
    assert finding.found == f"{table}, a table of enerflo-sync itself"
    assert finding.expected == "a table outside of the schemas enerflo, sync, crm_copies"


def test_a_key_without_an_index_that_holds_no_duplicates_is_fine(crm: sa.Engine, tmp_path: Path) -> None:
    drop = "alter table crm.installs drop constraint installs_pkey"
    assert check(crm, tmp_path, CONFIG, drop, "insert into crm.installs values (1), (2)") == []


def test_a_mapping_without_updated_at_is_told_what_that_costs(crm: sa.Engine, tmp_path: Path) -> None:
    (finding,) = check(crm, tmp_path, CONFIG.replace("    updated_at: updated_at\n", ""))
    assert (finding.severity, finding.line) == (Severity.HINT, 4)
    assert "no field may have newest" in finding.next_step


@pytest.mark.parametrize("option", ["updated_at_set_at_commit: true", "arrived_at: arrived"])
def test_a_column_by_which_changed_rows_are_found_wants_an_index(
    crm: sa.Engine, tmp_path: Path, option: str
) -> None:
    text = CONFIG.replace("    fields:\n", f"    {option}\n    fields:\n")
    statements = (
        "alter table crm.installs add arrived timestamptz",
        "drop index crm.installs_updated_at_idx",
    )
    (finding,) = check(crm, tmp_path, text, *statements)
    name, line = ("arrived", 8) if "arrived" in option else ("updated_at", 7)
    assert (finding.severity, finding.line) == (Severity.HINT, line)
    assert finding.found == f"no index on {name}"
    assert 'create index on "crm"' in finding.next_step


def test_a_column_of_arrival_is_there_and_is_a_time(crm: sa.Engine, tmp_path: Path) -> None:
    text = CONFIG.replace("    fields:\n", "    arrived_at: arrived\n    fields:\n")
    (finding,) = check(crm, tmp_path, text)
    assert (finding.severity, finding.line, finding.found) == (
        Severity.ERROR,
        8,
        "no column arrived in crm.installs",
    )


def test_missing_rights_come_with_the_grant_that_helps(crm: sa.Engine, tmp_path: Path) -> None:
    (finding,) = check(crm, tmp_path, CONFIG, role="pg_monitor")
    assert finding.found == "no right to read crm.installs"
    for grant in (
        'grant usage on schema "crm" to "pg_monitor";',
        'grant select on "crm"."installs" to "pg_monitor";',
    ):
        assert grant in finding.next_step
    grants = (
        "grant usage on schema crm to pg_monitor",
        "grant select (enerflo_install_id) on crm.installs to pg_monitor",
    )
    found = check(crm, tmp_path, CONFIG, *grants, role="pg_monitor")
    assert {finding.found for finding in found} == {
        "no right to read status",
        "no right to read panel_count",
        "no right to read updated_at",
    }


def test_a_status_that_the_company_lacks_is_told_the_nearest(crm: sa.Engine, tmp_path: Path) -> None:
    insert = (
        "insert into enerflo.install_statuses (account, status_id, name, observed_at, observed_by) values"
        " ('default', 4, 'On Hold', now(), 'poll'), ('default', 9, 'Voided ', now(), 'poll'),"
        " ('default', 8, 'Complete', now(), 'poll')"
    )
    (finding,) = check(crm, tmp_path, CONFIG, insert)
    assert (finding.severity, finding.what) == (Severity.WARNING, "statuses.completed")
    assert "Did you mean Complete?" in finding.next_step


def test_views_domains_and_enumerations_can_be_mapped(crm: sa.Engine, tmp_path: Path) -> None:
    statements = (
        "create type crm.state as enum ('a', 'b')",
        "create domain crm.amount as integer",
        "create domain crm.small as crm.amount",
        "create view crm.v as select enerflo_install_id, status::crm.state as status,"
        " panel_count::crm.small as panel_count, updated_at from crm.installs",
    )
    assert check(crm, tmp_path, CONFIG.replace("crm.installs", "crm.v"), *statements) == []


@pytest.mark.parametrize(
    ("marks", "found"),
    [
        ("{gone: true, gone_at: not_null, phase: deleted, number: 1}", None),
        ("{isDeleted: true}", "no column isDeleted in crm.installs"),
        ("{gone_at: true}", "column gone_at of type timestamp with time zone for the value true"),
        ("{gone: 1}", "column gone of type boolean for the value 1"),
        ("{number: yes}", 'column number of type integer for the value "yes"'),
    ],
)
def test_columns_that_mark_a_row_as_deleted_are_there_and_can_hold_the_mark(
    crm: sa.Engine, tmp_path: Path, marks: str, found: str | None
) -> None:
    text = CONFIG.replace("    fields:\n", f"    deleted_when: {marks}\n    fields:\n")
    columns = "gone boolean, add gone_at timestamptz, add phase text, add number integer"
    findings = check(crm, tmp_path, text, f"alter table crm.installs add {columns}")
    assert [(one.severity, one.line, one.found) for one in findings] == (
        [] if found is None else [(Severity.ERROR, 8, found)]
    )


@pytest.mark.parametrize(
    ("kind", "values", "found"),
    [
        (
            "timestamptz",
            "'1970-01-01 00:00+00'",
            "1 row that counts as deleted by a time before 1971 or of the future",
        ),
        ("timestamp", "'9999-12-31'", "1 row that counts as deleted by a time before 1971 or of the future"),
        ("date", "'infinity'", "1 row that counts as deleted by a time before 1971 or of the future"),
        ("date", "'2024-02-29'", None),
        ("bigint", "0", "1 row that counts as deleted by the number 0"),
        ("bigint", "1700000000", None),
        *(
            ("text", value, "1 row that counts as deleted by a text that says none, as an empty one or false")
            for value in ("' '", "'False'", "'no '", "'0'", "'N/A'", "'-'", "'1970-01-01T00:00:00Z'")
        ),
        ("text", "'2024-02-29'", None),
        ("text", "'not any more'", None),
        ("text", "'yes'", None),
        ("boolean", "false", "1 row that counts as deleted by false"),
        ("boolean", "true", None),
        ("timestamptz", "null", None),
    ],
)
def test_rows_that_count_as_deleted_by_a_value_that_says_none_are_told(
    crm: sa.Engine, tmp_path: Path, kind: str, values: str, found: str | None
) -> None:
    text = CONFIG.replace("    fields:\n", "    deleted_when: {gone: not_null}\n    fields:\n")
    findings = check(
        crm,
        tmp_path,
        text,
        f"alter table crm.installs add gone {kind}",
        f"insert into crm.installs (enerflo_install_id, gone) values (1, {values}), (2, null)",
    )
    assert [(one.severity, one.line, one.found) for one in findings] == (
        [] if found is None else [(Severity.WARNING, 8, found)]
    )


@pytest.mark.parametrize(
    ("mark", "found"),
    [
        ("false", "30 records that count as deleted, and 5 that live"),
        ("true", None),
    ],
)
def test_marks_that_are_turned_around_are_told(
    crm: sa.Engine, tmp_path: Path, mark: str, found: str | None
) -> None:
    text = CONFIG.replace("    fields:\n", f"    deleted_when: {{gone: {mark}}}\n    fields:\n")
    findings = check(
        crm,
        tmp_path,
        text,
        "alter table crm.installs add gone boolean",
        "insert into crm.installs (enerflo_install_id, gone) select n, n > 30 from generate_series(1, 35) n",
    )
    assert [(one.severity, one.line, one.found) for one in findings] == (
        [] if found is None else [(Severity.WARNING, 8, found)]
    )


def test_former_versions_that_a_copy_keeps_as_deleted_rows_are_no_sign_of_that(
    crm: sa.Engine, tmp_path: Path
) -> None:
    text = CONFIG.replace("    fields:\n", "    deleted_when: {gone: true}\n    fields:\n")
    findings = check(
        crm,
        tmp_path,
        text,
        "alter table crm.installs add gone boolean, drop constraint installs_pkey",
        "create index on crm.installs (enerflo_install_id)",
        "insert into crm.installs (enerflo_install_id, gone)"
        " select n, version < 3 from generate_series(1, 35) n, generate_series(1, 3) version",
    )
    assert [one.found for one in findings if "count as deleted" in one.found] == []


def test_a_day_as_the_time_of_the_last_change_is_a_hint_where_the_later_side_wins(
    crm: sa.Engine, tmp_path: Path
) -> None:
    a_day = "alter table crm.installs alter updated_at type date"
    assert check(crm, tmp_path, CONFIG, a_day) == []
    newest = CONFIG.replace("status_name, type: text}", "status_name, type: text, source_of_truth: newest}")
    (found,) = check(crm, tmp_path, newest)
    assert (found.severity, found.found) == (Severity.HINT, "column updated_at of type date")
