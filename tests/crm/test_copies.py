"""Tables that are copies are recognised, and what ``write_to`` says of them is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.copies import copy_columns
from enerflo_sync.crm.doctor import Finding, Severity
from tests.crm.conftest import check, load, mistakes

CONFIG = """\
version: 1
accounts: {default: {mode: crm}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    fields:
      status: {enerflo: status_name, type: text}
"""
TABLE = """
create schema crm;
create table crm.installs (enerflo_install_id bigint primary key, status text, _sdc_batched_at timestamptz,
  _sdc_received_at timestamptz);
create table crm.outbox (change_id text, op text, key jsonb, "column" text, after jsonb);
create table crm.outbax (change_id text, op text);
create view crm.fixed as select distinct * from crm.outbox;
"""


def written(to: str) -> str:
    return CONFIG.replace("    key:", f"    write_to: {to}\n    key:")


def told(engine: sa.Engine, folder: Path, text: str) -> list[Finding]:
    found = check(engine, folder, text, TABLE)
    return [finding for finding in found if finding.severity is not Severity.HINT]


def test_the_columns_of_copy_tools_are_recognised_and_no_others() -> None:
    columns = ["_fivetran_synced", "_airbyte_raw_id", "_SDC_BATCHED_AT", "_dlt_load_id", "__hevo__loaded_at"]
    assert copy_columns([*columns, "updated_at", "fivetran_synced", "_sdc", "_version"]) == columns


@pytest.mark.parametrize(("mode", "severity"), [("crm", Severity.ERROR), ("report", Severity.HINT)])
def test_a_copy_of_which_nothing_is_declared_is_told(
    warehouse: sa.Engine, tmp_path: Path, mode: str, severity: Severity
) -> None:
    text = CONFIG.replace("mode: crm", f"mode: {mode}")
    found = check(warehouse, tmp_path, text, TABLE)
    (finding,) = [one for one in found if one.what == "tables.installs.crm_table"]
    assert (finding.severity, finding.what, finding.line) == (severity, "tables.installs.crm_table", 5)
    assert finding.found == "_sdc_batched_at, _sdc_received_at in crm.installs: a copy of the CRM's table"
    assert "write_to: changes" in finding.next_step
    assert "write_to: table" in finding.next_step


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("times", "stopped"),
    [
        (["now() - interval '3 days'", "'infinity'", "now() + interval '1 hour'", "null"], True),
        (["now() - interval '3 days'", "now() - interval '1 hour'"], False),
        (["'-infinity'", "null"], False),
        ([], False),
    ],
)
def test_a_copy_that_stopped_arriving_is_told(
    warehouse: sa.Engine, tmp_path: Path, declared: bool, times: list[str], stopped: bool
) -> None:
    text = written("changes")
    if declared:
        text = text.replace("    key:", "    arrived_at: _sdc_batched_at\n    key:")
    rows = [
        f"insert into crm.installs values ({number}, 'New', {time})"
        for number, time in enumerate([*times, "null"])
    ]
    found = [
        one for one in check(warehouse, tmp_path, text, TABLE, *rows) if one.severity is Severity.WARNING
    ]
    assert bool(found) is stopped
    if stopped:
        what, line = ("arrived_at", 7) if declared else ("crm_table", 5)
        assert (found[0].what, found[0].line) == (f"tables.installs.{what}", line)
        assert found[0].found.startswith("no row of crm.installs that arrived since ")
        assert found[0].next_step.endswith("nothing changed in the CRM for 3 days.")


@pytest.mark.parametrize("to", ["table", "changes", "{changes: crm.outbox}", "{late_hours: 48}"])
def test_what_is_declared_of_a_copy_is_taken(warehouse: sa.Engine, tmp_path: Path, to: str) -> None:
    assert told(warehouse, tmp_path, written(to)) == []


@pytest.mark.parametrize(
    ("to", "found", "step"),
    [
        ("crm.outbix", "no table crm.outbix in the database", "Did you mean crm.outb"),
        ("crm.outbax", "no column key, column, after in crm.outbax", "Add them"),
        ("crm.fixed", "crm.fixed, which takes no rows", "Map a table"),
    ],
)
def test_a_table_that_cannot_take_changes_is_told(
    warehouse: sa.Engine, tmp_path: Path, to: str, found: str, step: str
) -> None:
    (finding,) = told(warehouse, tmp_path, written(f"{{changes: {to}}}"))
    assert (finding.severity, finding.what) == (Severity.ERROR, "tables.installs.write_to.changes")
    assert finding.found == found
    assert finding.next_step.startswith(step)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (
            "copy",
            "6: tables.installs.write_to: found the text 'copy', expected one of table, changes, salesforce or a map of options",
        ),
        ("{changes: outbox}", "6: tables.installs.write_to.changes: found the text 'outbox'"),
        ("{changes: crm.installs}", "expected another table than the copy"),
        ("{late_hours: 0}", "tables.installs.write_to.late_hours"),
        ("{change: crm.outbox}", "found the unknown option change"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, to: str, expected: str) -> None:
    found = mistakes(tmp_path, written(to))
    assert any(expected in line for line in found), found


def test_that_a_table_is_written_itself_changes_no_hash_and_that_it_is_not_does(tmp_path: Path) -> None:
    plain = load(tmp_path, CONFIG).hash("default")
    hashes = [load(tmp_path, written(to)).hash("default") for to in ("table", "changes", "{changes: crm.o}")]
    assert hashes[0] == plain
    assert len({plain, *hashes}) == 3
    assert load(tmp_path, written("{changes: sync.crm_changes}")).hash("default") == hashes[1]
