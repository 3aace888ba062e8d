"""A note was written on an install.

No payload of it is known (REFERENCE.md §9). In the REST form ``id`` is the install's and ``note_id`` the
note's own; other v1 events carry their subject's id in root ``id`` and the install beside it. Where an
install is named outright it counts; else root ``id`` does.
"""

from __future__ import annotations

from enerflo_sync.inbox.event import Body, EventKind, Need, Subject, number_at, optional

_INSTALL = ("epc_install_id", "install_id", "install.id", "note.epc_install_id", "note.install_id", "id")


def _need(body: Body) -> Need:
    return Need(Subject.NOTES, number_at(body, *_INSTALL))


KIND = EventKind("new_install_note", "5.2", _need, install_id=optional(number_at, *_INSTALL))
