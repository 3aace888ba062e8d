"""The page of the change-order checks."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from enerflo_airflow.page_parts import Page, Reading, reading
from enerflo_sync.addresses import Place
from enerflo_sync.jobs.quality import read_quality
from enerflo_sync.quality.render.html import render_quality

quality = APIRouter()


@quality.get("/quality/{account}")
def change_orders(visit: Reading) -> Response:
    """Show the state of the account's change orders at the last check."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        report = read_quality(opened)
        frame = visit.frame(connection, Place.CHECKS)
    return Page(render_quality(report, frame))
