"""A report as JSON, for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import BinaryIO, Final

import msgspec

from enerflo_sync.reconcile.render.verdict import verdict_text
from enerflo_sync.reconcile.report import Difference, ReconciliationReport
from enerflo_sync.steering import shown_json

_INDENT: Final = 2


def write_json(
    report: ReconciliationReport, out: BinaryIO, differences: Iterable[Difference] | None = None
) -> None:
    """Write the report to ``out`` as one JSON object in UTF-8.

    It has the report's fields and these computed ones: ``differences`` and ``unexplained`` (counts),
    ``within_budget``, ``verdict`` (a value of :class:`Verdict`) and ``headline``. ``witnesses`` is left out
    if no webhook was ever received. If ``differences`` are given, the list ``difference_rows`` holds all of
    them; they are written one by one.
    """
    words = verdict_text(report)
    fields = msgspec.structs.asdict(report)
    if report.witnesses is None:
        del fields["witnesses"]
    document = {
        "verdict": words.verdict,
        "headline": words.headline,
        "differences": report.differences,
        "unexplained": report.unexplained,
        "within_budget": report.within_budget,
        **fields,
    }
    body = shown_json(document, _INDENT).encode()
    if differences is None:
        out.write(body + b"\n")
        return
    out.write(body.rstrip().removesuffix(b"}").rstrip() + b',\n  "difference_rows": [')
    separator = b"\n"
    for difference in differences:
        row = shown_json(difference, _INDENT)
        out.write(separator + textwrap.indent(row, " " * 2 * _INDENT).encode())
        separator = b",\n"
    out.write((b"]" if separator == b"\n" else b"\n  ]") + b"\n}\n")
