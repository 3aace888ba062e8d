"""Change orders: the list, one, and those of an install (REFERENCE.md §6.6).

Only the two reads by id are seen in running code, and no envelope is known: the keys of the other list
endpoints are tried, and both size parameters are sent.
"""

from __future__ import annotations

import msgspec

from enerflo_sync.enerflo.client import EnerfloClient
from enerflo_sync.enerflo.envelopes import Listing
from enerflo_sync.enerflo.ids import integer_id
from enerflo_sync.enerflo.objects import object_body, row_list
from enerflo_sync.enerflo.pages import Envelope, PageWalk

_ROWS = ("results", "data", "change_orders", "changeOrders")
ENVELOPE = Envelope(
    _ROWS,
    total_key=("total", "dataCount"),
    total_pages_key="totalPages",
    size_param=("per_page", "pageSize"),
)


def walk_change_orders(
    client: EnerfloClient, *, per_page: int = 500, floor: int = 25, start: int = 0
) -> PageWalk:
    """Return the walk over all change orders the key sees.

    :param start: change orders to pass over.
    :raises NotFoundError: while walking: the endpoint is undocumented and may not exist for this company.
    """
    return PageWalk(client, "/api/v3/change-orders", ENVELOPE, per_page=per_page, floor=floor, start=start)


def list_change_orders(client: EnerfloClient, number: int, size: int) -> Listing:
    """Return one page of the list of change orders; raises as :func:`walk_change_orders`."""
    return client.read("/api/v3/change-orders", ENVELOPE.page_params(number, size), ENVELOPE.decode).value


def read_change_order(client: EnerfloClient, change_order_id: int | str) -> bytes:
    """Return one change order as a JSON object.

    :raises NotFoundError: there is no such change order.
    """
    path = f"/api/v3/change-orders/{integer_id(change_order_id, 'change order id')}"
    return object_body(client, path, "change order")


def read_install_change_orders(client: EnerfloClient, install_id: int | str) -> list[msgspec.Raw]:
    """Return the change orders of one install, undecoded.

    :raises NotFoundError: no such install, or the endpoint (seen in a catalogue only) does not exist.
    """
    return row_list(
        client, f"/api/v3/installs/{integer_id(install_id, 'install id')}/change-order-data", _ROWS
    )
