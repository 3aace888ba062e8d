"""The pages to begin with: all accounts, and one account at a glance."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from enerflo_airflow.page_parts import Page, here, readable_accounts, reading
from enerflo_airflow.report_pages import stored_report
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.reconcile.render import verdict_text
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page

accounts = APIRouter()


@accounts.get("/accounts")
@accounts.get("/reports")
def all_accounts(request: Request, user: GetUserDep) -> Response:
    """List the accounts that the user may read, each with its newest verdict."""
    readable = readable_accounts(user)
    if not readable:
        raise HTTPException(403, "No account's reconciliation DAG may be read by this user.")
    to = Addresses(here(request))
    if len(readable) == 1:
        return RedirectResponse(to.of(Place.REPORTS, readable[0]))
    rows = []
    for name in readable:
        with reading(name) as opened:
            report = stored_report(opened, None)
        verdict = verdict_text(report) if report else None
        rows.append({"name": name, "address": to.of(Place.REPORTS, name), "verdict": verdict})
    return Page(render_page("accounts.html.j2", "enerflo_airflow", rows=rows, frame=Frame(to)))
