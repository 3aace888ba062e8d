"""All differences of a run as an Excel workbook, for people who settle them in a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from enerflo_sync.crm.fields import FieldType
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.extras import needs_extra
from enerflo_sync.reconcile.render.exported import (
    VALUE_COLUMNS,
    WHOLE_RECORD,
    ExportedTable,
    begins_a_formula,
    exported_key,
    exported_tables,
    sides,
    since_of,
    words_of,
)
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
# Excel keeps so many digits of a number.
_DIGITS: Final = 15
_WIDTHS: Final = {"field": 24, "enerflo": 34, "crm": 34, "cause": 18, "cause_label": 22, "since": 17}
_NAME_CHARACTERS: Final = 31
_NOT_IN_A_NAME: Final = re.compile(r"[\[\]:*?/\\']")
# The first day that every spreadsheet counts alike: Excel knows a 29th of February 1900.
_FIRST_DAY: Final = date(1900, 3, 1)


def write_workbook(
    report: ReconciliationReport,
    differences: Iterable[Difference],
    out: BinaryIO,
    mappings: Mapping[str, TableMapping] | None = None,
) -> None:
    """Write a workbook to ``out``: a sheet ``Report`` with the verdict, and a sheet for each mapped table.

    A row per difference with a column per part of the key. Numbers, times (UTC) and days are such by their
    field's type; all else is text, with what cannot be seen spelled out. No cell is a formula, nor becomes
    one when a person edits it. Rows go to a temporary file as they come: memory does not grow with them. A
    sheet that is full goes on in the next one.

    :param differences: those of one table stand one after the other.
    :raises ConfigurationError: the part that writes Excel is not installed.
    """
    with needs_extra("excel", "XlsxWriter", "--format xlsx"):
        import xlsxwriter
    tables = exported_tables(report, mappings)
    with xlsxwriter.Workbook(out, {"constant_memory": True, "remove_timezone": True}) as book:
        formats = _Formats.of(book)
        _write_report(book.add_worksheet("Report"), report, formats)
        sheet: _Sheet | None = None
        for difference in differences:
            name = difference.table_name
            if sheet is None or sheet.table.name != name or sheet.row > SHEET_ROWS:
                table = tables.get(name) or ExportedTable(name, {one: one for one in difference.key}, {})
                sheet = _Sheet(book, table, formats)
            sheet.add(difference)
        if sheet is None:
            for table in tables.values():
                _Sheet(book, table, formats)


@dataclass(frozen=True)
class _Formats:
    """Bold for headers, times and days, and text that would be a formula if a person edited it."""

    bold: Format
    time: Format
    day: Format
    quoted: Format

    @classmethod
    def of(cls, book: Workbook) -> _Formats:
        return cls(
            bold=book.add_format({"bold": True}),
            time=book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            day=book.add_format({"num_format": "yyyy-mm-dd"}),
            quoted=book.add_format({"quote_prefix": True}),
        )


def _write_report(sheet: Worksheet, report: ReconciliationReport, formats: _Formats) -> None:
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
        ("Times", "UTC"),
    ]
    sheet.set_column(0, 0, 18)
    sheet.set_column(1, 1, 100)
    for row, (name, value) in enumerate(lines):
        sheet.write_string(row, 0, name, formats.bold)
        _write(sheet, row, 1, value, None, formats)


class _Sheet:
    """The sheet of one table, written from top to bottom."""

    def __init__(self, book: Workbook, table: ExportedTable, formats: _Formats) -> None:
        self.table = table
        self.row = 1
        self._formats = formats
        self._keys = list(dict.fromkeys(table.key.values()))
        self._sheet = book.add_worksheet(_sheet_name(book, table.name))
        columns = (*self._keys, *VALUE_COLUMNS)
        self._sheet.freeze_panes(1, len(self._keys))
        self._sheet.autofilter(0, 0, SHEET_ROWS, len(columns) - 1)
        for column, name in enumerate(columns):
            self._sheet.set_column(column, column, _WIDTHS.get(name, 20))
            _write(self._sheet, 0, column, name, None, formats, formats.bold)

    def add(self, difference: Difference) -> None:
        """Write one row."""
        key = exported_key(difference, self.table)
        mine, theirs = sides(difference)
        label, hint = words_of(difference)
        kind = (
            None if difference.field is None or difference.masked else self.table.types.get(difference.field)
        )
        cells = (
            *((key.get(name), None) for name in self._keys),
            (WHOLE_RECORD if difference.field is None else difference.field, None),
            (mine, kind),
            (theirs, kind),
            (difference.cause.value, None),
            (label, None),
            (since_of(difference), None),
            (difference.hint, None),
            (hint or None, None),
            (difference.masked, None),
        )
        for column, (value, of) in enumerate(cells):
            _write(self._sheet, self.row, column, value, of, self._formats)
        self.row += 1


def _sheet_name(book: Workbook, table: str) -> str:
    """Return a name that no other sheet has, of the characters that Excel takes."""
    bare = _NOT_IN_A_NAME.sub("_", visible(table))[:_NAME_CHARACTERS] or "_"
    taken = {sheet.get_name().lower() for sheet in book.worksheets()} | {"history"}
    number, name = 1, bare
    while name.lower() in taken:
        number += 1
        name = f"{bare[: _NAME_CHARACTERS - len(str(number)) - 1]} {number}"
    return name


def _write(
    sheet: Worksheet,
    row: int,
    column: int,
    value: Any,
    kind: FieldType | None,
    formats: _Formats,
    look: Format | None = None,
) -> None:
    value = _typed(value, kind)
    match value:
        case None:
            return
        case bool():
            sheet.write_boolean(row, column, value)
        case int() | float() if abs(value) < 10**_DIGITS:
            sheet.write_number(row, column, value)
        case datetime():
            sheet.write_datetime(row, column, value.astimezone(UTC).replace(tzinfo=None), formats.time)
        case date():
            sheet.write_datetime(row, column, datetime(value.year, value.month, value.day), formats.day)
        case _:
            text = visible(value if isinstance(value, str) else str(value))
            if len(text) > CELL_CHARACTERS:
                text = text[:CELL_CHARACTERS] + _CUT
            if look is None and begins_a_formula(text):
                look = formats.quoted
            sheet.write_string(row, column, text, look)


def _typed(value: Any, kind: FieldType | None) -> Any:
    """Return a text as the number, time or day that its field's type says, where nothing of it is lost."""
    if kind is None or not isinstance(value, str):
        return value
    try:
        match kind:
            case FieldType.NUMBER | FieldType.INTEGER:
                number = Decimal(value)
                return (
                    float(number)
                    if number.is_finite() and len(number.as_tuple().digits) <= _DIGITS
                    else value
                )
            case FieldType.TIMESTAMP:
                moment = datetime.fromisoformat(value)
                whole = moment.tzinfo is not None and not moment.microsecond
                return moment if whole and moment.date() >= _FIRST_DAY else value
            case FieldType.DATE:
                day = date.fromisoformat(value)
                return day if day >= _FIRST_DAY else value
    except (ValueError, InvalidOperation):
        # A side may say something that is not of the type: it is shown as it is.
        return value
    return value
