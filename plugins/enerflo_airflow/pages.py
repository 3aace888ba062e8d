"""The report pages inside Airflow: a small FastAPI app behind Airflow's own permissions.

Every route requires a signed-in user who may read the runs of the account's reconciliation DAG. The Airflow
UI shows the pages in a sandboxed frame, whose links may neither open windows nor leave the frame. So they
lead only to pages of this app or to downloads.
"""

from __future__ import annotations

import tempfile
from typing import Annotated
from urllib.parse import quote, urlencode

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.xcom import XComModel
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from enerflo_airflow.accounts import account_name, sync_config
from enerflo_airflow.links import base_path, plan_path, quality_path, report_path
from enerflo_airflow.page_parts import (
    HEADERS,
    Page,
    ReadableAccount,
    here,
    may_read,
    pieces,
    reading,
    user_may_read,
)
from enerflo_airflow.plan_pages import plans
from enerflo_airflow.quality_pages import quality
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError, RetriableError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.reconcile.render import (
    PageLinks,
    ReportFormat,
    Tone,
    render_html,
    render_index,
    render_message,
    render_no_report,
    verdict_text,
    write_report,
)
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import load_report, read_differences, trend

_DOWNLOADS = (ReportFormat.CSV, ReportFormat.XLSX, ReportFormat.PARQUET, ReportFormat.JSON, ReportFormat.HTML)
_SPOOL_BYTES = 8 * 1024 * 1024

app = FastAPI(title="Enerflo reports", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(plans)
app.include_router(quality)


@app.get("/reports")
def accounts(request: Request, user: GetUserDep) -> Response:
    """List the accounts whose reports the user may read, each with its newest verdict."""
    readable = [name for name in sync_config().accounts if user_may_read(name, user)]
    if not readable:
        raise HTTPException(403, "No account's reconciliation DAG may be read by this user.")
    if len(readable) == 1:
        return RedirectResponse(here(request) + report_path(readable[0]))
    rows = []
    for name in readable:
        with reading(name) as opened:
            report = _stored(opened, None)
        verdict = verdict_text(report) if report else None
        rows.append({"name": name, "address": here(request) + report_path(name), "verdict": verdict})
    page = render_page("accounts.html.j2", "enerflo_airflow", rows=rows, links=PageLinks())
    return Page(page)


@app.get("/reports/{account}")
def reports(account: ReadableAccount, request: Request) -> Response:
    """List the account's reports, newest first."""
    with reading(account) as opened, opened.engine.connect() as connection:
        points = trend(connection, account)
    if not points:
        return Page(render_no_report(account=account, dag_id=account_name("reconcile", account)))
    return Page(
        render_index(
            points,
            lambda id_: here(request) + report_path(account, id_),
            account=account,
            others=_others(request, account),
        )
    )


@app.get("/reports/{account}/latest")
def latest_report(account: ReadableAccount, request: Request) -> Response:
    """Show the account's newest report."""
    return _report_page(request, account, None)


@app.get("/reports/{account}/{reconciliation_id}")
def one_report(account: ReadableAccount, reconciliation_id: str, request: Request) -> Response:
    """Show one report."""
    return _report_page(request, account, reconciliation_id)


@app.get("/reports/{account}/{reconciliation_id}/download/{report_format}")
def download(account: ReadableAccount, reconciliation_id: str, report_format: ReportFormat) -> Response:
    """Send one report as a file with all its differences, masked as everywhere."""
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed after sending
    with reading(account) as opened:
        report = _stored(opened, reconciliation_id)
        if report is None:
            spool.close()
            return _no_such_report(account, reconciliation_id)
        differences = read_differences(opened.engine, opened.config, account, reconciliation_id)
        write_report(report, report_format, spool, differences)
    spool.seek(0)
    name = f"reconciliation-{account}-{reconciliation_id}.{report_format.extension}"
    disposition = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    headers = {**HEADERS, "Content-Disposition": disposition}
    return StreamingResponse(pieces(spool), media_type=report_format.media_type, headers=headers)


@app.get("/run", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
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
            account = may_read(str(made["account"]), request, user)
            return _report_page(request, account, str(made["reconciliation_id"]))
    return Page(
        render_message(
            "No report in this run",
            "Only runs of the reconciliation DAGs make a report. All reports are listed under Enerflo reports"
            " in the menu Browse.",
        )
    )


@app.exception_handler(EnerfloSyncError)
def explain(request: Request, error: EnerfloSyncError) -> Response:
    """Show an error page: why there is no report, and what to do."""
    title = "The warehouse cannot be read now" if isinstance(error, RetriableError) else "Not set up yet"
    return Page(render_message(title, str(error)), 503)


@app.exception_handler(HTTPException)
def refuse(request: Request, error: HTTPException) -> Response:
    """Show an error page: the user is not signed in, or lacks permission."""
    if error.status_code == 401:
        back = urlencode({"next": str(request.url)})
        address = f"{base_path()}/api/v2/auth/login?{back}"
        page = render_page("sign_in.html.j2", "enerflo_airflow", address=address, links=PageLinks())
        return Page(page, 401)
    if error.status_code == 403:
        body = "Your Airflow user may not read the runs of this account's reconciliation DAG."
        return Page(render_message("No access", body, tone=Tone.BAD), 403)
    return Page(render_message("Not found", str(error.detail)), error.status_code)


def _report_page(request: Request, account: str, reconciliation_id: str | None) -> Response:
    with reading(account) as opened:
        report = _stored(opened, reconciliation_id)
    if report is None and reconciliation_id is None:
        return Page(render_no_report(account=account, dag_id=account_name("reconcile", account)))
    if report is None:
        return _no_such_report(account, str(reconciliation_id))
    return Page(render_html(report, _links(request, report)))


def _stored(opened: AccountContext, reconciliation_id: str | None) -> ReconciliationReport | None:
    try:
        return load_report(opened.engine, opened.account, reconciliation_id)
    except ConfigurationError:
        # A migrated warehouse leaves one cause: there is no such report.
        return None


def _links(request: Request, report: ReconciliationReport) -> PageLinks:
    root = here(request)
    own = root + report_path(report.account, report.reconciliation_id)
    return PageLinks(
        others=_others(request, report.account),
        index=root + report_path(report.account),
        report=lambda id_: root + report_path(report.account, id_),
        downloads={f"Download {form.upper()}": f"{own}/download/{form}" for form in _DOWNLOADS},
    )


def _others(request: Request, account: str) -> dict[str, str]:
    root = here(request)
    return {"Plans": root + plan_path(account), "Change-order checks": root + quality_path(account)}


def _no_such_report(account: str, reconciliation_id: str) -> Response:
    body = (
        f"The account {account} has no stored reconciliation {reconciliation_id}. Stored differences are"
        " deleted after reconcile.keep_days days of sync.yaml."
    )
    return Page(render_message("No such report", body), 404)
