"""Read one change order, or the change orders of an install (REFERENCE.md §6.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from enerflo_sync.enerflo.ids import integer_id
from enerflo_sync.enerflo.objects import object_body, row_list

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

# The envelope is not documented, so try the keys of the other list endpoints.
ROWS = ("results", "data", "change_orders", "changeOrders")


def read_change_order(client: EnerfloClient, change_order_id: int | str) -> bytes:
    """Return one change order as a JSON object.

    :raises NotFoundError: there is no such change order.
    :raises BadRecordError: the answer is not an object, or another change order.
    """
    number = integer_id(change_order_id, "change order id")
    return object_body(client, f"/api/v3/change-orders/{number}", "change order", number)


def read_install_change_orders(client: EnerfloClient, install_id: int | str) -> list[msgspec.Raw]:
    """Return the change orders of one install, undecoded.

    :raises NotFoundError: no such install, or the endpoint (seen only in a catalogue) does not exist.
    """
    return row_list(
        client, f"/api/v3/installs/{integer_id(install_id, 'install id')}/change-order-data", ROWS
    )
