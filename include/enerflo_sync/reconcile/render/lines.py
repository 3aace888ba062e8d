"""Lines of a text report: sections, wrapped sentences, and aligned columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len

WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a report, and its rich style on a colour terminal."""

    text: str
    style: str = ""


def section(title: str, note: str) -> Iterator[Line]:
    """Yield the heading of a section after an empty line."""
    yield Line("")
    head = f"── {title} · {note} " if note else f"── {title} "
    yield Line(head + "─" * max(WIDTH - cell_len(head), 2), "bold")


def wrapped(text: str, *, indent: int = 0, style: str = "") -> Iterator[Line]:
    """Yield a text as lines of about ``WIDTH`` columns."""
    margin = " " * indent
    for line in textwrap.wrap(text, WIDTH, initial_indent=margin, subsequent_indent=margin):
        yield Line(line, style)


def grid(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int, last_is_text: bool = False
) -> Iterator[Line]:
    """Yield aligned columns: the first ``text_columns`` to the left, the others to the right."""
    widths = [max(cell_len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    left = set(range(text_columns)) | ({len(head) - 1} if last_is_text else set())
    for row in [head, *rows]:
        cells = [
            text + _pad(text, width) if index in left else _pad(text, width) + text
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield Line("  " + "  ".join(cells), "dim" if row is head else "")


def _pad(text: str, width: int) -> str:
    return " " * (width - cell_len(text))
