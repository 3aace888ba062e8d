"""The doctor's preview of a warehouse that is untidy on purpose: what meets, what would, and what each hint is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.crm.doctor import Severity
from enerflo_sync.reconcile.fit import preview, sample
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
    assert "2 CRM rows share 1 key:" in finding.next_step
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


def test_keys_none_of_which_meets_are_a_warning_also_where_no_reading_helps(untidy: TwoSides) -> None:
    untidy.sql("""update salesforce."Opportunity" set "Enerflo_Id__c" = '2024-' || trim("Enerflo_Id__c")""")
    fit = fit_of(untidy)
    (finding,) = [one for one in fit.findings if one.what.endswith(".key")]
    assert finding.severity is Severity.WARNING
    assert finding.found == "no CRM row whose key is that of one of Enerflo's records"
    assert finding.next_step.startswith("No option of the key makes most of them meet: map another column")
    assert fit.proposed == ()


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


def test_personal_data_is_shown_by_no_label(untidy: TwoSides) -> None:
    untidy.sql("update enerflo.installs set customer_name = 'Ann Lee'")
    untidy.sql("""update salesforce."Opportunity" set "Name" = 'Bob Ray'""")
    fit = fit_of(untidy)
    assert "fields.Name" not in findings(fit)
    assert not any(word in str(fit) for word in ("Ann", "Bob"))


def test_a_row_that_is_late_is_no_label(untidy: TwoSides) -> None:
    """Enerflo's value of another state stands in the CRM: these rows were not carried over yet."""
    untidy.sql(
        """update salesforce."Opportunity" set "StageName" = 'In progress' where "StageName" = 'Closed Won'"""
    )
    finding = findings(fit_of(untidy))["fields.StageName"]
    assert "Completed" not in finding.next_step
    assert "Voided: 'Closed: Lost'" in finding.next_step


def test_a_label_needs_nearly_all_rows_of_its_value(untidy: TwoSides) -> None:
    """Ninety rows match; five others leave 94 %."""
    matched = """select "Enerflo_Id__c" from salesforce."Opportunity"
      where "StageName" = 'Closed Won' and "Enerflo_Id__c" !~ '^[ 0]' limit {}"""
    set_to = """update salesforce."Opportunity" set "StageName" = 'Dealt ' || "Panels__c" where "Enerflo_Id__c" in ({})"""
    untidy.sql(set_to.format(matched.format(4)))
    assert "86 of 90 Completed are Closed Won" in findings(fit_of(untidy))["fields.StageName"].found
    untidy.sql(set_to.format(matched.format(1)))
    assert "Completed" not in findings(fit_of(untidy))["fields.StageName"].next_step


def test_two_labels_for_one_value_of_the_crm_are_told_to_go_one_way(untidy: TwoSides) -> None:
    untidy.sql(
        """update salesforce."Opportunity" set "StageName" = 'Closed' where "StageName" like 'Closed%'"""
    )
    finding = findings(fit_of(untidy))["fields.StageName"]
    assert "Closed would stand for several of Enerflo's values: add direction: to_crm." in finding.next_step


def test_an_offset_of_some_rows_alone_is_no_zone(untidy: TwoSides) -> None:
    untidy.sql("""update salesforce."Opportunity" o set "Created__c" = e.created_at at time zone 'UTC'
      from enerflo.installs e where trim(o."Enerflo_Id__c")::int = e.install_id and e.install_id % 2 = 0""")
    step = findings(fit_of(untidy))["fields.Created__c"].next_step
    assert "time_zone" not in step
    assert "not that of all rows" in step


def test_a_column_with_a_zone_of_its_own_is_not_helped_by_another(untidy: TwoSides) -> None:
    untidy.sql("""alter table salesforce."Opportunity" alter "Created__c" type timestamptz""")
    step = findings(fit_of(untidy))["fields.Created__c"].next_step
    assert step.startswith("No time_zone makes them equal")


def test_rows_that_share_a_key_are_counted_and_their_values_are_not(untidy: TwoSides) -> None:
    untidy.sql("""drop index salesforce."Opportunity_Enerflo_Id__c_idx" """)
    untidy.sql("""insert into salesforce."Opportunity" select * from salesforce."Opportunity" """)
    fit = fit_of(untidy)
    assert fit.keys is not None
    assert (fit.keys.duplicate_keys, fit.keys.duplicate_rows, fit.keys.matched) == (300, 600, 540)
    assert set(findings(fit)) == {"key"}


def test_rows_of_a_composite_key_are_matched_by_all_its_columns(sides: TwoSides, tmp_path: Path) -> None:
    sides.sql("alter table crm.milestones alter milestone_id type text")
    for number in range(1, 11):
        sides.mirror("milestones", install_id=number, milestone_id=7, title="Permit")
        padded = "07" if number > 6 else "7"
        sides.crm("milestones", enerflo_install_id=number, milestone_id=padded, title="Permit")
    fit = fit_of(sides, "milestones")
    assert fit.keys is not None
    assert (fit.keys.matched, fit.keys.only_crm) == (6, 4)
    (finding,) = fit.findings
    line = "key: {enerflo_install_id: install_id, milestone_id: {enerflo: milestone_id, type: integer}}"
    assert f"4 more would match with type: integer. Write {line}." in finding.next_step


def test_of_large_tables_a_part_of_the_keys_is_looked_at_and_said(
    untidy: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "ROWS", 100)
    monkeypatch.setattr(sample, "VALUE_ROWS", 50)
    untidy.sql("analyze enerflo.installs")
    fit = fit_of(untidy)
    keys = fit.keys
    assert keys is not None
    assert keys.every == 3
    assert 50 < keys.matched < 150
    assert keys.matched + keys.only_crm == keys.crm < 160
    # Both sides choose the same keys: what is in the sample of one side meets what is in that of the other.
    assert keys.only_crm < 30
    said = {place: finding.found.partition(": ")[0] for place, finding in findings(fit).items()}
    assert said.pop("key") == "of a sample of one key in 3"
    assert set(said.values()) == {"of a sample of one key in 6"}
    assert "more would match with type: integer, trim: true" in findings(fit)["key"].next_step


def test_a_preview_that_takes_too_long_is_given_up_and_others_go_on(
    sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "SECONDS", 1)
    sides.install(1)
    sides.mirror("notes", note_id=5, install_id=1, body="Hello")
    sides.crm("notes", note_id="a", enerflo_install_id=1, enerflo_note_id=5, body="Hello")
    sides.sql("alter table crm.installs rename to slow")
    sides.sql("create view crm.installs as select s.* from crm.slow s, pg_sleep(3)")
    fit = fit_of(sides)
    assert (fit.keys, fit.why_not[:14]) == (None, "not previewed:")
    assert "longer than 1 s" in fit.why_not
    notes = fit_of(sides, "notes").keys
    assert notes is not None
    assert notes.matched == 1


def test_the_proposed_key_can_be_pasted_and_then_all_rows_match(untidy: TwoSides, tmp_path: Path) -> None:
    step = findings(fit_of(untidy))["key"].next_step
    line = _one_line(step.partition(" Write ")[2])
    untidy.with_config(CONFIG.replace("key: {Enerflo_Id__c: install_id}", line), tmp_path)
    fit = fit_of(untidy)
    assert fit.keys is not None
    assert (fit.keys.matched, fit.keys.only_enerflo, fit.keys.only_crm) == (300, 0, 0)
    assert "key" not in findings(fit)


def test_a_key_that_is_read_in_part_is_proposed_what_it_lacks(untidy: TwoSides, tmp_path: Path) -> None:
    typed = "key: {Enerflo_Id__c: {enerflo: install_id, type: integer}}"
    untidy.with_config(CONFIG.replace("key: {Enerflo_Id__c: install_id}", typed), tmp_path)
    step = findings(fit_of(untidy))["key"].next_step
    assert step.startswith("15 more would match with type: integer, trim: true.")


def test_the_zone_of_days_is_found_although_most_days_are_those_of_any_zone(
    untidy: TwoSides, tmp_path: Path
) -> None:
    """Enerflo's times at all hours: a quarter of them is of the next day in UTC, one in 25 in Los Angeles."""
    untidy.sql(
        "update enerflo.installs set created_at = timestamptz '2025-01-06' + install_id * interval '25 hours'"
    )
    untidy.sql("""alter table salesforce."Opportunity" alter "Created__c" type date using null""")
    untidy.sql(
        """update salesforce."Opportunity" o set "Created__c" = (e.created_at at time zone 'America/Denver')::date
      from enerflo.installs e where trim(o."Enerflo_Id__c")::int = e.install_id""".replace("::", r"\:\:")
    )
    # Some days differ in truth.
    untidy.sql(
        """update salesforce."Opportunity" set "Created__c" = "Created__c" - 40 where trim("Enerflo_Id__c") like '%90'"""
    )
    text = CONFIG.replace("created_at, type: timestamp", "created_at, type: date")
    untidy.with_config(text, tmp_path)
    step = findings(fit_of(untidy))["fields.Created__c"].next_step
    assert "time_zone: America/Denver}" in step
    assert "Los_Angeles" not in step


@pytest.mark.parametrize("kind", ["timestamptz", "text"])
def test_the_zone_of_days_is_found_where_the_crm_holds_them_as_moments(
    untidy: TwoSides, tmp_path: Path, kind: str
) -> None:
    """The CRM's column has a zone of its own, and yet another zone makes other days of its moments."""
    untidy.sql(
        "update enerflo.installs set created_at = timestamptz '2025-01-06' + install_id * interval '25 hours'"
    )
    untidy.sql(f"""alter table salesforce."Opportunity" alter "Created__c" type {kind} using null""")
    day = "date_trunc('day', e.created_at at time zone 'America/Denver') at time zone 'America/Denver'"
    moment = f"replace(cast({day} at time zone 'UTC' as text), ' ', 'T') || 'Z'" if kind == "text" else day
    untidy.sql(
        f"""update salesforce."Opportunity" o set "Created__c" = {moment}
      from enerflo.installs e where cast(trim(o."Enerflo_Id__c") as int) = e.install_id"""
    )
    text = CONFIG.replace("created_at, type: timestamp", "created_at, type: date")
    untidy.with_config(text, tmp_path)
    step = findings(fit_of(untidy))["fields.Created__c"].next_step
    assert "time_zone: America/Denver}" in step
    untidy.with_config(text.replace("type: date}", "type: date, time_zone: America/Denver}"), tmp_path)
    assert "fields.Created__c" not in findings(fit_of(untidy))


def test_a_line_that_would_make_more_rows_differ_is_not_proposed(untidy: TwoSides, tmp_path: Path) -> None:
    untidy.sql(
        "update enerflo.installs set battery_configuration = case when install_id % 10 = 0 then '12.0' else 'n/a' end"
    )
    untidy.sql("""update salesforce."Opportunity" o set "Battery__c" =
      case when "Enerflo_Id__c" like '%0' then '12' else 'N/A' end""")
    text = CONFIG.replace(
        "battery_configuration, type: text", "battery_configuration, type: text, fold_case: true"
    )
    untidy.with_config(text, tmp_path)
    step = findings(fit_of(untidy))["fields.Battery__c"].next_step
    assert "write" not in step
    assert "type: number would make them equal, and 240 rows more than now would differ." in step


def test_a_line_that_would_hide_other_differences_is_not_proposed(untidy: TwoSides) -> None:
    """One row says the day alone, another differs by hours: that is no matter of spelling."""
    untidy.sql("""update salesforce."Opportunity" o set "Created__c" = e.created_at at time zone 'UTC'
      from enerflo.installs e where e.install_id = cast(trim(o."Enerflo_Id__c") as int)""")
    for key, value in ((1002, "'2025-01-08'"), (1003, "'2025-01-09 15:31:00'")):
        untidy.sql(
            f"""update salesforce."Opportunity" set "Created__c" = {value} where "Enerflo_Id__c" = '{key}'"""
        )
    step = findings(fit_of(untidy))["fields.Created__c"].next_step
    assert "write" not in step
    assert "type: date would make them equal, and 1 further row that differs by more than that" in step


def exact(sides: TwoSides) -> None:
    """Let the CRM's numbers and times be Enerflo's, with all their places."""
    sides.sql("""update salesforce."Opportunity" o set "Created__c" = e.created_at at time zone 'UTC',
        "Size__c" = e.system_size_kw
      from enerflo.installs e where e.install_id = cast(trim(o."Enerflo_Id__c") as int)""")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("Size__c", "7", "tolerance: 0.05 would make them equal"),
        ("Created__c", "'2025-01-08'", "type: date would make them equal"),
        ("Created__c", "'2025-01-08 12:30'", "precision: minute would make them equal"),
    ],
)
def test_one_rounded_value_among_exact_ones_is_no_coarse_column(
    untidy: TwoSides, field: str, value: str, said: str
) -> None:
    exact(untidy)
    untidy.sql(f"""update salesforce."Opportunity" set "{field}" = {value} where "Enerflo_Id__c" = '1002'""")
    finding = findings(fit_of(untidy))[f"fields.{field}"]
    assert finding.found.startswith("1 row that differs, 1 by ")
    assert "write" not in finding.next_step
    assert said in finding.next_step
    assert "rows are equal in more than that: look at those that differ." in finding.next_step


def test_a_rounded_column_with_a_few_exact_values_gets_its_line(untidy: TwoSides) -> None:
    """Most values are rounded to 2 places; those of 2 places at Enerflo, too, are equal."""
    untidy.sql(
        "update enerflo.installs set system_size_kw = round(system_size_kw, 2) where install_id % 4 = 0"
    )
    assert "tolerance: 0.005" in findings(fit_of(untidy))["fields.Size__c"].next_step
