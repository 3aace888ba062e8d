"""The page of the change-order checks."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from enerflo_airflow.links import report_path
from enerflo_airflow.page_parts import Page, ReadableAccount, here, reading
from enerflo_sync.jobs.quality import read_quality
from enerflo_sync.quality.render.html import render_quality
from enerflo_sync.reconcile.render import PageLinks

quality = APIRouter()


@quality.get("/quality/{account}")
def change_orders(account: ReadableAccount, request: Request) -> Response:
    """Show the state of the account's change orders at the last check."""
    with reading(account) as opened:
        report = read_quality(opened)
    return Page(render_quality(report, PageLinks(index=here(request) + report_path(account))))
