"""The inbox, and the forms that act on its entries: quarantined items, held orders, parked changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Form
from fastapi.responses import Response

from enerflo_airflow.page_parts import Acting, Page, Reading, Visit, reading
from enerflo_airflow.page_runs import going_run, is_paused, start_run
from enerflo_sync.addresses import Place
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.quality import run_release
from enerflo_sync.jobs.quarantine import run_dismiss
from enerflo_sync.jobs.retry import run_retry
from enerflo_sync.pages.inbox import InboxFilter, read_inbox, render_inbox
from enerflo_sync.pages.inbox_group import read_inbox_group, render_inbox_group
from enerflo_sync.pages.resolved import resolved_items, resolved_parked
from enerflo_sync.plan.retry import RetrySelection
from enerflo_sync.reconcile.render import render_message

inbox = APIRouter()

Fingerprint = Annotated[str, Form(max_length=64)]
Items = Annotated[list[str], Form(max_length=50, default_factory=list)]
Reason = Annotated[str, Form(max_length=500)]


@inbox.get("/inbox/{account}")
def show_inbox(visit: Reading) -> Response:
    """Show every entry that waits for a person."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.INBOX)
        try:
            wanted = InboxFilter.of(visit.request.query_params)
            page = read_inbox(connection, opened.config, visit.account, visit.to, wanted)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
    return Page(render_inbox(page, frame))


@inbox.get("/inbox/{account}/{fingerprint}")
def show_group(visit: Reading, fingerprint: str, after: str | None = None) -> Response:
    """Show the open items of one fingerprint."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.INBOX)
        try:
            page = read_inbox_group(connection, visit.account, visit.to, fingerprint, after)
        except ConfigurationError as error:
            return Page(render_message("No such entry", str(error), frame=frame), 404)
    return Page(render_inbox_group(page, frame))


@inbox.post("/inbox/{account}/release")
def release(
    visit: Acting, item: Items, fingerprint: Fingerprint = "", seen: Fingerprint = "", reason: Reason = ""
) -> Response:
    """Let held change orders through as they are."""

    def act(opened: AccountContext) -> str:
        chosen = _chosen(fingerprint, seen, item)
        count = run_release(opened, item, **chosen, reason=reason, by=visit.name)
        return f"{count_of(count, 'change order')} released: the next plan takes up what is due."

    return _act(visit, act, _items_resolved(visit, fingerprint, item))


@inbox.post("/inbox/{account}/dismiss")
def dismiss(
    visit: Acting, item: Items, fingerprint: Fingerprint = "", seen: Fingerprint = "", reason: Reason = ""
) -> Response:
    """Close quarantined items for good without ingesting them."""

    def act(opened: AccountContext) -> str:
        chosen = _chosen(fingerprint, seen, item)
        count = run_dismiss(opened, items=item, **chosen, reason=reason, by=visit.name)
        return f"{count_of(count, 'item')} dismissed."

    return _act(visit, act, _items_resolved(visit, fingerprint, item))


@inbox.post("/inbox/{account}/replay")
def replay(visit: Acting, fingerprint: Fingerprint = "") -> Response:
    """Start the run that replays a group of quarantined items, and lead to it."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        try:
            page = read_inbox_group(connection, visit.account, visit.to, fingerprint, None)
        except ConfigurationError as error:
            return Page(render_message("No such entry", str(error), frame=visit.frame(connection)), 404)
        if not page.items:
            return _told(visit, connection, page.resolved)
    conf = {"selection": "fingerprint", "value": page.fingerprint, "action": "replay"}
    if (going := going_run(visit, "replay", conf)) is not None:
        return visit.done(going, "Somebody started this already: this is it.")
    address = start_run(visit, "replay", conf)
    waits = " It waits until the DAG is switched on." if is_paused(visit, "replay") else ""
    return visit.done(address, f"The run was started.{waits}")


@inbox.post("/inbox/{account}/retry")
def retry(visit: Acting, fingerprint: Fingerprint = "") -> Response:
    """Let the next plan have parked changes again."""

    def act(opened: AccountContext) -> str:
        report = run_retry(opened, RetrySelection(fingerprint=fingerprint or "none"), by=visit.name)
        return f"{count_of(len(report.changes), 'change')} in the next plan again."

    return _act(visit, act, lambda connection: resolved_parked(connection, visit.account))


def _items_resolved(visit: Visit, fingerprint: str, items: list[str]) -> Callable[[sa.Connection], str]:
    if not fingerprint and not items:
        return lambda _: ""
    return lambda connection: resolved_items(connection, visit.account, fingerprint, items)


def _chosen(fingerprint: str, seen: str, items: list[str]) -> dict[str, str | None]:
    """Return the group that a form is about, as its reader saw it; nothing where items are checked."""
    return {} if items else {"fingerprint": fingerprint or None, "seen": seen}


def _act(
    visit: Visit, act: Callable[[AccountContext], str], resolved: Callable[[sa.Connection], str]
) -> Response:
    """Execute a form and lead back to the inbox; on failure say who resolved the entry before."""
    with reading(visit.account) as opened:
        try:
            notice = act(opened)
        except ConfigurationError as error:
            with opened.engine.connect() as connection:
                return _told(visit, connection, str(error), resolved(connection))
    return visit.done(visit.to.of(Place.INBOX, visit.account), notice)


def _told(visit: Visit, connection: sa.Connection, *sentences: str) -> Response:
    frame = visit.frame(connection, Place.INBOX)
    return Page(render_message("Nothing was changed", " ".join(sentences), frame=frame), 409)
