"""One entry for every output of a reconciliation report."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import BinaryIO

from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.reconcile.render.csv_lines import write_csv
from enerflo_sync.reconcile.render.html import render_html
from enerflo_sync.reconcile.render.records import write_parquet
from enerflo_sync.reconcile.render.structured import write_json
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.render.workbook import write_workbook
from enerflo_sync.reconcile.report import Difference, ReconciliationReport
from enerflo_sync.steering import shown


class ReportFormat(StrEnum):
    """What a report can be rendered to (``enerflo-sync reconcile --format``)."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"

    @property
    def carries_all_differences(self) -> bool:
        """Return whether the format is the list of all differences, not a report about them."""
        return self in _OF_DIFFERENCES

    @property
    def is_binary(self) -> bool:
        """Return whether a terminal cannot show the format."""
        return self in (ReportFormat.PARQUET, ReportFormat.XLSX)

    @property
    def media_type(self) -> str:
        """Return the content type to serve the format with."""
        return _MEDIA_TYPES[self]

    @property
    def extension(self) -> str:
        """Return the ending of a file of this format, without the dot."""
        return "txt" if self is ReportFormat.TEXT else self.value


_MEDIA_TYPES = {
    ReportFormat.TEXT: "text/plain; charset=utf-8",
    ReportFormat.HTML: "text/html; charset=utf-8",
    ReportFormat.JSON: "application/json",
    ReportFormat.CSV: "text/csv; charset=utf-8",
    ReportFormat.PARQUET: "application/vnd.apache.parquet",
    ReportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_OF_DIFFERENCES = (ReportFormat.CSV, ReportFormat.PARQUET, ReportFormat.XLSX)


def write_report(
    report: ReconciliationReport,
    report_format: ReportFormat,
    out: BinaryIO,
    differences: Iterable[Difference] | None = None,
    mappings: Mapping[str, TableMapping] | None = None,
) -> None:
    """Write ``report`` to the binary stream ``out``, which stays open.

    :param differences: every difference of the run, read once and never held as a whole. CSV, Parquet and
        Excel need it, JSON adds it as ``difference_rows`` where it is given, text and HTML do not read it.
    :param mappings: the mapping by table: CSV and Excel tell the install's id by it, and Excel the types.
    :raises ValueError: CSV, Parquet or Excel without ``differences``; the samples in the report are not all.
    """
    if report_format.carries_all_differences and differences is None:
        raise ValueError(f"Format {report_format} lists all differences of the run: hand them in.")
    match report_format:
        case ReportFormat.TEXT:
            out.write(shown(render_text(report)).encode())
        case ReportFormat.HTML:
            out.write(render_html(report).encode())
        case ReportFormat.JSON:
            write_json(report, out, differences)
        case ReportFormat.PARQUET:
            write_parquet(report, differences or (), out)
        case ReportFormat.CSV:
            write_csv(report, differences or (), out, mappings)
        case ReportFormat.XLSX:
            write_workbook(report, differences or (), out, mappings)


def render(
    report: ReconciliationReport,
    report_format: ReportFormat,
    differences: Iterable[Difference] | None = None,
    mappings: Mapping[str, TableMapping] | None = None,
) -> bytes:
    """Return what :func:`write_report` writes; for outputs that are small enough to hold."""
    buffer = io.BytesIO()
    write_report(report, report_format, buffer, differences, mappings)
    return buffer.getvalue()
