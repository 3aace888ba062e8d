"""Which columns of a CRM row a new record of Enerflo is filled from, besides the mapped ones."""

from __future__ import annotations

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.templates import columns_of


def sent_columns(kind: str, config: SyncConfig) -> list[str]:
    """Return the columns that ``writes`` names for new records of a kind; a table may lack some of them."""
    if kind == RecordKind.NOTES:
        return columns_of(config.writes.note.text)
    if kind != RecordKind.LEADS:
        return []
    also = [column for text in config.writes.lead.also.values() for column in columns_of(text)]
    appointment = config.writes.appointment
    return also if appointment is None else [*also, appointment.start]
