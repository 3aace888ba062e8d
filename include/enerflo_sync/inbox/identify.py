"""Classify an event before any read: its row in ``sync.webhook_events``."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import msgspec

from enerflo_sync.errors import BadRecordError, bad_record
from enerflo_sync.inbox.kinds import KINDS, UNASKED
from enerflo_sync.resources.event import Body, event_name

UNKNOWN_EVENT = "unknown_event"
# Stored name of an event without a usable name.
NAMELESS = "?"


class EventState(StrEnum):
    """The state of an event; it has exactly one."""

    RECEIVED = "received"
    APPLIED = "applied"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


class Identified(msgspec.Struct, frozen=True, gc=False):
    """An event's name, record and state.

    :param record: the first read that it needs; None if it needs none.
    :param trouble: the reason if it is quarantined.
    """

    event: str
    state: EventState
    record: str | None = None
    install_id: int | None = None
    deal_id: str | None = None
    reason: str | None = None
    trouble: BadRecordError | None = None


def identify(body: Body, ignored: Collection[str] = UNASKED) -> Identified:
    """Classify an event; never raises, whatever the event contains.

    :param ignored: event names that this account ignores, even if their kind is known.
    """
    name = NAMELESS
    try:
        name = event_name(body)
        kind = KINDS.get(name)
        if name in ignored or (kind is not None and kind.ignored):
            return Identified(name, EventState.IGNORED, reason="known, and nothing of it is kept")
        if kind is not None and kind.empty(body):
            return Identified(name, EventState.IGNORED, reason="a copy without data")
        if kind is None:
            # Grouped by name, so that one new event of the vendor is one line for a person to decide.
            raise BadRecordError(UNKNOWN_EVENT, field=name)
        need = kind.need(body)
        install_id = kind.install_id(body)
        return Identified(
            name,
            EventState.RECEIVED,
            str(need),
            None if install_id is None else int(install_id),
            kind.deal_id(body),
        )
    except Exception as error:
        bad = bad_record(error)
        described = f"{bad.what} at {bad.field}" if bad.field else bad.what
        return Identified(name, EventState.QUARANTINED, reason=described, trouble=bad)
