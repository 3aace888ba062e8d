"""The page of the checks, and the form that lets held change orders through."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import Response

from enerflo_airflow.page_parts import Acting, Page, Reading, Visit, reading
from enerflo_sync.addresses import Place
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.quality import open_life_cycle, open_suite, run_release
from enerflo_sync.pages.quality import ChecksFilter, Listing, read_checks_page, render_checks
from enerflo_sync.reconcile.render import PageLinks, render_message

quality = APIRouter()

_LONGEST_REASON = 1_000


@quality.get("/quality/{account}")
def checks(visit: Reading) -> Response:
    """Show the checks as of the last run, the orders that fail them, or the findings of the life cycle."""
    account = visit.account
    with reading(account) as opened, opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.CHECKS)
        try:
            wanted = ChecksFilter.of(visit.request.query_params)
        except ConfigurationError as error:
            return Page(render_message("This address leads nowhere", str(error), frame=frame), 400)
        suite, life_cycle = open_suite(opened), open_life_cycle(opened)
        page = read_checks_page(connection, suite, life_cycle, account, wanted)
    return Page(render_checks(page, frame))


@quality.post("/quality/{account}/release")
def release(
    visit: Acting,
    item: Annotated[list[str] | None, Form()] = None,
    reason: Annotated[str, Form()] = "",
    check: Annotated[str, Form()] = "",
    state: Annotated[str, Form()] = "",
) -> Response:
    """Let the chosen change orders through as they are."""
    parts = {"list": str(Listing.ORDERS), "check": check or None, "state": state or None}
    back = visit.to.of(Place.CHECKS, visit.account, **parts)
    with reading(visit.account) as opened:
        try:
            count = _release(opened, visit, item or (), reason)
        except ConfigurationError as error:
            return _refused(visit, opened, str(error), back)
    orders = count_of(count, "change order")
    return visit.done(
        back, f"You let {orders} through. The next plan takes {'it' if count == 1 else 'them'} up."
    )


def _release(opened: AccountContext, visit: Visit, items: list[str] | tuple[()], reason: str) -> int:
    said = reason.replace("\0", "").strip()
    wrong = {
        "no change order was chosen.": not items,
        f"{len(items)} change orders are more than a page has.": len(items) > 100,
        "nothing says why they may go to the CRM as they are.": not said,
        f"the reason is longer than {_LONGEST_REASON:,} characters.": len(said) > _LONGEST_REASON,
    }
    for what, is_so in wrong.items():
        if is_so:
            raise ConfigurationError(what, where="this form", next_step="Go back, and complete it.")
    named = [one.replace("\0", "") for one in dict.fromkeys(items)]
    return run_release(opened, named, reason=said, by=visit.name)


def _refused(visit: Visit, opened: AccountContext, why: str, back: str) -> Response:
    with opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.CHECKS)
    links = PageLinks(others={"Back to the orders that fail": back})
    return Page(render_message("Nothing was let through", why, links=links, frame=frame), 409)
