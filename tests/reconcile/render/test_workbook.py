"""The Excel workbook of a run's differences, read back with another library than the one that writes it."""

from __future__ import annotations

import io
from typing import Any

import openpyxl
import pytest

from enerflo_sync.reconcile.render import workbook
from enerflo_sync.reconcile.render.formats import ReportFormat, render
from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.render.wording import visible
from enerflo_sync.reconcile.report import Cause, Difference
from tests.reconcile.render.sample_reports import all_differences, typical


def difference(crm_value: Any) -> Difference:
    return Difference("installs", {"id": 1}, "status", "On Hold", crm_value, Cause.UNEXPLAINED)


def sheets(*found: Any) -> dict[str, list[tuple[Any, ...]]]:
    book = openpyxl.load_workbook(io.BytesIO(render(typical(), ReportFormat.XLSX, found)))
    return {sheet.title: [tuple(cell.value for cell in row) for row in sheet.rows] for sheet in book}


def test_the_first_sheet_says_what_the_report_says() -> None:
    lines = dict(sheets()["Report"])
    assert lines["Verdict"] == verdict_text(typical()).headline
    assert lines["Differences"] == typical().differences
    assert lines["Account"] == typical().account


def test_each_difference_is_a_row_with_its_key_in_words_and_numbers_as_numbers() -> None:
    found = [*all_differences(typical())]
    header, *rows = sheets(*found)["Differences"]
    assert header == ("table", "key", "field", "Enerflo", "CRM", "cause", "masked", "hint")
    assert len(rows) == len(found)
    for row, one in zip(rows, found, strict=True):
        assert row[0] == one.table_name
        assert row[1] == ", ".join(f"{name} {value}" for name, value in one.key.items())
        assert row[2] == (one.field or "whole record")
        for cell, value in zip(row[3:5], (one.enerflo_value, one.crm_value), strict=True):
            assert cell == (value if isinstance(value, int | float | None) else visible(str(value)))
        assert row[5:] == (one.cause.value, one.masked, one.hint)


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "-1", "https://example.com/x"])
def test_no_value_is_a_formula_or_a_link(text: str) -> None:
    content = render(typical(), ReportFormat.XLSX, [difference(text)])
    cell = openpyxl.load_workbook(io.BytesIO(content))["Differences"].cell(2, 5)
    assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None)


def test_a_long_value_is_cut_and_says_so_and_a_control_character_is_shown() -> None:
    (_, first, second) = sheets(difference("x" * 40_000), difference("a\x1bb"))["Differences"]
    assert first[4].endswith("… (cut)")
    assert len(first[4]) < 32_767
    assert second[4] == visible("a\x1bb")


def test_more_rows_than_a_sheet_holds_go_on_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "SHEET_ROWS", 3)
    found = sheets(*[difference(n) for n in range(7)])
    assert [row[4] for name in list(found)[1:] for row in found[name][1:]] == list(range(7))
    assert list(found) == ["Report", "Differences", "Differences 2", "Differences 3"]


def test_a_run_without_a_difference_has_the_header_alone() -> None:
    assert len(sheets()["Differences"]) == 1
