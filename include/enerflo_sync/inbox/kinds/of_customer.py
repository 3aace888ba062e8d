"""What the v1 events about a customer have in common: root ``id`` is the customer's v1 number."""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, number_at


def customer_kind(name: str, exchange: str) -> EventKind:
    """Return the kind of an event that says that a customer is new or changed."""

    def need(body: Body) -> Need:
        return Need(Subject.CUSTOMER, number_at(body, "id"))

    return EventKind(name, exchange, need)
