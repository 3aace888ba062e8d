"""Events that are known and change nothing that is kept here (REFERENCE.md §9, §10); they are counted."""

from __future__ import annotations

from enerflo_sync.inbox.event import EventKind

_APPOINTMENTS = ("new_appointment", "update_appointment", "confirm_appointment", "delete_appointment")
_SURVEYS = ("new_survey", "update_survey", "complete_survey")
_V1_OTHERS = ("new_note", "new_design_request")
_V2 = (
    *("customer.updated", "deal.created.bare", "deal.created", "deal.updated.bare", "deal.updated"),
    *("deal.updated.v2", "design-request.created", "design-request.created.design-team"),
    *("design-request.updated", "design-request.updated.design-team", "design.created", "design.updated"),
)

KINDS = tuple(
    EventKind(name, "nothing of it is kept") for name in (*_APPOINTMENTS, *_SURVEYS, *_V1_OTHERS, *_V2)
)
