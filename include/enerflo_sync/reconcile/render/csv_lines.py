"""All differences of a run as CSV with plain columns, written in bounded memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.reconcile.render.exported import (
    VALUE_COLUMNS,
    begins_a_formula,
    exported_key,
    exported_tables,
    key_columns,
    plain,
    sides,
    since_of,
    words_of,
)
from enerflo_sync.reconcile.render.wording import iso
from enerflo_sync.reconcile.report import Difference, ReconciliationReport

# Excel reads a file as UTF-8 only if the file begins with this mark.
BOM: Final = "\ufeff"
_PIECE: Final = 1 << 16


def write_csv(
    report: ReconciliationReport,
    differences: Iterable[Difference],
    out: BinaryIO,
    mappings: Mapping[str, TableMapping] | None = None,
) -> None:
    """Write what :func:`csv_pieces` yields to ``out``."""
    for piece in csv_pieces(report, differences, mappings):
        out.write(piece)


def csv_pieces(
    report: ReconciliationReport,
    differences: Iterable[Difference],
    mappings: Mapping[str, TableMapping] | None = None,
) -> Iterator[bytes]:
    """Yield a line per difference as UTF-8 CSV with a header line, piece by piece.

    The columns are: each part of the keys, the install's Enerflo id first; the field; both sides' values; the
    cause; since when; and words for the codes. An empty cell is a missing value or an empty text. A text that
    a spreadsheet could read as a formula begins with an apostrophe. Without differences only the header is
    written.
    """
    tables = exported_tables(report, mappings)
    keys = key_columns(tables)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    buffer.write(BOM)
    names = ("table_name", *keys, *VALUE_COLUMNS, "account", "reconciliation_id")
    writer.writerow([_text(name) for name in names])
    rest = (report.account, report.reconciliation_id)
    for difference in differences:
        key = exported_key(difference, tables.get(difference.table_name))
        parts = (_text(key.get(name)) for name in keys)
        writer.writerow((difference.table_name, *parts, *_values(difference), *rest))
        if buffer.tell() > _PIECE:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _values(difference: Difference) -> tuple[str, ...]:
    mine, theirs = sides(difference)
    label, hint = words_of(difference)
    since = since_of(difference)
    return (
        _text(difference.field),
        _text(mine),
        _text(theirs),
        difference.cause.value,
        label,
        "" if since is None else iso(since),
        difference.hint or "",
        hint,
        _text(difference.masked),
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if begins_a_formula(value) else value
        case _:
            return plain(value)
