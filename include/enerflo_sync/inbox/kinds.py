"""All events that are known, by name; any other goes to quarantine as unknown."""

from __future__ import annotations

from enerflo_sync.resources.event import EventKind
from enerflo_sync.resources.registry import ALL

# Of no resource: they change nothing that is kept here (REFERENCE.md §9, §10), and are counted.
_APPOINTMENTS = ("new_appointment", "update_appointment", "confirm_appointment", "delete_appointment")
_SURVEYS = ("new_survey", "update_survey", "complete_survey")
_V1_OTHERS = ("new_note", "new_design_request")
_V2 = (
    *("customer.updated", "deal.created.bare", "deal.created", "deal.updated.bare", "deal.updated"),
    *("deal.updated.v2", "design-request.created", "design-request.created.design-team"),
    *("design-request.updated", "design-request.updated.design-team", "design.created", "design.updated"),
)
IGNORED = tuple(
    EventKind(name, "nothing of it is kept") for name in (*_APPOINTMENTS, *_SURVEYS, *_V1_OTHERS, *_V2)
)
USED: tuple[EventKind, ...] = tuple(kind for resource in ALL for kind in resource.events)

KINDS: dict[str, EventKind] = {kind.name: kind for kind in (*USED, *IGNORED)}
