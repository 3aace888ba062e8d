"""An Excel workbook that is sent while it is written, row by row and sheet by sheet.

It is written without a library: a library keeps the workbook in temporary files until its end, so a download
would start only after the last row, and its cells take five times as long. The format is ECMA-376's, with
texts inside their cells (``inlineStr``).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import IntEnum
from functools import lru_cache
from html import escape
from typing import IO, Any, Final

from enerflo_sync.reconcile.render.exported import begins_a_formula, plain
from enerflo_sync.reconcile.render.wording import visible

# A cell holds 32,767 characters; a longer text is cut and says so.
CELL_CHARACTERS: Final = 32_000
CUT: Final = "… (cut)"
# The first day that all spreadsheets count alike: Excel has a 29th of February 1900.
FIRST_DAY: Final = date(1900, 3, 1)
_DAY_ZERO: Final = datetime(1899, 12, 30, tzinfo=UTC)
_NAME_CHARACTERS: Final = 31
_NOT_IN_A_NAME: Final = re.compile(r"[\[\]:*?/\\']")
# Excel reads _x0041_ in a text as A.
_ESCAPE: Final = re.compile("_(?=x[0-9a-fA-F]{4}_)")
_ROWS_AT_ONCE: Final = 500
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE: Final = "http://schemas.openxmlformats.org/package/2006"
_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class CellStyle(IntEnum):
    """The style of a cell: the index into ``cellXfs`` of the styles."""

    PLAIN = 0
    BOLD = 1
    TIME = 2
    DAY = 3
    # A text that stays text when a person edits the cell.
    QUOTED = 4


_FONT: Final = '<sz val="11"/><name val="Calibri"/>'
_XF: Final = 'fillId="0" borderId="0"'
_STYLES: Final = f"""{_HEAD}<styleSheet xmlns="{_MAIN}"><numFmts count="2">\
<numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/>\
<numFmt numFmtId="165" formatCode="yyyy\\-mm\\-dd"/></numFmts>\
<fonts count="2"><font>{_FONT}</font><font><b/>{_FONT}</font></fonts>\
<fills count="2"><fill><patternFill patternType="none"/></fill>\
<fill><patternFill patternType="gray125"/></fill></fills>\
<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>\
<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" {_XF}/></cellStyleXfs>\
<cellXfs count="5"><xf numFmtId="0" fontId="0" {_XF} xfId="0"/>\
<xf numFmtId="0" fontId="1" {_XF} xfId="0" applyFont="1"/>\
<xf numFmtId="164" fontId="0" {_XF} xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="165" fontId="0" {_XF} xfId="0" applyNumberFormat="1"/>\
<xf numFmtId="0" fontId="0" {_XF} xfId="0" quotePrefix="1"/></cellXfs>\
<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>"""


class _Sent:
    """A stream whose bytes are removed as they come, so that a zip file can be written without seeking."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: written bytes are available at once."""

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


@dataclass
class WorkbookStream:
    """A workbook under construction. The caller may call :meth:`take` after each method that writes.

    Sheets are written one after the other; a new sheet ends the previous one.
    """

    _sent: _Sent = field(default_factory=_Sent)
    _names: list[str] = field(default_factory=list)
    _open: IO[bytes] | None = None
    _end: str = ""
    _rows: list[str] = field(default_factory=list)
    _row: int = 0

    def __post_init__(self) -> None:
        """Open the archive."""
        self._zip = zipfile.ZipFile(self._sent, "w", zipfile.ZIP_DEFLATED, compresslevel=3)  # type: ignore[call-overload]

    @property
    def rows(self) -> int:
        """Return how many rows the present sheet has."""
        return self._row

    def sheet(self, name: str, widths: Sequence[int], *, header: Sequence[str] = (), frozen: int = 0) -> None:
        """Begin a sheet.

        :param name: shortened to what Excel accepts, with a number added if another sheet has the name.
        :param widths: of the columns, in characters; :param header: the names in the first row, bold.
        :param frozen: how many columns stay visible beside the header.
        """
        self._end_sheet()
        self._names.append(self._free_name(name))
        self._open = self._zip.open(f"xl/worksheets/sheet{len(self._names)}.xml", "w")
        columns = "".join(
            f'<col min="{at}" max="{at}" width="{width}" customWidth="1"/>'
            for at, width in enumerate(widths, start=1)
        )
        corner = f"{_letters(frozen)}2"
        side = f'xSplit="{frozen}" ' if frozen else ""
        pane = "bottomRight" if frozen else "bottomLeft"
        still = f'<pane {side}ySplit="1" topLeftCell="{corner}" activePane="{pane}" state="frozen"/>'
        view = f'<sheetView workbookViewId="0">{still if header else ""}</sheetView>'
        self._open.write(
            f'{_HEAD}<worksheet xmlns="{_MAIN}"><sheetViews>{view}</sheetViews>'
            f"<cols>{columns}</cols><sheetData>".encode()
        )
        self._row, self._end = 0, ""
        if header:
            self._end = _letters(len(header) - 1)
            self.add(header, CellStyle.BOLD)

    def add(self, values: Sequence[Any], style: CellStyle = CellStyle.PLAIN) -> None:
        """Write a row: numbers, times, days and booleans as such, else text; None is an empty cell."""
        self._row += 1
        row = self._row
        cells = [
            f'<c r="{_letters(at)}{row}"{_cell(value, style)}'
            for at, value in enumerate(values)
            if value is not None
        ]
        self._rows.append(f'<row r="{row}">{"".join(cells)}</row>')
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._send_rows()

    def take(self) -> bytes:
        """Return the bytes since the last call."""
        return self._sent.take()

    def end(self) -> bytes:
        """Return the remaining bytes; the workbook is then complete."""
        self._end_sheet()
        for name, text in self._directory():
            self._zip.writestr(name, text)
        self._zip.close()
        return self.take()

    def abandon(self) -> None:
        """Close the archive without completing it."""
        self._end_sheet()
        self._zip.close()

    def _send_rows(self) -> None:
        if self._open is not None:
            self._open.write("".join(self._rows).encode())
        self._rows.clear()

    def _end_sheet(self) -> None:
        if self._open is None:
            return
        self._send_rows()
        filtered = f'<autoFilter ref="A1:{self._end}{self._row}"/>' if self._end else ""
        self._open.write(f"</sheetData>{filtered}</worksheet>".encode())
        self._open.close()
        self._open = None

    def _free_name(self, name: str) -> str:
        bare = _NOT_IN_A_NAME.sub("_", visible(name))[:_NAME_CHARACTERS] or "_"
        taken = {one.lower() for one in self._names} | {"history"}
        number, found = 1, bare
        while found.lower() in taken:
            number += 1
            found = f"{bare[: _NAME_CHARACTERS - len(str(number)) - 1]} {number}"
        return found

    def _directory(self) -> Iterator[tuple[str, str]]:
        """Yield the parts that list the other parts; a reader finds them anywhere in the archive."""
        numbers = range(1, len(self._names) + 1)
        sheets = "".join(
            f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"/>'
            for number, name in zip(numbers, self._names, strict=True)
        )
        yield (
            "xl/workbook.xml",
            f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{sheets}</sheets></workbook>',
        )
        yield "xl/styles.xml", _STYLES
        targets = [(f"worksheets/sheet{number}.xml", "worksheet") for number in numbers]
        yield "xl/_rels/workbook.xml.rels", _relationships([*targets, ("styles.xml", "styles")])
        yield "_rels/.rels", _relationships([("xl/workbook.xml", "officeDocument")])
        overrides = [
            ("/xl/workbook.xml", "sheet.main"),
            ("/xl/styles.xml", "styles"),
            *((f"/xl/worksheets/sheet{number}.xml", "worksheet") for number in numbers),
        ]
        parts = "".join(
            f'<Override PartName="{part}" ContentType="{_TYPE}.{kind}+xml"/>' for part, kind in overrides
        )
        relations = "application/vnd.openxmlformats-package.relationships+xml"
        usual = (
            f'<Default Extension="rels" ContentType="{relations}"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
        )
        types = f'<Types xmlns="{_PACKAGE}/content-types">{usual}{parts}</Types>'
        yield "[Content_Types].xml", f"{_HEAD}{types}"


def _relationships(targets: Sequence[tuple[str, str]]) -> str:
    found = "".join(
        f'<Relationship Id="rId{number}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for number, (target, kind) in enumerate(targets, start=1)
    )
    return f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{found}</Relationships>'


@lru_cache(maxsize=1024)
def _letters(column: int) -> str:
    """Return a column's name: A for 0, AA for 26."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _cell(value: Any, style: CellStyle) -> str:
    """Return a cell's XML after its position."""
    match value:
        case str():
            return _text(value, style)
        case bool():
            return f' t="b"><v>{value:d}</v></c>'
        case int() | float():
            return f"><v>{value!r}</v></c>"
        case datetime():
            return f' s="{CellStyle.TIME:d}"><v>{(value - _DAY_ZERO).total_seconds() / 86_400!r}</v></c>'
        case date():
            return f' s="{CellStyle.DAY:d}"><v>{(value - _DAY_ZERO.date()).days}</v></c>'
        case _:
            return _text(plain(value), style)


@lru_cache(maxsize=4096)
def _text(value: str, style: CellStyle) -> str:
    text = visible(value)
    if len(text) > CELL_CHARACTERS:
        text = text[:CELL_CHARACTERS] + CUT
    if style is CellStyle.PLAIN and begins_a_formula(text):
        style = CellStyle.QUOTED
    attribute = f' s="{style:d}"' if style else ""
    return (
        f'{attribute} t="inlineStr"><is><t>{escape(_ESCAPE.sub("_x005F_", text), quote=False)}</t></is></c>'
    )
