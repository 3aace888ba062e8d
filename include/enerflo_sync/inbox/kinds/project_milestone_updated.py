"""A milestone of an install was edited.

No payload of it is known (REFERENCE.md §9): where an install is named outright it counts, else root ``id``,
which in the other v1 events about installs is the install's. All milestones come with the install.
"""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, number_at, optional

_INSTALL = ("epc_install_id", "install_id", "install.id", "milestone.epc_install_id", "id")


def _need(body: Body) -> Need:
    return Need(Subject.INSTALL, number_at(body, *_INSTALL))


KIND = EventKind("project_milestone_updated", "3.2", _need, install_id=optional(number_at, *_INSTALL))
