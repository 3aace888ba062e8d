"""Appointments of customers (REFERENCE §3, §6.4, §9), read if ``poll.resources`` names them.

A CRM table can be ``of: appointments``: it is then compared with them and written from them. Enerflo's API
cannot change an appointment; the room ``apply`` can make one with a new lead.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, Integer, Text

from enerflo_sync.enerflo.appointments import read_appointment_rows
from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.resources.event import EventKind
from enerflo_sync.resources.fields import INTEGER, Record, first, identity, integer, moment, nested, text
from enerflo_sync.resources.resource import DirectRead, Part, Resource, Row, itself
from enerflo_sync.warehouse.schema.columns import mirror_table, required, time, versions_table

APPOINTMENTS_OF = "appointments_of"

# The appointments of customers.
appointments = mirror_table(
    "appointments",
    [required("appointment_id", BigInteger)],
    [
        Column("customer_id", BigInteger),
        Column("status", Text),
        Column("type_id", BigInteger),
        Column("type_name", Text),
        time("starts_at"),
        time("ends_at"),
        Column("length_minutes", Integer),
        Column("content_hash", Text),
    ],
)

# Every distinct content of an appointment, as Enerflo sent it.
appointment_versions = versions_table("appointment_versions", "appointment_id")

FIELDS = frozenset(
    """
    id customer_id customer status appointment_type appointment_type_id length_minutes scheduled_start_time
    scheduled_end_time start_time end_time start end times deal_id assignee creator external_notes
    internal_notes
    """.split()
)


def _time(record: Record, which: str) -> str | None:
    """Return a time from the place that it has in each of the three forms of a row (REFERENCE §4, §9)."""
    found = moment(record, f"scheduled_{which}_time", f"{which}_time", which)
    return found or moment(nested(nested(record, "times"), "iso8601"), f"{which}_time")


def _read(record: Record) -> Sequence[Sequence[Row]]:
    kind = nested(record, "appointment_type")
    return (
        [
            (
                identity(record, "id"),
                first(integer(record, "customer_id"), integer(nested(record, "customer"), "id")),
                text(record, "status"),
                first(integer(record, "appointment_type_id"), integer(kind, "id")),
                text(kind, "name"),
                _time(record, "start"),
                _time(record, "end"),
                integer(record, "length_minutes", high=INTEGER),
            )
        ],
    )


# The event has two shapes; both name the customer (REFERENCE §9). A deleted appointment vanishes from the
# list: two complete walks without it are the evidence of its deletion.
_CUSTOMER = ("enerflo_customer_id", "customer_id", "customer.id")
_EVENTS = ("new_appointment", "update_appointment", "confirm_appointment", "delete_appointment")

APPOINTMENTS = Resource(
    name="appointments",
    id_field="id",
    parts=(
        Part(
            appointments,
            (
                *("appointment_id", "customer_id", "status", "type_id", "type_name"),
                *("starts_at", "ends_at", "length_minutes"),
            ),
            items=itself,
            crm_table="appointments",
            crm_order=60,
        ),
    ),
    read=_read,
    known_fields=FIELDS,
    versions=appointment_versions,
    order=60,
    listing=VendorList(
        "/api/v1/appointments", Envelope("data", total_key="dataCount", size_param="pageSize")
    ),
    reads=(DirectRead(APPOINTMENTS_OF, owner="customers", rows=read_appointment_rows),),
    events=tuple(EventKind(name, "appointments", APPOINTMENTS_OF, _CUSTOMER) for name in _EVENTS),
    by_default=False,
    backfilled_by="customer_id",
)
