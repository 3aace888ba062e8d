"""All differences of a run as an Excel workbook, for people who work through them in a spreadsheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, BinaryIO, Final

from enerflo_sync.crm.fields import FieldType
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.reconcile.render.exported import (
    VALUE_COLUMNS,
    WHOLE_RECORD,
    ExportedTable,
    exported_key,
    exported_tables,
    sides,
    since_of,
    words_of,
)
from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.render.wording import utc
from enerflo_sync.reconcile.render.xlsx import FIRST_DAY, WorkbookStream
from enerflo_sync.reconcile.report import Difference, ReconciliationReport

# A sheet of Excel holds 1,048,576 rows, the header among them.
SHEET_ROWS: Final = 1_000_000
# Excel keeps this many digits of a number.
_DIGITS: Final = 15
_WIDTHS: Final = {"field": 24, "enerflo": 34, "crm": 34, "cause": 18, "cause_label": 22, "since": 19}
_USUAL_WIDTH: Final = 20


def write_workbook(
    report: ReconciliationReport,
    differences: Iterable[Difference],
    out: BinaryIO,
    mappings: Mapping[str, TableMapping] | None = None,
) -> None:
    """Write what :func:`workbook_pieces` yields to ``out``."""
    for piece in workbook_pieces(report, differences, mappings):
        out.write(piece)


def workbook_pieces(
    report: ReconciliationReport,
    differences: Iterable[Difference],
    mappings: Mapping[str, TableMapping] | None = None,
) -> Iterator[bytes]:
    """Yield a workbook piece by piece: a sheet ``Report`` with the verdict, and one sheet for each table.

    A sheet has a row per difference and a column per part of the key. A value is a number, a time (UTC) or a
    day if its field has that type; every other value is text, with invisible characters shown. No cell is a
    formula, nor becomes one when a person edits it. Memory does not grow with the rows. When a sheet is full,
    the next sheet continues it.

    :param differences: sorted by table.
    """
    book = WorkbookStream()
    try:
        yield from _pieces(book, report, differences, exported_tables(report, mappings))
        yield book.end()
    finally:
        book.abandon()


def _pieces(
    book: WorkbookStream,
    report: ReconciliationReport,
    differences: Iterable[Difference],
    tables: Mapping[str, ExportedTable],
) -> Iterator[bytes]:
    book.sheet("Report", (18, 100))
    for line in _report_lines(report):
        book.add(line)
    table: ExportedTable | None = None
    keys: list[str] = []
    for difference in differences:
        name = difference.table_name
        if table is None or table.name != name or book.rows > SHEET_ROWS:
            table = tables.get(name) or ExportedTable(name, {one: one for one in difference.key}, {})
            keys = _begin(book, table)
        book.add(_cells(difference, table, keys))
        if piece := book.take():
            yield piece
    if table is None:
        for table in tables.values():
            _begin(book, table)


def _report_lines(report: ReconciliationReport) -> Iterator[tuple[str, Any]]:
    words = verdict_text(report)
    yield "Account", report.account
    yield "Reconciliation", report.reconciliation_id
    yield "Compared at", utc(report.started_at)
    as_of, never = report.mirror_as_of, "never polled completely" if report.tables else "not looked at"
    yield "Mirror as of", never if as_of is None else utc(as_of)
    yield "Verdict", words.headline
    yield "", words.detail
    yield "Differences", report.differences
    yield "Unexplained", report.unexplained
    yield "Times", "UTC"


def _begin(book: WorkbookStream, table: ExportedTable) -> list[str]:
    """Begin the sheet of a table; return the columns of its key."""
    keys = list(dict.fromkeys(table.key.values()))
    header = (*keys, *VALUE_COLUMNS)
    widths = [_WIDTHS.get(name, _USUAL_WIDTH) for name in header]
    book.sheet(table.name, widths, header=header, frozen=len(keys))
    return keys


def _cells(difference: Difference, table: ExportedTable, keys: list[str]) -> list[Any]:
    key = exported_key(difference, table)
    mine, theirs = sides(difference)
    label, hint = words_of(difference)
    field = difference.field
    kind = None if field is None or difference.masked else table.types.get(field)
    return [
        *(_typed(key.get(name), None) for name in keys),
        WHOLE_RECORD if field is None else field,
        _typed(mine, kind),
        _typed(theirs, kind),
        difference.cause.value,
        label,
        since_of(difference),
        difference.hint,
        hint or None,
        difference.masked,
    ]


def _typed(value: Any, kind: FieldType | None) -> Any:
    """Return a text as the number, time or day of its field's type, if the conversion loses nothing."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) < 10**_DIGITS else str(value)
    if kind is None or not isinstance(value, str):
        return value
    try:
        match kind:
            case FieldType.NUMBER | FieldType.INTEGER:
                number = Decimal(value)
                digits = len(number.as_tuple().digits) if number.is_finite() else _DIGITS + 1
                if digits > _DIGITS or abs(number) >= 10**_DIGITS:
                    return value
                return int(number) if number == number.to_integral_value() else float(number)
            case FieldType.TIMESTAMP:
                moment = datetime.fromisoformat(value)
                whole = moment.tzinfo is not None and not moment.microsecond
                return moment if whole and moment.date() > FIRST_DAY else value
            case FieldType.DATE:
                day = date.fromisoformat(value)
                return day if day >= FIRST_DAY else value
    except (ValueError, InvalidOperation):
        # A side's value may not fit the type; it is then shown as it is.
        return value
    return value
