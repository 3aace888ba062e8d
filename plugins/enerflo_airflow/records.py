"""Enerflo's API for a team's own DAGs: a session with key and budget, and any list as plain records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypedDict

import requests

from enerflo_sync.clock import SystemClock
from enerflo_sync.enerflo.address import base_address
from enerflo_sync.enerflo.budget import RequestBudget
from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.keyed_adapter import KeyedAdapter
from enerflo_sync.enerflo.pages import PageWalk
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.extras import needs_extra
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.resources.registry import ALL
from enerflo_sync.warehouse.request_lanes import Lane

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]

# Envelopes of the lists in REFERENCE.md §6; for any other list the caller gives the envelope.
_KNOWN: Mapping[str, Envelope] = {
    one.listing.path: one.listing.envelope for one in ALL if one.listing is not None
}


class ListOptions(TypedDict, total=False):
    """How to read a list.

    :ivar account: the account of ``sync.yaml`` whose request budget counts the calls; ``default``.
    :ivar envelope: the form of the answer; known for the lists of docs/resources.md.
    :ivar params: further query parameters.
    :ivar per_page: records per request; 100.
    """

    account: str
    envelope: Envelope
    params: Mapping[str, str | int]
    per_page: int


def keyed(
    session: requests.Session, base_url: str, api_key: str, opened: Callable[[], AccountContext]
) -> requests.Session:
    """Return a session that sends the key to ``base_url``, and counts each request there in the budget.

    :param opened: opens the account whose budget it is, with the first request; closed with the session.
    :raises ConfigurationError: the address or the key cannot be used.
    """
    contexts: list[AccountContext] = []

    def budget() -> RequestBudget:
        contexts.append(opened())
        return contexts[0].budget_in(Lane.LIVE)

    def close() -> None:
        for context in contexts:
            context.close()

    address, _ = base_address(base_url)
    session.mount(f"{address}/", KeyedAdapter(api_key, budget, SystemClock(), close))
    return session


def pages_of(
    opened: Callable[[], AccountContext], endpoint: str, options: ListOptions
) -> Iterator[list[Record]]:
    """Yield the decoded records of a list, page by page.

    Every request counts in the budget of the account's key, which polls and other tasks share.

    :param opened: opens the account, which is closed at the end.
    :raises ConfigurationError: the form of the endpoint's answer is unknown.
    :raises RetriableError: the list could not be read completely; the records yielded so far are valid.
    """
    form = options.get("envelope") or _KNOWN.get(endpoint)
    if form is None:
        raise ConfigurationError(
            "the form of this list is not known.",
            where=f"GET {endpoint}",
            next_step="Name it: envelope=Envelope('results', total_key='total')"
            f" of enerflo_sync.enerflo.envelopes. Known are {', '.join(_KNOWN)}.",
        )
    with closing(opened()) as account:
        walk = PageWalk(
            account.client,
            endpoint,
            form,
            params=options.get("params"),
            per_page=options.get("per_page", 100),
        )
        for page in walk:
            yield [json.loads(bytes(record)) for record in page.records]
        if not walk.complete:
            raise RetriableError(
                f"the list was not read whole ({walk.stop_reason or 'left early'}).",
                where=f"GET {endpoint}",
                next_step="Run it again.",
            )


async def records_of(pages: Iterator[list[Record]]) -> AsyncIterator[Record]:
    """Yield records while other coroutines run: a thread reads each page."""
    while (page := await asyncio.to_thread(next, pages, None)) is not None:
        for record in page:
            yield record


def frame_of(pages: Iterator[list[Record]]) -> pd.DataFrame:
    """Return all records as one table, with dotted names for nested values (``status.name``)."""
    with needs_extra("pandas", "pandas", "EnerfloHook.get_df"):
        import pandas as pd
    return pd.json_normalize([record for page in pages for record in page])
