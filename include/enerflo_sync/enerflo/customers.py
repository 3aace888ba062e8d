"""Customers: search the list, read one, update one (REFERENCE.md §6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.ids import integer_or_uuid
from enerflo_sync.enerflo.objects import object_body, row_list

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient


def search_customers(client: EnerfloClient, words: str, *, most: int = 25) -> list[msgspec.Raw]:
    """Return the v1 rows of the customers that match ``words``, undecoded.

    :param words: a name, e-mail, phone, uuid or external id (REFERENCE.md §3); sent in the query, which is
        never logged.
    """
    params: dict[str, str | int] = {"search": words, "page": 1, "pageSize": most}
    return row_list(client, "/api/v1/customers", ("data",), params, whole=False)


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
