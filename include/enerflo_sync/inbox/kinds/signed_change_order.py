"""A change order was signed. Root ``id`` is the install's, ``change_orders`` the whole list (§9)."""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, number_at, optional

_INSTALL = ("id", "install.id")


def _need(body: Body) -> Need:
    return Need(Subject.CHANGE_ORDERS, number_at(body, *_INSTALL))


# What was signed changes the install's own equipment and price, too.
KIND = EventKind(
    "signed_change_order", "6", _need, (Subject.INSTALL,), install_id=optional(number_at, *_INSTALL)
)
