"""The pages of plans: one plan, the list of all, and a plan's changes as a file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from enerflo_airflow.links import explain_path, plan_path, report_path
from enerflo_airflow.page_parts import HEADERS, Page, ReadableAccount, here, pieces, reading
from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.page import render_explanation_page
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.plan.parts import record_name
from enerflo_sync.plan.reads import read_changes, read_plan, read_plans, read_undecided
from enerflo_sync.plan.render import render_plan, render_plans, write_plan
from enerflo_sync.plan.render.shown_plan import masked_changes, masked_undecided, show_plan
from enerflo_sync.reconcile.record import singular
from enerflo_sync.reconcile.render import PageLinks, render_message

_SPOOL_BYTES = 8 * 1024 * 1024
_LISTED = 100

plans = APIRouter()


@plans.get("/plans/{account}")
def all_plans(account: ReadableAccount, request: Request) -> Response:
    """List the account's plans, newest first."""
    root = here(request)
    with reading(account) as opened, opened.engine.connect() as connection:
        found = read_plans(connection, account, most=_LISTED)
    return Page(
        render_plans(
            found,
            lambda plan_hash: root + plan_path(account, plan_hash),
            account=account,
            index=root + report_path(account),
        )
    )


@plans.get("/plans/{account}/{plan_hash}")
def one_plan(account: ReadableAccount, plan_hash: str, request: Request) -> Response:
    """Show one plan with samples of its changes, masked."""
    root = here(request)
    try:
        with reading(account) as opened, opened.engine.connect() as connection:
            shown = show_plan(connection, opened.config, account, plan_hash)
            tables = opened.config.tables_for(account)
    except ConfigurationError as error:
        return Page(render_message("No such plan", str(error)), 404)
    own = root + plan_path(account, shown.plan.plan_hash)
    links = PageLinks(index=root + plan_path(account), downloads={"Download JSON": f"{own}/download"})
    return Page(
        render_plan(shown, links, lambda table, key: root + _explain_path(account, tables, table, key))
    )


@plans.get("/explain/{account}/{table}")
def explain_record(
    account: ReadableAccount,
    table: str,
    request: Request,
    key: Annotated[str, Query(min_length=1, max_length=400)],
    field: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Explain a record's values, with personal data masked."""
    links = PageLinks(index=here(request) + plan_path(account))
    try:
        with reading(account) as opened:
            found = run_explain(opened, table, key, field=field)
    except ConfigurationError as error:
        return Page(render_message("Nothing to explain", str(error)), 404)
    return Page(render_explanation_page(found, account, links))


def _explain_path(
    account: str, tables: Mapping[str, TableMapping], table: str, key: Mapping[str, object]
) -> str:
    """Return the path of a record's page; a stored key has its parts in another order than the mapping."""
    named = singular(table) if table in MIRROR_TABLES else table
    columns = tables[table].key_columns if table in tables else ()
    return explain_path(account, named, record_name(key, columns))


@plans.get("/plans/{account}/{plan_hash}/download")
def download_plan(account: ReadableAccount, plan_hash: str) -> Response:
    """Send a plan with all its changes as JSON, masked as everywhere."""
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
