"""Options of a key: their form, what they cannot be, and what the doctor says of the live column."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.options import KeyType
from tests.crm.conftest import check, load, mistakes

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  installs:
    crm_table: crm.installs
    key: {install: {enerflo: install_id, type: integer, trim: true}}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text}
"""
TABLE = """
create schema crm;
create table crm.installs (install text primary key, status text, updated_at timestamptz, uid uuid);
"""
KEY = "{enerflo: install_id, type: integer, trim: true}"


@pytest.fixture
def crm(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE)
    return warehouse


def test_a_key_has_options_beside_plain_ones(tmp_path: Path) -> None:
    mapping = load(tmp_path, CONFIG).tables_for("default")["installs"]
    assert mapping.join_columns == {"install": "install_id"}
    options = mapping.key_options("install")
    assert options is not None
    assert (options.type, options.trim, options.strip_zeros) == (KeyType.INTEGER, True, False)
    plain = load(tmp_path, CONFIG.replace(KEY, "install_id")).tables_for("default")["installs"]
    assert (plain.join_columns, plain.key_options("install")) == ({"install": "install_id"}, None)


def test_an_accounts_own_key_replaces_the_shared_one(tmp_path: Path) -> None:
    own = "{default: {tables: {installs: {key: {number: {enerflo: install_id}}}}}}"
    config = load(tmp_path, CONFIG.replace("{default: {}}", own))
    assert config.tables_for("default")["installs"].key_columns == ("number",)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            "{enerflo: install_i, type: integer}",
            "6: tables.installs.key.install.enerflo: found the column install_i, expected a column of",
        ),
        (
            "{enerflo: install_id, type: number}",
            "6: tables.installs.key.install.type: found the text 'number', expected one of text, integer",
        ),
        (
            "{enerflo: install_id, trimm: true}",
            "6: tables.installs.key.install.trimm: found the unknown option trimm, expected one of enerflo, type, trim",
        ),
        ("{type: integer}", "6: tables.installs.key.install.enerflo: found nothing, expected enerflo"),
        ("5", "6: tables.installs.key.install: found 5, expected text"),
        (
            "{enerflo: created_at, type: integer}",
            "6: tables.installs.key.install.type: found type integer for the mirror's column created_at",
        ),
        (
            "{enerflo: install_id, type: integer, fold_case: true}",
            "6: tables.installs.key.install.fold_case: found fold_case with type integer",
        ),
    ],
)
def test_a_mistake_in_a_key_is_one_problem_with_its_line(tmp_path: Path, options: str, line: str) -> None:
    (found,) = mistakes(tmp_path, CONFIG.replace(KEY, options))
    assert found.startswith(line)


@pytest.mark.parametrize(
    ("more", "option"), [("create_in: [crm, enerflo]", "create_in"), ("adopt: {name: email}", "adopt")]
)
def test_rows_that_are_taken_up_cannot_be_ignored(tmp_path: Path, more: str, option: str) -> None:
    text = f"""\
version: 1
accounts: {{default: {{}}}}
tables:
  leads:
    crm_table: crm.leads
    key: [id]
    join: {{customer: customer_id}}
    unlinked: ignore
    {more}
    fields: {{name: {{enerflo: first_name, type: text}}}}
"""
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(f"8: tables.leads.unlinked: found ignore, with {option} beside it")


def test_a_key_of_whole_numbers_needs_a_column_that_can_hold_them(crm: sa.Engine, tmp_path: Path) -> None:
    text = CONFIG.replace("{install: {", "{uid: {")
    findings = check(crm, tmp_path, text)
    assert [(one.severity, one.what) for one in findings][:1] == [("error", "tables.installs.key.uid.type")]
    assert "column uid of type uuid" in findings[0].found


def test_keys_that_become_one_are_duplicates_and_an_index_is_proposed(crm: sa.Engine, tmp_path: Path) -> None:
    rows = "insert into crm.installs (install) values ('12'), (' 012 '), ('13'), ('n/a'), ('')"
    duplicates, index = check(crm, tmp_path, CONFIG, rows)
    assert (duplicates.severity, duplicates.line) == ("warning", 6)
    assert duplicates.found == "1 value of install that more than one row has"
    assert (index.severity, index.what) == ("hint", "tables.installs.key")
    proposed = index.next_step.removeprefix("Run: ").replace("%%", "%")
    assert proposed.startswith('create index on "crm"."installs" (')
    # As it is proposed it works, and is found then.
    (again,) = check(crm, tmp_path, CONFIG, proposed)
    assert again == duplicates


def test_a_plain_key_gets_no_proposal(crm: sa.Engine, tmp_path: Path) -> None:
    assert check(crm, tmp_path, CONFIG.replace(KEY, "install_id")) == []
