"""The pages of plans: one plan, the list of all, and a plan's changes as a file."""

from __future__ import annotations

import tempfile
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.approver_check import approver_problem, who_alone_may_decide
from enerflo_airflow.page_parts import HEADERS, Page, Reading, pieces, reading
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.plan_lists import PlanListFilter, read_plan_list, render_plan_list
from enerflo_sync.pages.plans import PlansFilter, read_plan_page, read_plans_page, render_plan, render_plans
from enerflo_sync.plan.reads import read_changes, read_plan, read_undecided
from enerflo_sync.plan.render import write_plan
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided
from enerflo_sync.reconcile.render import render_message

_SPOOL_BYTES = 8 * 1024 * 1024

plans = APIRouter()


@plans.get("/plans/{account}")
def all_plans(visit: Reading) -> Response:
    """List the account's plans, newest first."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.PLANS)
        try:
            wanted = PlansFilter.of(visit.request.query_params)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
        page = read_plans_page(connection, visit.account, wanted)
    return Page(render_plans(page, frame))


@plans.get("/plans/{account}/{plan_hash}")
def one_plan(visit: Reading, plan_hash: str) -> Response:
    """Show one plan with samples of its changes, masked; or a page of one of its lists."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.PLANS)
        tables = opened.config.tables_for(account)
        barred = who_alone_may_decide(opened, visit.user)
        try:
            wanted = PlanListFilter.of(visit.request.query_params)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
        try:
            if wanted is not None:
                listed = read_plan_list(connection, opened.config, account, plan_hash, wanted)
                return Page(render_plan_list(listed, tables, frame, barred=barred))
            page = read_plan_page(connection, opened.config, account, plan_hash)
        except ConfigurationError as error:
            return Page(render_message("No such plan", str(error), frame=frame), 404)
    problem = approver_problem(account) if page.may_be_decided else ""
    return Page(render_plan(page, tables, frame, approvers=problem, barred=barred))


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
