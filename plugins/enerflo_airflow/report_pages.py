"""The stored reports: one, the list of all, a report as a file, and the tab of a DAG run."""

from __future__ import annotations

import tempfile
from typing import Annotated
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.xcom import XComModel
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import HEADERS, Page, Reading, Visit, here, pieces, reading, visit
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.reconcile.render import (
    PageLinks,
    ReportFormat,
    render_html,
    render_index,
    render_message,
    render_no_report,
    write_report,
)
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import load_report, read_differences, trend

_DOWNLOADS = (ReportFormat.CSV, ReportFormat.XLSX, ReportFormat.PARQUET, ReportFormat.JSON, ReportFormat.HTML)
_SPOOL_BYTES = 8 * 1024 * 1024

reports = APIRouter()


@reports.get("/reports/{account}")
def reports_of(visit: Reading) -> Response:
    """List the account's reports, newest first."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        points = trend(connection, visit.account)
        frame = visit.frame(connection, Place.REPORTS)
    if not points:
        return Page(_no_report(visit, frame))
    link = lambda id_: visit.to.report(visit.account, id_)  # noqa: E731
    return Page(render_index(points, link, account=visit.account, frame=frame))


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


@reports.get("/run", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
def report_of_run(
    request: Request,
    user: GetUserDep,
    session: SessionDep,
    dag_id: Annotated[str, Query(min_length=1)],
    run_id: Annotated[str, Query(min_length=1)],
) -> Response:
    """Show the report of a DAG run, for the tab on the run's page."""
    query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key="return_value")
    for row in session.scalars(query):
        made = XComModel.deserialize_value(row)
        if isinstance(made, dict) and {"account", "reconciliation_id"} <= made.keys():
            return report_page(visit(str(made["account"]), request, user), str(made["reconciliation_id"]))
    return Page(
        render_message(
            "No report in this run",
            "Only runs of the reconciliation DAGs make a report. All reports are listed under Enerflo reports"
            " in the menu Browse.",
            frame=Frame(Addresses(here(request))),
        )
    )


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
