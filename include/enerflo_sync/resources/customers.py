"""Customers in the list ``GET /api/v1/customers`` (REFERENCE §6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from enerflo_sync.enerflo.envelopes import Envelope
from enerflo_sync.enerflo.lists import VendorList
from enerflo_sync.errors import BadRecordError
from enerflo_sync.resources.event import Body, EventKind, at
from enerflo_sync.resources.fields import Record, identity, moment, nested, text
from enerflo_sync.resources.resource import DirectRead, Part, Payloads, Resource, Row, Witnessed, itself
from enerflo_sync.warehouse.schema import customers

CUSTOMER = "customers"
CUSTOMER_LIST = VendorList(
    "/api/v1/customers", Envelope("data", total_key="dataCount", size_param="pageSize")
)

FIELDS = frozenset(
    """
    id company_id office_id creator_id agent_id setter_id first_name last_name email mobile phone address city
    state zip county lat lng timezone details external_id lead_source status_id status_name lead_router_id
    referral_id language deleted_at created updated created_at updated_at fullName fullState fullAddress
    creator owner setter office company integrations customer_notes customer_portal_url surveys unit
    integration_record_id created_by_id created_by_name secondary_first_name secondary_last_name
    secondary_email secondary_mobile
    """.split()
)


def _integration_record_id(record: Record) -> str | None:
    """Return the external key: the field for it, else the value under ``integrations[CRM][type]``."""
    named = text(record, "integration_record_id") or text(record, "external_id")
    if named:
        return named
    for crm, by_type in nested(record, "integrations").items():
        # ``integrations`` also contains the customer's v2 id, which is not the CRM's key (REFERENCE §5).
        if crm == "Enerflo V2" or not isinstance(by_type, dict):
            continue
        found: list[Any] = [item for item in by_type.values() if isinstance(item, dict)]
        if found:
            return text(found[0], "integration_record_id")
    return None


def _read(record: Record) -> Sequence[Sequence[Row]]:
    return (
        [
            (
                identity(record, "id"),
                text(record, "first_name"),
                text(record, "last_name"),
                text(record, "email"),
                text(record, "mobile") or text(record, "phone"),
                text(record, "address"),
                text(record, "city"),
                text(record, "state"),
                text(record, "zip"),
                _integration_record_id(record),
                text(record, "status_name"),
                moment(record, "created", "created_at"),
                moment(record, "updated", "updated_at"),
                moment(record, "deleted_at"),
            )
        ],
    )


# Named by the v1 number in root ``id``, or by the v2 uuid. The vendor's own sample of update_customer has a
# wrong name (REFERENCE §13.2). A v2 event usually comes two or three times within seconds, sometimes empty.
_CURRENT = ("payload.current.id", "payload.customer.id", "payload.previous.id")
EVENTS = (
    EventKind("new_customer", "1.2", CUSTOMER, ("id",)),
    EventKind("update_customer", "1.2", CUSTOMER, ("id",)),
    EventKind("customer.created", "1.2", CUSTOMER, ("payload.customer.id",), is_uuid=True, may_be_empty=True),
    EventKind("customer.updated.v2", "1.2", CUSTOMER, _CURRENT, is_uuid=True, may_be_empty=True),
)


def customer_of(body: Body) -> bytes | None:
    """Return a v1 customer payload in the form of the list's rows; None for v2, which has no v1 id."""
    if not isinstance(body.get("webhook_event"), str):
        return None
    address = body.get("address") if isinstance(body.get("address"), dict) else {}
    record = {
        "id": body.get("id"),
        "first_name": body.get("first_name"),
        "last_name": body.get("last_name"),
        "email": body.get("email"),
        "mobile": body.get("mobile") or body.get("phone"),
        "address": at(body, "address.street") if address else body.get("address"),
        "city": at(body, "address.city"),
        "state": at(body, "address.state"),
        "zip": at(body, "address.zip"),
        "external_id": body.get("external_id"),
        "created_at": at(body, "timestamps.created_at"),
        "updated_at": at(body, "timestamps.updated_at"),
        "deleted_at": at(body, "timestamps.deleted_at"),
    }
    return msgspec.json.encode(record)


def _told(body: Body) -> Sequence[bytes]:
    found = customer_of(body)
    if found is None:
        raise BadRecordError("no_customer_in_payload")
    return [found]


CUSTOMERS = Resource(
    name="customers",
    order=30,
    id_field="id",
    parts=(
        Part(
            customers,
            (
                *("customer_id", "first_name", "last_name", "email", "mobile", "address", "city", "state"),
                *("zip", "integration_record_id", "status_name", "created_at", "updated_at", "deleted_at"),
            ),
            items=itself,
            crm_table="leads",
            crm_order=10,
            writable=frozenset(
                {"first_name", "last_name", "email", "mobile", "address", "city", "state", "zip"}
            ),
        ),
    ),
    read=_read,
    known_fields=FIELDS,
    listing=CUSTOMER_LIST,
    reads=(DirectRead(CUSTOMER),),
    events=EVENTS,
    payloads=Payloads(("new_customer", "update_customer"), _told),
    witnessed=Witnessed("new_customer", "update_customer"),
)
