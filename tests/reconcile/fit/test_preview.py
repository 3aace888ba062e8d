"""The doctor's preview of a warehouse that is untidy on purpose: what meets, what would, and what each hint is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.crm.doctor import Severity
from enerflo_sync.reconcile.fit.preview import TableFit, table_fits
from enerflo_sync.reconcile.report import Cause
from tests.reconcile.conftest import TwoSides

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  installs:
    crm_table: salesforce."Opportunity"
    key: {Enerflo_Id__c: install_id}
    updated_at: LastModifiedDate
    fields:
      Name:
        {enerflo: customer_name, type: text}
      StageName:
        {enerflo: status_name, type: text, source_of_truth: enerflo}
      Size__c: {enerflo: system_size_kw, type: number}
      Panels__c: {enerflo: panel_count, type: integer}
      Amount: {enerflo: contract_amount, type: number}
      Battery__c: {enerflo: battery_configuration, type: text}
      Panel__c: {enerflo: panel_type, type: text}
      Created__c: {enerflo: created_at, type: timestamp}
      Office__c: {enerflo: office_name, type: text}
"""
TABLE = """
create schema salesforce;
create table salesforce."Opportunity" ("Enerflo_Id__c" text, "Name" text, "StageName" text, "Size__c" numeric,
  "Panels__c" numeric, "Amount" text, "Battery__c" text, "Panel__c" text, "Created__c" timestamp, "Office__c" text,
  "LastModifiedDate" timestamptz);
create unique index on salesforce."Opportunity" ("Enerflo_Id__c");
"""
STATUSES = ("Completed", "Voided", "In progress")
STAGES = {"Completed": "Closed Won", "Voided": "Closed: Lost", "In progress": "In progress"}
# Half of them in winter, as Denver has it, and half in summer.
CREATED = "timestamptz '2025-01-06 12:30:15+00' + n * interval '1 day'"
FILL = f"""
insert into enerflo.installs (account, install_id, customer_name, status_name, system_size_kw, panel_count,
  contract_amount, battery_configuration, panel_type, office_name, created_at, observed_at, observed_by)
select 'default', 1000 + n, 'Ann Lee ' || n, (array{list(STATUSES)!r})[1 + n % 3], 7 + n * 0.0137, 20 + n % 9,
  30000 + n, case when n % 2 = 0 then null else 'Powerwall' end, 'Q.PEAK ' || n % 4, 'North & Co', {CREATED},
  now() - interval '9 d', 'poll'
from generate_series(1, 300) n;
insert into salesforce."Opportunity"
select case when n % 20 = 0 then '000' when n % 20 = 1 then ' ' else '' end || 1000 + n,
  case when n % 3 = 0 then upper('Ann Lee ' || n) else 'Ann Lee ' || n end,
  (array{[STAGES[status] for status in STATUSES]!r})[1 + n % 3], round(7 + n * 0.0137, 2), 20 + n % 9,
  to_char(30000 + n, 'FM$999,999.00'), case when n % 2 = 0 then '' else 'Powerwall' end,
  'Q.PEAK ' || n % 4 || case when n % 5 = 0 then '  ' else '' end,
  ({CREATED}) at time zone 'America/Denver', 'North &amp; Co', now() - interval '9 d'
from generate_series(1, 300) n
"""


@pytest.fixture
def untidy(sides: TwoSides, tmp_path: Path) -> TwoSides:
    with sides.engine.begin() as connection:
        connection.exec_driver_sql(TABLE)
        connection.exec_driver_sql(FILL.replace("%", "%%"), {})
    sides.with_config(CONFIG, tmp_path)
    return sides


def fit_of(sides: TwoSides, table: str = "installs") -> TableFit:
    with sides.engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("set transaction read only")
        fits = {one.table: one for one in table_fits(connection, sides.config, "default", Path("sync.yaml"))}
    return fits[table]


def findings(fit: TableFit) -> dict[str, Any]:
    return {finding.what.removeprefix("tables.installs."): finding for finding in fit.findings}


def pasted(sides: TwoSides, folder: Path, fit: TableFit) -> None:
    """Put every proposed line in the place of the one that it is for, as a person does."""
    text = CONFIG.replace(":\n        {", ": {")
    for place, finding in findings(fit).items():
        _, mark, line = finding.next_step.partition(" write ")
        if place.startswith("fields.") and mark:
            name = place.removeprefix("fields.")
            old = next(row for row in text.splitlines() if row.startswith(f"      {name}: "))
            text = text.replace(old, "      " + _one_line(line))
    sides.with_config(text, folder)


def _one_line(text: str) -> str:
    """Return the YAML at the beginning of a text: up to the brace that closes the first one."""
    depth = 0
    for at, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0 and character == "}":
            return text[: at + 1]
    raise AssertionError(text)


def test_the_numbers_of_the_match_are_those_of_the_rows(untidy: TwoSides) -> None:
    keys = fit_of(untidy).keys
    assert keys is not None
    assert (keys.enerflo, keys.crm, keys.matched) == (300, 300, 270)
    assert (keys.only_enerflo, keys.only_crm, keys.without_key, keys.duplicate_keys) == (30, 30, 0, 0)


def test_the_key_by_which_more_would_match_is_proposed_with_what_it_costs(untidy: TwoSides) -> None:
    untidy.sql(
        """insert into salesforce."Opportunity" ("Enerflo_Id__c") values (null), ('n/a'), ('0001002')"""
    )
    fit = fit_of(untidy)
    finding = findings(fit)["key"]
    assert (finding.severity, finding.line) == (Severity.WARNING, 6)
    assert "32 CRM rows and 30 of Enerflo's records" in finding.found
    assert finding.next_step.startswith("31 more would match with type: integer, trim: true.")
    assert "key: {Enerflo_Id__c: {enerflo: install_id, type: integer, trim: true}}" in finding.next_step
    assert "2 CRM rows share 1 keys" in finding.next_step
    assert fit.keys is not None
    assert fit.keys.without_key == 1


def test_the_simplest_reading_of_those_that_fit_alike_is_proposed(untidy: TwoSides) -> None:
    untidy.sql("""update salesforce."Opportunity" set "Enerflo_Id__c" = ltrim("Enerflo_Id__c", '0')""")
    finding = findings(fit_of(untidy))["key"]
    assert finding.next_step.startswith("15 more would match with trim: true.")


def test_no_reading_is_proposed_where_none_helps(untidy: TwoSides) -> None:
    untidy.sql("""update salesforce."Opportunity" set "Enerflo_Id__c" = 'x' || trim("Enerflo_Id__c") where
      "Enerflo_Id__c" ~ '^[ 0]'""")
    assert "key" not in findings(fit_of(untidy))


@pytest.mark.parametrize(
    ("field", "found", "line"),
    [
        ("Name", "90 by upper and lower case", "Name: {enerflo: customer_name, type: text, fold_case: true}"),
        ("Size__c", "by one side being rounded", "tolerance: 0.005}"),
        ("Battery__c", "an empty text on one side", "null: empty_is_null}"),
        ("Panel__c", "by white space at the ends", "Panel__c: {enerflo: panel_type, type: text, trim: true}"),
        ("Created__c", "exactly 7 h earlier or 6 h earlier in the CRM", "time_zone: America/Denver}"),
        (
            "StageName",
            "90 of 90 Completed are Closed Won",
            "values: {Completed: Closed Won, Voided: 'Closed: Lost'}}",
        ),
    ],
)
def test_what_is_mere_spelling_comes_with_the_line_that_accepts_it(
    untidy: TwoSides, field: str, found: str, line: str
) -> None:
    finding = findings(fit_of(untidy))[f"fields.{field}"]
    assert finding.severity is Severity.HINT
    assert found in finding.found
    assert line in finding.next_step


@pytest.mark.parametrize(
    ("field", "found", "step"),
    [
        ("Amount", "how a number is written", "map a view that makes it a number"),
        ("Office__c", "by HTML entities", "map a view that replaces the entities"),
    ],
)
def test_what_no_option_accepts_is_told_with_what_helps(
    untidy: TwoSides, field: str, found: str, step: str
) -> None:
    finding = findings(fit_of(untidy))[f"fields.{field}"]
    assert found in finding.found
    assert step in finding.next_step
    assert "write" not in finding.next_step


def test_the_pasted_lines_leave_only_what_no_option_accepts(untidy: TwoSides, tmp_path: Path) -> None:
    before = fit_of(untidy)
    pasted(untidy, tmp_path, before)
    assert set(findings(fit_of(untidy))) - {"key"} == {"fields.Amount", "fields.Office__c"}
    untidy.polled()
    differing = {
        one.field
        for one in untidy.reconcile().tables[0].by_field
        if set(one.by_cause) - {Cause.EQUAL_AFTER_NORMALISATION, Cause.VOIDED}
    }
    assert differing == {"Amount", "Office__c"}
