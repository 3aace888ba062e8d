"""Request bodies of writes whose field names the vendor does not document (REFERENCE.md §14)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from enerflo_sync.crm.config import WriteBodies
from enerflo_sync.enerflo.times import FIRST_YEAR, LAST_YEAR
from enerflo_sync.errors import BadRecordError

DATE_COLUMNS = ("started_at", "due_at", "completed_at")


def status_body(writes: WriteBodies, status_id: int) -> dict[str, object]:
    """Return the body that sets an install's status."""
    return {writes.status.status: status_id}


def milestone_body(writes: WriteBodies, dates: Mapping[str, str | None]) -> dict[str, object]:
    """Return the body that sets dates of a milestone.

    :param dates: columns of :data:`DATE_COLUMNS` with the time as it is sent; None removes the date.
    """
    names = writes.milestone.model_dump()
    return {names[column]: moment for column, moment in dates.items()}


def note_body(writes: WriteBodies, text: str) -> dict[str, object]:
    """Return the body that adds a note."""
    return {writes.note.body: text}


def sent_time(value: object, zone: str = "UTC") -> str | None:
    """Return a time as it is sent: ISO 8601 in UTC with whole seconds, ``2026-03-02T08:00:00Z``.

    :param value: ISO 8601 text, or None.
    :param zone: the time zone of a value that has none.
    :raises BadRecordError: the value is not a time.
    """
    moment = as_moment(value, zone)
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_moment(value: object, zone: str = "UTC") -> datetime | None:
    """Return ISO 8601 text as an aware UTC datetime, None for None.

    :raises BadRecordError: the value is not a time, or its year is outside the range in which Enerflo's
        records can be read.
    """
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError
        local: tzinfo = ZoneInfo(zone)
        moment = (found if found.tzinfo else found.replace(tzinfo=local)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRecordError("a moment is not ISO 8601.") from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        # After a write of such a year Enerflo's record could not be read, and strftime writes the year 26
        # with two digits.
        raise BadRecordError(f"a moment lies outside the years {FIRST_YEAR} to {LAST_YEAR}.")
    return moment
