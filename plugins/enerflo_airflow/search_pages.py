"""The search of an account's records."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from enerflo_airflow.page_parts import HEADERS, Page, Reading, reading
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.search import render_search, search
from enerflo_sync.reconcile.render import render_message

searches = APIRouter()


def keep_out_of_log(request: Request) -> None:
    """Take what was typed out of the request before Airflow's access log prints the request's address.

    The request itself has read both by then, and keeps them.
    """
    if request.query_params and request.url:
        request.scope["query_string"] = b"q=***"


@searches.get("/search/{account}", dependencies=[Depends(keep_out_of_log)])
def find(visit: Reading) -> Response:
    """Show the records that a text names; lead to the one that it names exactly."""
    text = visit.request.query_params.get("q", "")
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection)
        try:
            found = search(connection, opened.config, visit.account, text, visit.to)
        except ConfigurationError as error:
            return Page(render_message("This search cannot be made", str(error), frame=frame), 400)
    if found.only is not None and found.only.address is not None:
        return RedirectResponse(found.only.address, 303, headers=HEADERS)
    return Page(render_search(found, visit.account, frame))
