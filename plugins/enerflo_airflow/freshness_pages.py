"""The page of an account's freshness, and the runs that close what it finds open."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from enerflo_airflow.accounts import account_name
from enerflo_airflow.page_parts import Acting, Page, Reading, Visit, reading
from enerflo_airflow.page_runs import going_run, is_paused, start_run
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
            times = opened.settings.schedule
            page = read_freshness(
                connection,
                visit.account,
                gaps,
                witnesses,
                polled=opened.config.poll.resources,
                poll_due=cron(times.poll, times.time_zone),
            )
    return Page(render_freshness(page, frame))


@freshness.post("/freshness/{account}/start")
def start(visit: Acting, job: Annotated[str, Form()] = "", full: Annotated[str, Form()] = "") -> Response:
    """Start the run that closes a hole: a poll, or an ingest of the drop."""
    if job not in _JOBS:
        return _refused(visit, f"{job[:40]!r} is not a job that this page starts.")
    conf: dict[str, object] = {"full": True} if job == "poll" and full else {}
    try:
        if (going := going_run(visit, job, conf)) is not None:
            return visit.done(going, "Somebody started this already: this is it.")
        followed = start_run(visit, job, conf)
    except ConfigurationError as error:
        return _refused(visit, str(error))
    words = "This run was started."
    if is_paused(visit, job):
        words = f"The run waits: the DAG {account_name(job, visit.account)} is switched off in Airflow."
    return visit.done(followed, words)


def _refused(visit: Visit, why: str) -> Response:
    links = PageLinks(others={"Back to the freshness": visit.to.of(Place.FRESHNESS, visit.account)})
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.FRESHNESS)
    return Page(render_message("Nothing was started", why, links=links, frame=frame), 409)
