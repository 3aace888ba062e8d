"""``where`` is a condition that the same row always meets or fails; anything else is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.crm.conftest import check, load, mistakes

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  installs:
    crm_table: salesforce."Opportunity"
    key: {Enerflo_Install_Id__c: install_id}
    updated_at: SystemModstamp
    where: "CONDITION"
    fields:
      StageName: {enerflo: status_name, type: text}
"""
TABLE = """
create schema salesforce;
create table salesforce."Opportunity" ("Id" text primary key, "Enerflo_Install_Id__c" bigint unique,
  "RecordTypeName" text, "StageName" text, "CloseDate" date, "SystemModstamp" timestamptz, secret text);
insert into salesforce."Opportunity" ("Id", "Enerflo_Install_Id__c", "RecordTypeName")
  values ('a', 1, 'Solar'), ('b', 2, 'Roofing'), ('c', 3, null);
create function salesforce.today() returns date stable language sql as 'select current_date';
"""
SOLAR = "\\\"RecordTypeName\\\" = 'Solar'"


@pytest.fixture
def crm(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE)
    return warehouse


def config(condition: str) -> str:
    return CONFIG.replace("CONDITION", condition)


def test_a_condition_over_the_tables_columns_is_fine(crm: sa.Engine, tmp_path: Path) -> None:
    assert check(crm, tmp_path, config(SOLAR)) == []
    text = "(\\\"RecordTypeName\\\" like 'So%' or \\\"Id\\\" in ('x; --', 'select')) and lower(\\\"Id\\\") <> 'z'"
    assert check(crm, tmp_path, config(text)) == []


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("", "nothing"),
        ("true) or (true", "a closing parenthesis"),
        ("(true", "a parenthesis that nothing closes"),
        ("true; drop table x", "the character ;"),
        ("true -- all", "a comment"),
        ("true /* all */", "a comment"),
        ('\\"Id\\" = $$a$$', "the character $"),
        ('\\"Id\\" in (select id from other)', "a query (select)"),
        ('\\"CloseDate\\" > current_date', "current_date"),
        ('\\"SystemModstamp\\" > NOW()', "now()"),
        ("\\\"CloseDate\\\" > ' Today '", "' Today '"),
        ('\\"Id\\" = \'a', "the character '"),
    ],
)
def test_words_that_make_no_condition_are_refused_as_the_file_is_read(
    tmp_path: Path, condition: str, found: str
) -> None:
    (line,) = mistakes(tmp_path, config(condition))
    assert line.startswith("8: tables.installs.where: found ")
    assert found in line


@pytest.mark.parametrize(
    ("condition", "found", "step"),
    [
        ("RecordTypeName = 'Solar'", 'column "recordtypename" does not exist', 'quotes: "RecordTypeName"'),
        ("\\\"RecordTypName\\\" = 'Solar'", 'column "RecordTypName" does not exist', "mean RecordTypeName?"),
        ('\\"RecordTypeName\\"', "must be type boolean", "Correct the condition"),
        ('\\"RecordTypeName\\" = ', "syntax error", "Correct the condition"),
        ("\\\"CloseDate\\\" = 'Solar'", "invalid input syntax for type date", "Correct the condition"),
        ("count(*) > 1", "aggregate functions are not allowed", "Correct the condition"),
        ("random() < 0.5", "random(), a function that may say something else", "Correct"),
        ('\\"CloseDate\\" > salesforce.today()', "today(), a function that may say", "Correct"),
        ("xmin is not null", 'column "xmin" does not exist', "The table has"),
    ],
)
def test_what_the_database_takes_for_no_condition_is_an_error_with_its_line(
    crm: sa.Engine, tmp_path: Path, condition: str, found: str, step: str
) -> None:
    (finding,) = check(crm, tmp_path, config(condition))
    assert (finding.severity, finding.line, finding.what) == ("error", 8, "tables.installs.where")
    assert found in finding.found
    assert step in finding.next_step


def test_a_condition_that_excludes_every_row_is_an_error(crm: sa.Engine, tmp_path: Path) -> None:
    (finding,) = check(crm, tmp_path, config("\\\"RecordTypeName\\\" = 'Wind'"))
    assert (finding.severity, finding.line) == ("error", 8)
    assert "no row of salesforce.Opportunity meets" in finding.found
    # A table without rows excludes none.
    empty = 'delete from salesforce."Opportunity"'
    assert check(crm, tmp_path, config("\\\"RecordTypeName\\\" = 'Wind'"), empty) == []


def test_a_condition_may_exclude_every_row_where_each_belongs_to_another_account(
    crm: sa.Engine, tmp_path: Path
) -> None:
    wind = "\\\"RecordTypeName\\\" = 'Wind'"
    others = " or ".join(f'\\"RecordTypeName\\" {same}' for same in ("= 'Solar'", "= 'Roofing'", "is null"))
    other = f'other: {{tables: {{installs: {{where: "{others}"}}}}}}'
    text = config(wind).replace("accounts: {default: {}}", f"accounts: {{default: {{}}, {other}}}")
    assert check(crm, tmp_path, text) == []
    (finding,) = check(crm, tmp_path, text.replace("'Roofing'", "'Roof'"))
    assert "no row of salesforce.Opportunity meets" in finding.found


def test_columns_that_nothing_fills_in_a_new_row_are_named(crm: sa.Engine, tmp_path: Path) -> None:
    text = config(SOLAR).replace("accounts: {default: {}}", "accounts: {default: {mode: crm}}")
    (finding,) = [one for one in check(crm, tmp_path, text) if one.what.endswith(".where")]
    assert (finding.severity, finding.line) == ("warning", 8)
    assert finding.found == "RecordTypeName, which nothing fills in a new row"
    filled = text.replace("    fields:", "    on_insert: {RecordTypeName: Solar}\n    fields:")
    # The table's own key has no default and no value in a new row: that is another finding.
    assert [one.what for one in check(crm, tmp_path, filled)] == ["tables.installs.create_in"]


@pytest.mark.parametrize(("theirs", "said"), [("", "is not parted"), (SOLAR, "has the same where")])
def test_two_accounts_that_read_the_same_rows_are_told(
    crm: sa.Engine, tmp_path: Path, theirs: str, said: str
) -> None:
    where = f', where: "{theirs}"' if theirs else ", where: null"
    other = f"other: {{tables: {{installs: {{crm_table: 'salesforce.\"Opportunity\"'{where}}}}}}}"
    text = config(SOLAR).replace("accounts: {default: {}}", f"accounts: {{default: {{}}, {other}}}")
    (finding,) = check(crm, tmp_path, text)
    assert (finding.severity, finding.line) == ("warning", 8)
    assert "which installs of account other reads as well" in finding.found
    assert said in finding.found
    parted = text.replace(where, ', where: "\\"RecordTypeName\\" is distinct from \'Solar\'"')
    assert check(crm, tmp_path, parted) == []


@pytest.mark.parametrize(
    ("theirs", "rows"),
    [
        ('\\"RecordTypeName\\" is not null', "1 row of"),
        ("\\\"RecordTypeName\\\" <> 'Roofing'", "1 row of"),
        ("\\\"RecordTypeName\\\" <> 'Solar'", ""),
        ("missing = 1", ""),
    ],
)
def test_two_accounts_whose_conditions_some_rows_both_meet_are_told(
    crm: sa.Engine, tmp_path: Path, theirs: str, rows: str
) -> None:
    other = f'other: {{tables: {{installs: {{crm_table: \'salesforce."Opportunity"\', where: "{theirs}"}}}}}}'
    text = config(SOLAR).replace("accounts: {default: {}}", f"accounts: {{default: {{}}, {other}}}")
    found = [one for one in check(crm, tmp_path, text) if one.severity != "hint"]
    assert [(one.severity, one.line) for one in found] == ([("warning", 8)] if rows else [])
    for one in found:
        assert one.found.startswith(rows)
        assert one.found.endswith("that also meet the where of installs of account other")


def test_two_accounts_that_have_the_same_records_are_told_before_one_makes_rows_for_the_other(
    crm: sa.Engine, tmp_path: Path
) -> None:
    roofing = "\\\"RecordTypeName\\\" = 'Roofing'"
    other = f'other: {{tables: {{installs: {{where: "{roofing}"}}}}}}'
    text = config(SOLAR).replace("accounts: {default: {}}", f"accounts: {{default: {{mode: crm}}, {other}}}")
    text = text.replace(
        "    fields:", "    on_insert: {RecordTypeName: Solar, Id: '{install_id}'}\n    fields:"
    )
    installs = (
        "insert into enerflo.installs (account, install_id, observed_at, observed_by)"
        " select unnest(array[{}]), 4, now(), 'poll'"
    )
    assert [
        one for one in check(crm, tmp_path, text, installs.format("'default'")) if "records" in one.found
    ] == []
    found = check(crm, tmp_path, text, installs.format("'other'"))
    (told,) = [one for one in found if "of Enerflo that" in one.found]
    assert (told.severity, told.line) == ("warning", 8)
    assert told.found == "1 record of Enerflo that installs of account other has, too"
    made_elsewhere = text.replace("    on_insert", "    create_in: []\n    on_insert")
    assert [one for one in check(crm, tmp_path, made_elsewhere) if "records" in one.found] == []


def test_where_decides_the_mapping_and_its_absence_changes_no_digest(tmp_path: Path) -> None:
    plain = load(tmp_path, config(SOLAR).replace(f'    where: "{SOLAR}"\n', ""))
    before = plain.hash("default")
    assert "where" not in plain.tables_for("default")["installs"].content("installs")
    assert load(tmp_path, config(SOLAR)).hash("default") != before
    unlinked = config(SOLAR).replace(f'    where: "{SOLAR}"\n', "    unlinked: ignore\n")
    assert load(tmp_path, unlinked).hash("default") != before


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ("\\\"RecordTypeName\\\" = 'Roofing'", "1 row of"),
        # The row without a record type neither meets this condition nor fails it.
        ("\\\"RecordTypeName\\\" <> 'Solar'", "1 row of"),
        ("\\\"RecordTypeName\\\" is distinct from 'Solar'", ""),
        ("", ""),
    ],
)
def test_rows_of_a_shared_table_that_nobody_has_are_told(
    crm: sa.Engine, tmp_path: Path, theirs: str, said: str
) -> None:
    where = f'where: "{theirs}"' if theirs else "where: null"
    other = f"other: {{tables: {{installs: {{{where}}}}}}}"
    text = config(SOLAR).replace("accounts: {default: {}}", f"accounts: {{default: {{}}, {other}}}")
    found = [one for one in check(crm, tmp_path, text) if "outside the where of each table" in one.found]
    assert [(one.severity, one.line) for one in found] == ([("hint", 8)] if said else [])
    for one in found:
        assert one.found.startswith(said)
        assert one.found.endswith("1 of them since a column of the condition is empty")
    # Deleted rows and those of a table that nobody shares are not looked at.
    gone = text.replace("    where:", "    deleted_when: {Id: c}\n    where:", 1)
    assert not [one for one in check(crm, tmp_path, gone) if "of no table" in one.found]
    assert not [one for one in check(crm, tmp_path, config(SOLAR)) if "of no table" in one.found]
