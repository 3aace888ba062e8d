"""The pages inside Airflow: a small FastAPI app behind Airflow's own permissions.

Every route requires a signed-in user who may read the runs of the account's reconciliation DAG; the routes
that settle something, one who may edit the DAG that writes. The Airflow UI shows the pages in a sandboxed
frame, whose links may neither open windows nor leave the frame. So they lead only to pages of this app or to
downloads.
"""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from enerflo_airflow.account_pages import accounts
from enerflo_airflow.difference_pages import differences
from enerflo_airflow.freshness_pages import freshness
from enerflo_airflow.inbox_pages import inbox
from enerflo_airflow.links import base_path
from enerflo_airflow.page_parts import HEADERS, Page, here
from enerflo_airflow.plan_actions import plan_actions
from enerflo_airflow.plan_pages import plans
from enerflo_airflow.quality_pages import quality
from enerflo_airflow.record_pages import records
from enerflo_airflow.report_pages import reports
from enerflo_airflow.run_pages import run
from enerflo_airflow.search_pages import searches
from enerflo_sync.addresses import Addresses
from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.errors import EnerfloSyncError, RetriableError
from enerflo_sync.reconcile.render import Tone, render_message
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page, style_sheet

app = FastAPI(title="Enerflo pages", docs_url=None, redoc_url=None, openapi_url=None)
for _router in (
    accounts,
    differences,
    freshness,
    inbox,
    plan_actions,
    plans,
    quality,
    records,
    reports,
    run,
    searches,
):
    app.include_router(_router)


@app.get("/style.css")
def style(_: GetUserDep) -> Response:
    """Send the file that says how pages look; browsers keep each version of it."""
    kept = {**HEADERS, "Cache-Control": "private, max-age=31536000, immutable"}
    return Response(style_sheet(), media_type="text/css", headers=kept)


@app.exception_handler(EnerfloSyncError)
def explain(request: Request, error: EnerfloSyncError) -> Response:
    """Show an error page: why there is nothing to show, and what to do."""
    title = "Not set up yet"
    if isinstance(error, RetriableError):
        title = "The warehouse cannot be read now"
    elif isinstance(error, InvalidConfigurationError):
        title = "The configuration cannot be read"
    return Page(render_message(title, str(error), frame=_bare(request)), 503)


@app.exception_handler(RequestValidationError)
def unreadable(request: Request, error: RequestValidationError) -> Response:
    """Show an error page: a part of the address, or of a form, cannot be read."""
    parts = ", ".join(".".join(str(one) for one in found["loc"]) for found in error.errors())
    body = f"A part of it cannot be read: {parts}. Go back, and choose from the page."
    return Page(render_message("This address leads nowhere", body, frame=_bare(request)), 400)


@app.exception_handler(HTTPException)
def refuse(request: Request, error: HTTPException) -> Response:
    """Show an error page: the user is not signed in, lacks permission, or asks for what is not there."""
    if error.status_code == 401:
        back = urlencode({"next": str(request.url)})
        address = f"{base_path()}/api/v2/auth/login?{back}"
        return Page(render_page("sign_in.html.j2", "enerflo_airflow", address=address), 401)
    if error.status_code == 403:
        said = str(error.detail)
        body = (
            said
            if request.method == "POST"
            else "Your Airflow user may not read the runs of this account's reconciliation DAG."
        )
        return Page(render_message("No access", body, tone=Tone.BAD, frame=_bare(request)), 403)
    body, link = str(error.detail), None
    if body == HTTPStatus(error.status_code).phrase:
        # The router's own words, for an address that none of the pages has.
        body = "No page has this address, or it is one that a form sends something to."
        link = Addresses(here(request)).accounts(), "Begin at the accounts"
    return Page(render_message("Not found", body, link=link, frame=_bare(request)), error.status_code)


def _bare(request: Request) -> Frame:
    """Return what stands around a page of which no account is known."""
    return Frame(to=Addresses(here(request)))
