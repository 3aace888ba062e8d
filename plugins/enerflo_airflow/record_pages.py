"""The page of one record, and what one may do from it: undo, replay, have personal data shown."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query
from fastapi.responses import RedirectResponse, Response

from enerflo_airflow.page_parts import Acting, Page, Reading, Revealing, Visit, reading
from enerflo_airflow.page_runs import going_run, start_run
from enerflo_airflow.page_tokens import token_for
from enerflo_airflow.replay import Action, Selection
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.quarantine import read_item
from enerflo_sync.jobs.reveal import run_reveal
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.pages.record import RecordPage, read_record_page, render_record
from enerflo_sync.reconcile.render import render_message
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.wording import utc

records = APIRouter()

Text = Annotated[str, Form(max_length=20_000)]


@records.get("/explain/{account}/{table}")
def explained_before(
    visit: Reading, table: str, key: Annotated[str, Query(min_length=1, max_length=400)]
) -> Response:
    """Lead from the address that earlier versions had to the record's page."""
    return RedirectResponse(visit.to.record(visit.account, table, key), 308)


@records.get("/record/{account}/{table}/{key:path}")
def record(visit: Reading, table: str, key: str, before: str | None = None) -> Response:
    """Show one record: what both sides say and why, what happened to it, what belongs to it."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection)
        try:
            page = read_record_page(
                connection, opened.config, visit.account, table, key, visit.to, before=before
            )
        except ConfigurationError as error:
            return _not_found(visit, frame, error)
    return _shown(visit, frame, page)


@records.post("/record/{account}/reveal")
def reveal(visit: Revealing, table: Text, key: Text) -> Response:
    """Show one record with its personal data, and record who saw it. The answer is kept nowhere."""
    with reading(visit.account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection)
        try:
            page = run_reveal(opened, table, key, visit.to, by=visit.name)
        except ConfigurationError as error:
            return _not_found(visit, frame, error)
    return _shown(visit, frame, page)


@records.post("/record/{account}/undo")
def undo(visit: Acting, table: Text, key: Text, plan: Text) -> Response:
    """Make the plan that takes back what a plan wrote, and lead to it."""
    with reading(visit.account) as opened:
        try:
            made = run_undo(opened, plan)
        except ConfigurationError as error:
            return _refused(visit, opened, error)
    taken = f"This plan takes {plan[:12]} back: {count_of(made.change_count, 'change')}."
    notice = f"{taken} Approve it." if made.change_count else f"Nothing of {plan[:12]} can be taken back."
    return visit.done(visit.to.plan(visit.account, made.plan_hash), notice)


@records.post("/record/{account}/replay")
def replay(visit: Acting, table: Text, key: Text, item: Text) -> Response:
    """Start a run that takes an item of quarantine in again."""
    with reading(visit.account) as opened:
        try:
            found = read_item(opened, item).item
            if found.state != "open":
                who = f" by {found.decided_by}" if found.decided_by else ""
                when = f" on {utc(found.decided_at)}" if found.decided_at else ""
                notice = f"Nothing was done: the item was {found.state}{who}{when} already."
                return visit.done(visit.to.record(visit.account, table, key), notice)
            conf = {"selection": str(Selection.ITEMS), "value": found.item_id, "action": str(Action.REPLAY)}
            address = going_run(visit, "replay", conf) or start_run(visit, "replay", conf)
        except ConfigurationError as error:
            return _refused(visit, opened, error)
    return visit.done(address, f"The item {found.item_id[:12]} is replayed by this run.")


def _shown(visit: Visit, frame: Frame, page: RecordPage) -> Page:
    may_reveal = page.masked and visit.may_reveal
    token = token_for(str(visit.user.get_id()), visit.account) if may_reveal else ""
    return Page(render_record(page, frame, reveal_token=token))


def _not_found(visit: Visit, frame: Frame, error: ConfigurationError) -> Page:
    return Page(render_message("No such record", str(error), frame=frame), 404)


def _refused(visit: Visit, opened: Any, error: ConfigurationError) -> Page:
    with opened.engine.connect() as connection:
        frame = visit.frame(connection)
    return Page(render_message("Not done", str(error), frame=frame), 400)
