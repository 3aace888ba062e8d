"""The stored reports: all of them by day, one, and one as a file."""

from __future__ import annotations

import tempfile
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import HEADERS, Page, Reading, Visit, pieces, reading
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.pages.reports import day_in, position_in, read_day, read_reports, render_day, render_reports
from enerflo_sync.reconcile.render import (
    PageLinks,
    ReportFormat,
    render_html,
    render_message,
    render_no_report,
    write_report,
)
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import load_report, read_differences

_DOWNLOADS = (ReportFormat.CSV, ReportFormat.XLSX, ReportFormat.PARQUET, ReportFormat.JSON, ReportFormat.HTML)
_SPOOL_BYTES = 8 * 1024 * 1024

reports = APIRouter()


@reports.get("/reports/{account}")
def reports_of(visit: Reading, before: str = "", day: str = "", after: str = "") -> Response:
    """List the account's reports by day, newest first, or the reconciliations of a day."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.REPORTS)
        try:
            if day:
                position = position_in(after) if after else None
                return Page(render_day(read_day(connection, account, day_in(day, "day"), position), frame))
            page = read_reports(connection, account, day_in(before, "before") if before else None)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
    if not page.days and page.first:
        return Page(_no_report(visit, frame))
    return Page(render_reports(page, frame))


@reports.get("/reports/{account}/latest")
def latest_report(visit: Reading) -> Response:
    """Show the account's newest report."""
    return report_page(visit, None)


@reports.get("/reports/{account}/{reconciliation_id}")
def one_report(visit: Reading, reconciliation_id: str) -> Response:
    """Show one report."""
    return report_page(visit, reconciliation_id)


@reports.get("/reports/{account}/{reconciliation_id}/download/{report_format}")
def download(visit: Reading, reconciliation_id: str, report_format: ReportFormat) -> Response:
    """Send one report as a file with all its differences, masked as everywhere."""
    account = visit.account
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed after sending
    with reading(account) as opened:
        report = stored_report(opened, reconciliation_id)
        if report is None:
            spool.close()
            return _no_such_report(account, reconciliation_id, Frame(visit.to, account))
        differences = read_differences(opened.engine, opened.config, account, reconciliation_id)
        tables = opened.config.tables_for(account)
        write_report(report, report_format, spool, differences, tables)
    spool.seek(0)
    name = f"reconciliation-{account}-{reconciliation_id}.{report_format.extension}"
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    headers = {**HEADERS, "Content-Disposition": disposition}
    return StreamingResponse(pieces(spool), media_type=report_format.media_type, headers=headers)


def report_page(visit: Visit, reconciliation_id: str | None) -> Response:
    """Return the page of a stored report, the newest where no id is given."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.REPORTS)
        report = stored_report(opened, reconciliation_id)
    if report is None and reconciliation_id is None:
        return Page(_no_report(visit, frame))
    if report is None:
        return _no_such_report(visit.account, str(reconciliation_id), frame)
    own = visit.to.report(report.account, report.reconciliation_id)
    links = PageLinks(
        report=lambda id_: visit.to.report(report.account, id_),
        downloads={f"Download {form.upper()}": f"{own}/download/{form}" for form in _DOWNLOADS},
    )
    return Page(render_html(report, links, frame))


def stored_report(opened: AccountContext, reconciliation_id: str | None) -> ReconciliationReport | None:
    """Return a stored report; None where there is none."""
    try:
        return load_report(opened.engine, opened.account, reconciliation_id)
    except ConfigurationError:
        # A migrated warehouse leaves one cause: there is no such report.
        return None


def _no_report(visit: Visit, frame: Frame) -> str:
    dag_id = account_name("reconcile", visit.account)
    return render_no_report(account=visit.account, dag_id=dag_id, frame=frame)


def _no_such_report(account: str, reconciliation_id: str, frame: Frame) -> Response:
    body = (
        f"The account {account} has no stored reconciliation {reconciliation_id}. Stored differences are"
        " deleted after reconcile.keep_days days of sync.yaml."
    )
    return Page(render_message("No such report", body, frame=frame), 404)
