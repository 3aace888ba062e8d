"""What the v2 events about a customer have in common: they know it by a uuid."""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, uuid_at


def v2_customer_kind(name: str, exchange: str, *paths: str) -> EventKind:
    """Return the kind of an event whose customer stands at one of ``paths``."""

    def need(body: Body) -> Need:
        return Need(Subject.CUSTOMER, uuid_at(body, *paths))

    return EventKind(name, exchange, need)
