"""Appointments of a customer: list them, create one (REFERENCE.md §6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from enerflo_sync.enerflo.ids import integer_id
from enerflo_sync.enerflo.objects import row_list
from enerflo_sync.enerflo.times import parse_time
from enerflo_sync.errors import BadRecordError

if TYPE_CHECKING:
    from enerflo_sync.enerflo.client import EnerfloClient

_PATH = "/api/v1/appointments"
_STARTS = ("scheduled_start_time", "start_time", "start")


@dataclass(frozen=True)
class Appointment:
    """One appointment, with the fields that its row has.

    :param start: aware UTC; None where the row's time cannot be read.
    :param type_id: None where the row has no type.
    """

    start: datetime | None
    type_id: int | None


def read_appointment_rows(client: EnerfloClient, customer_id: int | str) -> list[msgspec.Raw]:
    """Return a customer's appointments, undecoded.

    :raises NotFoundError: there is no such customer.
    """
    path = f"/api/v3/customers/{integer_id(customer_id, 'customer id')}/appointments"
    return row_list(client, path, ("data", "results", "appointments"))


def read_appointments(client: EnerfloClient, customer_id: int | str) -> list[Appointment]:
    """Return a customer's appointments; ``start`` is None where the row's time cannot be read.

    :raises NotFoundError: there is no such customer.
    """
    return [_appointment(msgspec.json.decode(row)) for row in read_appointment_rows(client, customer_id)]


def add_appointment(
    client: EnerfloClient, customer_id: int | str, appointment_type: int, start: datetime, end: datetime
) -> bytes:
    """Create an appointment and return the answer's body. Enerflo is slow here and often answers 504.

    :param start: aware, like ``end``; sent in UTC with whole seconds.
    :raises OutcomeUnknownError: the appointment may or may not exist: read the customer's appointments.
    """
    body = {
        "customer": int(integer_id(customer_id, "customer id")),
        "appointment_type": appointment_type,
        "start": _sent(start),
        "end": _sent(end),
    }
    return client.send("POST", _PATH, body)


def _sent(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _appointment(row: Any) -> Appointment:
    if not isinstance(row, Mapping):
        return Appointment(None, None)
    times = row.get("times")
    iso = times.get("iso8601") if isinstance(times, Mapping) else None
    nested = iso.get("start_time") if isinstance(iso, Mapping) else None
    kind = row.get("appointment_type")
    type_id = kind.get("id") if isinstance(kind, Mapping) else row.get("appointment_type_id", kind)
    found = next((row[name] for name in _STARTS if row.get(name)), nested)
    try:
        start = parse_time(found)
    except BadRecordError:
        start = None
    return Appointment(start, type_id if isinstance(type_id, int) else None)
