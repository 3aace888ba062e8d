"""The page of the differences, and an export of exactly what it is filtered to."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import Page, Reading, reading
from enerflo_airflow.report_pages import stored_report
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.differences import DifferenceFilter, read_differences_page, render_differences
from enerflo_sync.reconcile.render import render_message, render_no_report

differences = APIRouter()


@differences.get("/differences/{account}")
def list_differences(visit: Reading) -> Response:
    """Show what differs by the newest reconciliation, or by the one that the address names."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.DIFFERENCES)
        try:
            wanted = DifferenceFilter.of(visit.request.query_params)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
        report = stored_report(opened, wanted.run)
        if report is None and wanted.run is None:
            dag_id = account_name("reconcile", account)
            return Page(render_no_report(account=account, dag_id=dag_id, frame=frame))
        if report is None:
            body = f"The account {account} has no stored reconciliation of this name. Look at the newest one."
            return Page(render_message("No such reconciliation", body, frame=frame), 404)
        page = read_differences_page(connection, opened.config, account, report, wanted)
    return Page(render_differences(page, opened.config.tables_for(account), frame))
