"""What the v2 events about a submitted deal have in common: the deal's uuid, and the signed design."""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, optional, uuid_at


def submission_kind(name: str) -> EventKind:
    """Return the kind of an event by which a signed project is handed over (exchange 2)."""

    def need(body: Body) -> Need:
        return Need(Subject.DEAL, uuid_at(body, "payload.deal.id"))

    return EventKind(name, "2", need, deal_id=optional(uuid_at, "payload.deal.id"), submission=True)
