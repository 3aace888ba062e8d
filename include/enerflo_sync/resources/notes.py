"""Install notes (REFERENCE §6.3): ``note_id`` is the note, ``id`` is the install it stands on."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.resources.fields import Record, identity, integer, moment, text
from enerflo_sync.resources.resource import Part, Resource, Row, itself
from enerflo_sync.warehouse.schema import notes

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


NOTES = Resource(
    name="notes",
    id_field="note_id",
    parts=(
        Part(
            notes,
            ("note_id", "install_id", "author_id", "body", "created_at", "deleted_at"),
            items=itself,
        ),
    ),
    read=_read,
    known_fields=FIELDS,
)
