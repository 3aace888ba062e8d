"""The page of the differences, and an export of exactly what it is filtered to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import HEADERS, Page, Reading, Visit, reading
from enerflo_airflow.report_pages import stored_report
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.pages.differences import DifferenceFilter, read_differences_page, render_differences
from enerflo_sync.pages.export import read_exported
from enerflo_sync.reconcile.render import ReportFormat, render_message, render_no_report
from enerflo_sync.reconcile.render.csv_lines import csv_pieces
from enerflo_sync.reconcile.render.workbook import workbook_pieces
from enerflo_sync.reconcile.report import ReconciliationReport

differences = APIRouter()

_EXPORTS = {"csv": csv_pieces, "xlsx": workbook_pieces}


@differences.get("/differences/{account}")
def list_differences(visit: Reading) -> Response:
    """Show what differs by the newest reconciliation, or by the one that the address names."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        found = _asked_for(visit, opened, connection)
        if isinstance(found, Response):
            return found
        wanted, report = found
        page = read_differences_page(connection, opened.config, visit.account, report, wanted)
        frame = visit.frame(connection, Place.DIFFERENCES)
    return Page(render_differences(page, opened.config.tables_for(visit.account), frame))


@differences.get("/differences/{account}/export/{form}")
def export(visit: Reading, form: str) -> Response:
    """Send all that the filter of the address means as a file, masked as on the page.

    The file is sent while it is written, so that a browser shows how much of it has come.
    """
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        found = _asked_for(visit, opened, connection)
        if isinstance(found, Response):
            return found
        if form not in _EXPORTS:
            body = (
                f"Differences are exported as {' or '.join(_EXPORTS)}. Choose on the page of the differences."
            )
            frame = visit.frame(connection, Place.DIFFERENCES)
            return Page(render_message("No such file", body, frame=frame), 404)
        wanted, report = found
        content = _pieces(opened, report, wanted, form)
        # The first piece is made before the answer begins, so that an error is a page.
        first = next(content)
    chosen = "differences-chosen" if wanted.query.keys() - {"run"} else "differences"
    name = f"{chosen}-{account}-{report.started_at:%Y-%m-%d}.{form}"
    headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return StreamingResponse(
        chain([first], content), media_type=ReportFormat(form).media_type, headers=headers
    )


def _pieces(
    opened: AccountContext, report: ReconciliationReport, wanted: DifferenceFilter, form: str
) -> Iterator[bytes]:
    with opened.engine.connect() as connection:
        rows = read_exported(connection, opened.config, opened.account, report, wanted)
        yield from _EXPORTS[form](report, rows, opened.config.tables_for(opened.account))


def _asked_for(
    visit: Visit, opened: AccountContext, connection: sa.Connection
) -> tuple[DifferenceFilter, ReconciliationReport] | Response:
    """Return the filter of the address and the report that it is of; a page in words where there is none."""
    account = visit.account
    try:
        wanted = DifferenceFilter.of(visit.request.query_params)
    except ConfigurationError as error:
        frame = visit.frame(connection, Place.DIFFERENCES)
        return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
    report = stored_report(opened, wanted.run)
    if report is not None:
        return wanted, report
    frame = visit.frame(connection, Place.DIFFERENCES)
    if wanted.run is None:
        dag_id = account_name("reconcile", account)
        return Page(render_no_report(account=account, dag_id=dag_id, frame=frame))
    body = f"The account {account} has no stored reconciliation of this name. Look at the newest one."
    return Page(render_message("No such reconciliation", body, frame=frame), 404)
