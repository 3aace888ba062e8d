"""The pages to begin with: all accounts, the card on Airflow's home, and one account at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import sqlalchemy as sa
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models import DagModel, DagRun
from airflow.utils.state import DagRunState
from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session, aliased

from enerflo_airflow.account_lines import read_lines
from enerflo_airflow.accounts import account_name, sync_config
from enerflo_airflow.approver_check import approver_problem
from enerflo_airflow.links import page_address
from enerflo_airflow.page_parts import HEADERS, Acting, Page, Reading, Visit, here, readable_accounts, reading
from enerflo_airflow.page_runs import going_run, is_paused, start_run
from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.backfill.request import Kind, window_request
from enerflo_sync.backfill.store import State, load_backfill
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.pages.accounts import page_number, render_accounts, render_card, show_accounts
from enerflo_sync.pages.overview import (
    FailedRun,
    NextRun,
    read_overview,
    render_backfill_form,
    render_overview,
)
from enerflo_sync.pages.run_page import JOBS
from enerflo_sync.reconcile.render import render_message
from enerflo_sync.reconcile.render.frame import Frame

accounts = APIRouter()

# An older failure is not shown: a job that only people start may not run again for a long time.
_OLD_FAILURE = timedelta(days=30)

# A component for Airflow's home page: a frame with the card.
_CARD = """\
globalThis.AirflowPlugin = () => globalThis.React.createElement("iframe", {
  src: new URL("card", import.meta.url).href,
  title: "Enerflo and CRM",
  style: {border: "none", width: "100%", height: "90px", display: "block", order: 2},
  onLoad: (event) => {
    const main = event.target.contentDocument?.querySelector("main");
    if (main) event.target.style.height = `${Math.ceil(main.getBoundingClientRect().bottom) + 1}px`;
  },
});
"""


@accounts.get("/accounts")
def all_accounts(request: Request, user: GetUserDep, q: str = "", page: str = "") -> Response:
    """List the accounts that the user may read, each with its newest verdict, the worst first."""
    readable = _readable(user)
    to = Addresses(here(request))
    if len(readable) == 1:
        return RedirectResponse(to.of(Place.OVERVIEW, readable[0]), 303)
    try:
        number = page_number(page)
    except ConfigurationError as error:
        return Page(render_message("This address leads nowhere", str(error), frame=Frame(to)), 400)
    shown = show_accounts(read_lines(readable), q, number, datetime.now(UTC))
    return Page(render_accounts(shown, Frame(to)))


@accounts.get("/")
@accounts.get("/reports")
def accounts_from_elsewhere(request: Request, user: GetUserDep) -> Response:
    """Lead to the accounts: from the root, and from the address that earlier versions had in the menu."""
    _readable(user)
    return RedirectResponse(Addresses(here(request)).accounts(), 308)


@accounts.get("/card")
def card(request: Request, user: GetUserDep) -> Response:
    """Show the worst accounts as a card for Airflow's home."""
    to = Addresses(here(request))
    shown = show_accounts(read_lines(_readable(user)), "", 1, datetime.now(UTC))
    prefix = page_address("").removesuffix(here(request))
    return Page(render_card(shown, prefix, Frame(to)))


@accounts.get("/card.js")
def card_script(user: GetUserDep) -> Response:
    """Send the component that shows the card on Airflow's home."""
    _readable(user)
    headers = {name: HEADERS[name] for name in ("X-Content-Type-Options", "Cache-Control")}
    return Response(_CARD, media_type="text/javascript", headers=headers)


def _readable(user: GetUserDep) -> list[str]:
    readable = readable_accounts(user)
    if not readable:
        raise HTTPException(403, "No account's reconciliation DAG may be read by this user.")
    return readable


@accounts.get("/overview/{account}")
def overview(visit: Reading, session: SessionDep) -> Response:
    """Show one account at a glance."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.OVERVIEW)
        runs = (_next_runs(session, account), _failed_runs(session, account))
        shown = read_overview(connection, opened.config, account, *runs)
        tables = opened.config.tables_for(account)
    return Page(
        render_overview(
            shown,
            tables,
            account_name("reconcile", account),
            account_name("poll", account),
            frame,
            approvers=approver_problem(account),
        )
    )


def _next_runs(session: Session, account: str) -> Mapping[str, NextRun]:
    """Return by job when Airflow starts it next; none where its DAG is not known to Airflow yet."""
    jobs = {account_name(job, account): job for job in ("poll", "reconcile")}
    rows = session.execute(
        sa.select(DagModel.dag_id, DagModel.is_paused, DagModel.next_dagrun_create_after).where(
            DagModel.dag_id.in_(jobs)
        )
    )
    found = {}
    for row in rows:
        job = jobs[row.dag_id]
        if row.is_paused:
            found[job] = NextRun(job, None)
        elif row.next_dagrun_create_after is not None:
            found[job] = NextRun(job, row.next_dagrun_create_after)
    return found


def _failed_runs(session: Session, account: str) -> list[FailedRun]:
    """Return the jobs whose newest run that ended failed, the latest first.

    Failures are few among years of runs, so they are looked for first.
    """
    jobs = {account_name(job, account): job for job in JOBS}
    last = (
        sa.select(DagRun.dag_id, sa.func.max(DagRun.run_after).label("run_after"))
        .where(DagRun.dag_id.in_(jobs), DagRun.state == DagRunState.FAILED)
        .group_by(DagRun.dag_id)
        .subquery()
    )
    later = aliased(DagRun)
    ended_well = sa.exists().where(
        later.dag_id == DagRun.dag_id,
        later.state == DagRunState.SUCCESS,
        later.run_after > DagRun.run_after,
    )
    rows = session.execute(
        sa.select(DagRun.dag_id, DagRun.run_id, DagRun.end_date)
        .join(last, sa.and_(DagRun.dag_id == last.c.dag_id, DagRun.run_after == last.c.run_after))
        .where(
            DagRun.state == DagRunState.FAILED,
            DagRun.end_date > datetime.now(UTC) - _OLD_FAILURE,
            ~ended_well,
        )
        .order_by(DagRun.end_date.desc())
    )
    return [FailedRun(jobs[row.dag_id], row.dag_id, row.run_id, row.end_date) for row in rows]


@accounts.post("/overview/{account}/reconcile")
def reconcile_now(visit: Acting) -> Response:
    """Start a reconciliation, and lead to the page that follows it."""
    if (going := going_run(visit, "reconcile", {})) is not None:
        return visit.done(going, "A reconciliation is under way already: this is it.")
    return visit.done(start_run(visit, "reconcile", {}), "A reconciliation was started.")


@accounts.get("/overview/{account}/backfill")
def backfill_form(visit: Reading) -> Response:
    """Ask which installs a backfill reads."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.OVERVIEW)
    return Page(render_backfill_form(visit.account, frame, paused=is_paused(visit, "backfill")))


@accounts.post("/overview/{account}/backfill")
def estimate_backfill(
    visit: Acting, start: Annotated[str, Form()] = "", end: Annotated[str, Form()] = ""
) -> Response:
    """Start the estimate of a backfill, and lead to the page that follows it."""
    try:
        # Told here, so that nobody waits for a run that must fail.
        window_request(start.strip() or None, end.strip() or None, now=datetime.now(UTC))
    except ConfigurationError as error:
        return _refused(visit, "This window cannot be read", error, 400)
    return _started(visit, {**_window(start, end), "estimate_only": True}, "estimate")


@accounts.post("/overview/{account}/backfill/{backfill_id}")
def start_backfill(visit: Acting, backfill_id: str) -> Response:
    """Start a backfill that was estimated, and lead to the page that follows it."""
    try:
        with reading(visit.account) as opened, opened.engine.connect() as connection:
            found = load_backfill(connection, visit.account, backfill_id)
    except ConfigurationError as error:
        return _refused(visit, "No such backfill", error, 404)
    if found.state is not State.ESTIMATED or found.request.kind is not Kind.WINDOW:
        error = ConfigurationError(
            f"this backfill is {found.state} by now: somebody started it, or one of the same installs."
            if found.request.kind is Kind.WINDOW
            else "only a backfill of a window is started here.",
            where=f"backfill {found.backfill_id}",
            next_step="The page Freshness lists all of them with their progress.",
        )
        return _refused(visit, "Nothing was started", error, 409)
    window = found.request
    first = "" if window.window_from is None else window.window_from.date().isoformat()
    # Without a limit: whoever may start it is not always who may approve a large one.
    conf = {**_window(first, _last_day(window.window_to)), "estimate_only": False}
    estimated = int((found.estimate or {}).get("requests", 0))
    is_asked = estimated > sync_config().approval.backfill_requests
    return _started(visit, conf, "backfill", "A person is asked first: Required Actions." if is_asked else "")


def _refused(visit: Visit, title: str, error: ConfigurationError, status: int) -> Response:
    """Return the page that says why a form did nothing, with the account's bar as the way back."""
    return Page(render_message(title, str(error), frame=Frame(visit.to, visit.account)), status)


def _window(start: str, end: str) -> dict[str, object]:
    return {"choice": "window", "start": start.strip() or None, "end": end.strip() or None}


def _last_day(end: datetime | None) -> str:
    """Return the last day of a window, whose stored end is exclusive."""
    return "" if end is None else (end - timedelta(microseconds=1)).date().isoformat()


def _started(visit: Visit, conf: Mapping[str, object], what: str, more: str = "") -> Response:
    if (going := going_run(visit, "backfill", conf)) is not None:
        return visit.done(going, f"This {what} was asked for already: this is it.")
    words = f"The {what} was started."
    if is_paused(visit, "backfill"):
        words = f"The {what} waits: its DAG is switched off in Airflow."
    return visit.done(start_run(visit, "backfill", conf), f"{words} {more}".strip())
