"""All differences of a run as an Excel workbook, for people who settle them in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from enerflo_sync.extras import needs_extra
from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.render.wording import utc, visible
from enerflo_sync.reconcile.report import Difference, ReconciliationReport

if TYPE_CHECKING:
    from xlsxwriter import Workbook
    from xlsxwriter.format import Format
    from xlsxwriter.worksheet import Worksheet

# A sheet of Excel holds 1,048,576 rows, the header among them.
SHEET_ROWS: Final = 1_000_000
# A cell holds 32,767 characters; what is longer is cut, and says so.
CELL_CHARACTERS: Final = 32_000
_CUT: Final = "… (cut)"

_HEADER: Final = ("table", "key", "field", "Enerflo", "CRM", "cause", "masked", "hint")
_WIDTHS: Final = (16, 26, 24, 36, 36, 20, 9, 18)


def write_workbook(report: ReconciliationReport, differences: Iterable[Difference], out: BinaryIO) -> None:
    """Write a workbook to ``out``: a sheet ``Report`` with the verdict, and all differences in further ones.

    A row per difference, with the key as it reads (``enerflo_install_id 12``). Numbers are numbers, and all
    else is text, with what cannot be seen spelled out: no cell is a formula, whatever a value says. Rows go
    to a temporary file as they come: memory does not grow with them. A sheet has ``SHEET_ROWS`` of them.

    :raises ConfigurationError: the part that writes Excel is not installed.
    """
    with needs_extra("excel", "XlsxWriter", "--format xlsx"):
        import xlsxwriter
    with xlsxwriter.Workbook(out, {"constant_memory": True}) as book:
        bold = book.add_format({"bold": True})
        _write_report(book.add_worksheet("Report"), report, bold)
        sheet: Worksheet | None = None
        row = 0
        for difference in differences:
            if sheet is None or row > SHEET_ROWS:
                sheet, row = _new_sheet(book, bold), 1
            for column, value in enumerate(_cells(difference)):
                _write(sheet, row, column, value)
            row += 1
        if sheet is None:
            _new_sheet(book, bold)


def _write_report(sheet: Worksheet, report: ReconciliationReport, bold: Format) -> None:
    words = verdict_text(report)
    lines: list[tuple[str, Any]] = [
        ("Account", report.account),
        ("Reconciliation", report.reconciliation_id),
        ("Compared at", utc(report.started_at)),
        (
            "Mirror as of",
            "never polled completely" if report.mirror_as_of is None else utc(report.mirror_as_of),
        ),
        ("Verdict", words.headline),
        ("", words.detail),
        ("Differences", report.differences),
        ("Unexplained", report.unexplained),
    ]
    sheet.set_column(0, 0, 18)
    sheet.set_column(1, 1, 100)
    for row, (name, value) in enumerate(lines):
        sheet.write_string(row, 0, name, bold)
        _write(sheet, row, 1, value)


def _new_sheet(book: Workbook, bold: Format) -> Worksheet:
    number = len(book.worksheets())
    sheet = book.add_worksheet("Differences" if number == 1 else f"Differences {number}")
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, SHEET_ROWS, len(_HEADER) - 1)
    for column, (name, width) in enumerate(zip(_HEADER, _WIDTHS, strict=True)):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, name, bold)
    return sheet


def _cells(difference: Difference) -> tuple[Any, ...]:
    return (
        difference.table_name,
        ", ".join(f"{name} {value}" for name, value in difference.key.items()),
        "whole record" if difference.field is None else difference.field,
        difference.enerflo_value,
        difference.crm_value,
        difference.cause.value,
        difference.masked,
        difference.hint,
    )


def _write(sheet: Worksheet, row: int, column: int, value: Any) -> None:
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() if abs(value) < 10**15:
            sheet.write_number(row, column, value)
        case _:
            text = visible(str(value))
            if len(text) > CELL_CHARACTERS:
                text = text[:CELL_CHARACTERS] + _CUT
            sheet.write_string(row, column, text)
