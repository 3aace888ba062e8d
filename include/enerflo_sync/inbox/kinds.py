"""All known events by name; any other event is quarantined as unknown."""

from __future__ import annotations

from collections.abc import Collection

from enerflo_sync.resources.event import EventKind
from enerflo_sync.resources.registry import ALL

# Events without a resource (REFERENCE.md §9, §10): they change nothing in the mirror, and are only counted.
_SURVEYS = ("new_survey", "update_survey", "complete_survey")
_V1_OTHERS = ("new_note", "new_design_request")
_V2 = (
    *("customer.updated", "deal.created.bare", "deal.created", "deal.updated.bare", "deal.updated"),
    *("deal.updated.v2", "design-request.created", "design-request.created.design-team"),
    *("design-request.updated", "design-request.updated.design-team", "design.created", "design.updated"),
)
IGNORED = tuple(EventKind(name, "nothing of it is kept") for name in (*_SURVEYS, *_V1_OTHERS, *_V2))
KINDS: dict[str, EventKind] = {
    kind.name: kind for kinds in (*(one.events for one in ALL), IGNORED) for kind in kinds
}


def not_asked_for(polled: Collection[str]) -> frozenset[str]:
    """Return the events of resources that are read only if ``sync.yaml`` names them.

    :param polled: names of the resources that the account polls; their events are excluded.
    """
    others = (one for one in ALL if not one.by_default and one.name not in polled)
    return frozenset(kind.name for one in others for kind in one.events)


UNASKED = not_asked_for(())
# Events that lead to a read in every account.
USED: tuple[EventKind, ...] = tuple(
    kind for kind in KINDS.values() if not kind.ignored and kind.name not in UNASKED
)
