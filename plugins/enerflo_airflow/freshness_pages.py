"""The page of an account's freshness, and the runs that close what it finds open."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse, Response

from enerflo_airflow.page_parts import Acting, Page, Reading, Visit, reading
from enerflo_airflow.page_runs import start_run
from enerflo_sync.addresses import Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.jobs.gaps import read_gaps, read_witnesses
from enerflo_sync.pages.freshness import read_freshness, render_freshness
from enerflo_sync.reconcile.render import PageLinks, render_message

freshness = APIRouter()

_JOBS = ("poll", "webhooks")


@freshness.get("/freshness/{account}")
def show_freshness(visit: Reading) -> Response:
    """Show what was read whole and when, gaps, the budget of requests, webhooks, copies and backfills."""
    with reading(visit.account) as opened:
        gaps, witnesses = read_gaps(opened), read_witnesses(opened)
        with opened.engine.connect() as connection:
            frame = visit.frame(connection, Place.FRESHNESS)
            page = read_freshness(
                connection,
                visit.account,
                gaps,
                witnesses,
                polled=opened.config.poll.resources,
                poll_due=cron(opened.settings.schedule.poll),
            )
    return Page(render_freshness(page, frame))


@freshness.post("/freshness/{account}/start")
def start(visit: Acting, job: Annotated[str, Form()] = "", full: Annotated[str, Form()] = "") -> Response:
    """Start the run that closes a hole: a poll, or a look into the drop."""
    if job not in _JOBS:
        return _refused(visit, f"{job[:40]!r} is nothing that this page starts.")
    return _followed(visit, job, {"full": True} if job == "poll" and full else {})


@freshness.post("/freshness/{account}/backfill")
def start_backfill(
    visit: Acting, start: Annotated[str, Form()] = "", end: Annotated[str, Form()] = ""
) -> Response:
    """Start a backfill of a window, which asks a person once it has its estimate."""
    try:
        first, last = (date.fromisoformat(text) for text in (start, end))
    except ValueError:
        return _refused(visit, "The window is no pair of days, as in 2026-03-01.")
    if last < first:
        return _refused(visit, "The window ends before it begins.")
    window = {"choice": "window", "start": first.isoformat(), "end": last.isoformat(), "limit": 0}
    return _followed(visit, "backfill", window)


def _followed(visit: Visit, job: str, conf: dict[str, object]) -> Response:
    try:
        return RedirectResponse(start_run(visit, job, conf), 303)
    except ConfigurationError as error:
        return _refused(visit, str(error))


def _refused(visit: Visit, why: str) -> Response:
    links = PageLinks(others={"Back to the freshness": visit.to.of(Place.FRESHNESS, visit.account)})
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.FRESHNESS)
    return Page(render_message("Nothing was started", why, links=links, frame=frame), 409)
