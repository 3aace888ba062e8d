"""The pages of plans: one plan, the list of all, and a plan's changes as a file."""

from __future__ import annotations

import tempfile
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.page_parts import HEADERS, Page, Reading, pieces, reading
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.records import record_address
from enerflo_sync.plan.reads import read_changes, read_plan, read_plans, read_undecided
from enerflo_sync.plan.render import render_plan, render_plans, write_plan
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided, show_plan
from enerflo_sync.reconcile.render import PageLinks, render_message

_SPOOL_BYTES = 8 * 1024 * 1024
_LISTED = 100

plans = APIRouter()


@plans.get("/plans/{account}")
def all_plans(visit: Reading) -> Response:
    """List the account's plans, newest first."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        found = read_plans(connection, account, most=_LISTED)
        frame = visit.frame(connection, Place.PLANS)
    link = lambda plan_hash: visit.to.plan(account, plan_hash)  # noqa: E731
    return Page(render_plans(found, link, account=account, frame=frame))


@plans.get("/plans/{account}/{plan_hash}")
def one_plan(visit: Reading, plan_hash: str) -> Response:
    """Show one plan with samples of its changes, masked."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.PLANS)
        try:
            shown = show_plan(connection, opened.config, account, plan_hash)
        except ConfigurationError as error:
            return Page(render_message("No such plan", str(error), frame=frame), 404)
        tables = opened.config.tables_for(account)
    own = visit.to.plan(account, shown.plan.plan_hash)
    links = PageLinks(downloads={"Download JSON": f"{own}/download"})
    record = partial(record_address, visit.to, account, tables)
    return Page(render_plan(shown, links, record, frame))


@plans.get("/plans/{account}/{plan_hash}/download")
def download_plan(visit: Reading, plan_hash: str) -> Response:
    """Send a plan with all its changes as JSON, masked as everywhere."""
    account = visit.account
    spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed after sending
    try:
        with reading(account) as opened, opened.engine.connect() as connection:
            plan = read_plan(connection, account, plan_hash)
            tables = opened.config.tables_for(account)
            questions = masked_undecided(read_undecided(connection, account, plan.plan_hash), tables)
            changes = masked_changes(read_changes(connection, account, plan.plan_hash), tables)
            write_plan(plan, changes, questions, spool)
    except ConfigurationError as error:
        spool.close()
        return Page(render_message("No such plan", str(error)), 404)
    spool.seek(0)
    name = quote(f"plan-{account}-{plan.plan_hash[:12]}.json", safe="")
    headers = {**HEADERS, "Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return StreamingResponse(pieces(spool), media_type="application/json", headers=headers)
