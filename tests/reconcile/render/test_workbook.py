"""The Excel workbook of a run's differences, read back with another library than the one that writes it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import openpyxl
import pandas as pd
import pytest

from enerflo_sync.reconcile.render import workbook
from enerflo_sync.reconcile.render.formats import ReportFormat, render
from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.render.wording import visible
from enerflo_sync.reconcile.report import Cause, Difference, ReconciliationReport, StoredDifference
from tests.reconcile.render.sample_reports import all_differences, mapping_of, typical

FIELDS = """
  amount: {enerflo: contract_amount, type: number}
  panels: {enerflo: panel_count, type: integer}
  created: {enerflo: created_at, type: timestamp}
  day: {enerflo: created_at, type: date}
  zip: {enerflo: panel_type, type: text}
"""
INSTALLS = {"installs": mapping_of("{id: install_id}", FIELDS)}


def difference(crm_value: Any, field: str = "status", **more: Any) -> Difference:
    return Difference("installs", {"id": 1}, field, "On Hold", crm_value, Cause.UNEXPLAINED, **more)


def one_table(name: str = "installs") -> ReconciliationReport:
    report = typical()
    table = msgspec.structs.replace(report.tables[0], table_name=name, samples=[])
    return msgspec.structs.replace(report, tables=[table])


def book(*found: Difference, report: ReconciliationReport | None = None) -> openpyxl.Workbook:
    return openpyxl.load_workbook(
        io.BytesIO(render(report or one_table(), ReportFormat.XLSX, found, INSTALLS))
    )


def sheets(*found: Difference, **more: Any) -> dict[str, list[tuple[Any, ...]]]:
    return {
        sheet.title: [tuple(cell.value for cell in row) for row in sheet.rows]
        for sheet in book(*found, **more)
    }


def test_the_first_sheet_says_what_the_report_says() -> None:
    lines = dict(sheets(report=typical())["Report"])
    assert lines["Verdict"] == verdict_text(typical()).headline
    assert lines["Differences"] == typical().differences
    assert lines["Account"] == typical().account


def test_each_table_has_a_sheet_and_each_difference_a_row() -> None:
    found = sorted(all_differences(typical()), key=lambda one: one.table_name)
    got = sheets(*found, report=typical())
    assert set(got) == {"Report"} | {one.table_name for one in found}
    for name, (header, *rows) in got.items():
        if name == "Report":
            continue
        here = [one for one in found if one.table_name == name]
        assert len(rows) == len(here)
        assert header[-9:] == workbook.VALUE_COLUMNS
        for row, one in zip(rows, here, strict=True):
            told = dict(zip(header, row, strict=True))
            assert told["field"] == (one.field or "whole record")
            assert (told["cause"], told["masked"]) == (one.cause.value, one.masked)
            assert set(one.key.values()) <= set(row)


@pytest.mark.parametrize(
    ("field", "value", "expected", "look"),
    [
        ("amount", "1200.50", 1200.5, "General"),
        ("panels", 24, 24, "General"),
        ("panels", "24", 24, "General"),
        ("created", "2026-03-01T10:00:59Z", datetime(2026, 3, 1, 10, 0, 59), "yyyy\\-mm\\-dd\\ hh:mm:ss"),
        ("day", "2026-03-01", datetime(2026, 3, 1), "yyyy\\-mm\\-dd"),
        # What would lose a digit, or is not of the type, is shown as it is.
        ("amount", "0.1234567890123456789", "0.1234567890123456789", "General"),
        ("amount", "12345678901234567890", "12345678901234567890", "General"),
        ("amount", "NaN", "NaN", "General"),
        ("amount", "1E+300", "1E+300", "General"),
        ("created", "2026-03-01T10:00:59.000001Z", "2026-03-01T10:00:59.000001Z", "General"),
        ("created", "0044-03-15T10:00:00Z", "0044-03-15T10:00:00Z", "General"),
        ("day", "soon", "soon", "General"),
        ("zip", "01234", "01234", "General"),
        ("no_field_any_more", "01234", "01234", "General"),
    ],
)
def test_a_cell_has_the_type_of_its_field(field: str, value: Any, expected: Any, look: str) -> None:
    cell = book(difference(value, field))["installs"].cell(2, 4)
    assert (cell.value, cell.number_format) == (expected, look)
    assert type(cell.value) is type(expected)


def test_since_is_a_time_and_the_key_has_columns() -> None:
    moment = datetime(2026, 3, 2, 5, 0, 1, tzinfo=UTC)
    found = StoredDifference("installs", {"id": 7}, "zip", "a", "b", Cause.CONFLICT, since=moment)
    header, row = sheets(found)["installs"]
    told = dict(zip(header, row, strict=True))
    assert told["enerflo_install_id"] == 7
    assert abs(told["since"] - moment.replace(tzinfo=None)) < timedelta(milliseconds=1)
    assert (told["cause"], told["cause_label"]) == ("conflict", "Conflict")


def test_a_masked_value_is_text() -> None:
    cell = book(difference("1234", "amount", masked=True))["installs"].cell(2, 4)
    assert (cell.value, cell.data_type) == ("1234", "s")


@pytest.mark.parametrize("text", ["=1+1", "+1 555", "@SUM(A1)", "-a", "\uff1d1"])
def test_no_value_is_a_formula_or_becomes_one_when_it_is_edited(text: str) -> None:
    cell = book(difference(text))["installs"].cell(2, 4)
    assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None)
    assert cell.quotePrefix
    plain = book(difference("a"))["installs"].cell(2, 4)
    assert not plain.quotePrefix


@pytest.mark.parametrize("text", ["_x0041_", "a & <b>", "\ud800", "]]>", "x\u200dy", "\u202e"])
def test_a_text_is_read_back_as_it_is_shown(text: str) -> None:
    content = render(one_table(), ReportFormat.XLSX, [difference(text)], INSTALLS)
    cell = openpyxl.load_workbook(io.BytesIO(content))["installs"].cell(2, 4)
    # openpyxl leaves the escape of a literal _x0041_ as it stands.
    assert cell.value.replace("_x005F_", "_") == visible(text)


def test_a_long_value_is_cut_and_says_so_and_a_control_character_is_shown() -> None:
    (_, first, second) = sheets(difference("x" * 40_000), difference("a\x1bb"))["installs"]
    assert first[3].endswith("… (cut)")
    assert len(first[3]) < 32_767
    assert second[3] == visible("a\x1bb")


def test_more_rows_than_a_sheet_holds_go_on_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 3)
    found = sheets(*[difference(n, "panels") for n in range(7)])
    assert [row[3] for name in list(found)[1:] for row in found[name][1:]] == list(range(7))
    assert list(found) == ["Report", "installs", "installs 2", "installs 3"]


def test_a_sheets_name_is_one_that_excel_takes_and_no_other_has() -> None:
    names = ["a[b]:c*?/\\d", "HISTORY", "x" * 40, "x" * 41, "Report"]
    found = [Difference(name, {"id": 1}, "f", 1, 2, Cause.POLICY) for name in names]
    got = list(sheets(*found))[1:]
    assert got == ["a_b__c____d", "HISTORY 2", "x" * 31, "x" * 29 + " 2", "Report 2"]


def test_a_run_without_a_difference_has_the_headers_alone() -> None:
    assert [len(rows) for name, rows in sheets().items() if name != "Report"] == [1]


def test_pandas_reads_every_sheet() -> None:
    content = render(
        one_table(), ReportFormat.XLSX, [difference(n, "panels") for n in range(2_000)], INSTALLS
    )
    frame = pd.read_excel(io.BytesIO(content), sheet_name="installs")
    assert frame["crm"].tolist() == list(range(2_000))
