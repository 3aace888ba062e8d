"""What the v2 events about a customer have in common: they know it by a uuid.

Some of the copies that Enerflo sends within seconds hold no customer at all (REFERENCE.md §11).
"""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, at, uuid_at


def v2_customer_kind(name: str, exchange: str, *paths: str) -> EventKind:
    """Return the kind of an event whose customer stands at one of ``paths``."""

    def need(body: Body) -> Need:
        return Need(Subject.CUSTOMER, uuid_at(body, *paths))

    def empty(body: Body) -> bool:
        payload = at(body, "payload")
        return isinstance(payload, dict) and not any(at(body, path.rpartition(".")[0]) for path in paths)

    return EventKind(name, exchange, need, empty=empty)
