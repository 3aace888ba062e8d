"""Install notes (REFERENCE §6.3): ``note_id`` is the note's id, ``id`` the id of its install."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.resources.event import EventKind
from enerflo_sync.resources.fields import Record, identity, integer, moment, text
from enerflo_sync.resources.resource import DirectRead, Part, Resource, Row, Witnessed, itself
from enerflo_sync.warehouse.schema import notes

NOTES_OF = "notes_of"
# Filtered by creation only, so an edit or a deletion of an older note is not seen. A production client asks
# for a hundred; other endpoints ignore a larger pageSize.
NOTE_LIST = VendorList(
    "/api/v3/installs/notes",
    Envelope("notes", total_pages_key="totalPages", size_param="pageSize"),
    per_page=100,
    created_after="created_after",
    oldest_first=True,
)

# The watermark of the last read of all notes.
SWEPT = "notes_swept"

FIELDS = frozenset(
    "note_id id epc_install_id install_id author_id author note created_at updated_at deleted_at".split()
)


def _read(record: Record) -> Sequence[Sequence[Row]]:
    return (
        [
            (
                identity(record, "note_id"),
                integer(record, "epc_install_id") or integer(record, "id"),
                integer(record, "author_id"),
                text(record, "note"),
                moment(record, "created_at"),
                moment(record, "deleted_at"),
            )
        ],
    )


# The payload of the event is not known (REFERENCE §9). In the REST form ``id`` is the install's and
# ``note_id`` the note's; other v1 events have their subject's id in root ``id`` and the install in a field of
# its own. So a field for the install counts, else root ``id``.
_INSTALL = ("epc_install_id", "install_id", "install.id", "note.epc_install_id", "note.install_id", "id")

NOTES = Resource(
    name="notes",
    order=50,
    id_field="note_id",
    parts=(
        Part(
            notes,
            ("note_id", "install_id", "author_id", "body", "created_at", "deleted_at"),
            items=itself,
            crm_table="notes",
            crm_order=40,
        ),
    ),
    read=_read,
    known_fields=FIELDS,
    listing=NOTE_LIST,
    reads=(DirectRead(NOTES_OF, owner="installs"),),
    swept=SWEPT,
    backfilled_by="install_id",
    events=(EventKind("new_install_note", "5.2", NOTES_OF, _INSTALL, install_at=_INSTALL),),
    # No event reports an edited or deleted note.
    witnessed=Witnessed("new_install_note", None, ("created_at", "created_at"), told_once=True),
)
