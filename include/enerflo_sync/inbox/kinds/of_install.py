"""What the v1 events about an install have in common: root ``id`` is the install's (REFERENCE.md §9)."""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, number_at, optional


def install_kind(name: str, exchange: str) -> EventKind:
    """Return the kind of an event that says that an install changed, and how does not matter."""

    def need(body: Body) -> Need:
        return Need(Subject.INSTALL, number_at(body, "id"))

    return EventKind(name, exchange, need, install_id=optional(number_at, "id"))
