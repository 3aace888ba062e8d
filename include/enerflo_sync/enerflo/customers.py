"""Customers: search the list, read one, update one (REFERENCE.md §6.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.envelopes import Envelope, Listing
from enerflo_sync.enerflo.ids import integer_or_uuid
from enerflo_sync.enerflo.objects import object_body
from enerflo_sync.enerflo.pages import ASKED_AGAIN
from enerflo_sync.errors import ContractDriftError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_LIST = "/api/v1/customers"
_ENVELOPE = Envelope("data", "dataCount")
_ROWS = 100
_MOST_PAGES = 20


def search_customers(client: EnerfloClient, words: str) -> Iterator[msgspec.Raw]:
    """Yield the v1 rows of the customers that match ``words``, undecoded, page by page.

    A short key is a part of many others, so the row that is meant may stand on a later page.

    :param words: a name, e-mail, phone, uuid or external id (REFERENCE.md §3); sent in the query, which is
        never logged.
    :raises ContractDriftError: a page lacks rows although it was requested again, or too many rows match.
    """
    seen = 0
    for page in range(1, _MOST_PAGES + 1):
        answer = _page(client, words, page, seen)
        yield from answer.records
        seen += len(answer.records)
        full = len(answer.records) >= _ROWS
        if seen >= answer.total if answer.total is not None else not full:
            return
        if not full:
            break
    raise ContractDriftError(
        f"the search gives {seen:,} rows, and more customers match it.",
        where=f"GET {_LIST}",
        next_step="Nothing is concluded from it. If it stays so, look for the customer in Enerflo.",
    )


def _page(client: EnerfloClient, words: str, page: int, seen: int) -> Listing:
    """Return a page of the search, requested again while it lacks rows that its total says."""
    params: dict[str, str | int] = {"search": words, "page": page, "pageSize": _ROWS}
    for _ in range(1 + ASKED_AGAIN):
        answer = client.read(_LIST, params, _ENVELOPE.decode).value
        if answer.total is None or len(answer.records) >= min(answer.total - seen, _ROWS):
            break
    return answer


def read_customer(client: EnerfloClient, customer_id: int | str) -> bytes:
    """Return one customer as a JSON object.

    :param customer_id: the v1 number; Enerflo accepts a v2 uuid for some keys only (§13.7).
    :raises NotFoundError: there is no such customer.
    :raises PermissionRefusedError: the key may not see this customer.
    """
    return object_body(client, _path(customer_id), "customer")


def update_customer(client: EnerfloClient, customer_id: int | str, body: Mapping[str, object]) -> bytes:
    """Send ``body`` as the customer's update and return the answer's body.

    Set owner and setter by ``agent_user_id`` and ``setter_user_id``; Enerflo ignores their e-mails silently.

    :raises PermissionRefusedError: 403 while the record is still an unconverted lead.
    :raises OutcomeUnknownError: the update may or may not have been applied: read the customer back.
    """
    return client.send("PUT", _path(customer_id), body)


def _path(customer_id: int | str) -> str:
    return f"/api/v3/customers/{integer_or_uuid(customer_id, 'customer id')}"
