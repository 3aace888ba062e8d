"""Customers as ``GET /api/v1/customers`` lists them (REFERENCE §6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from enerflo_sync.resources.fields import Record, identity, moment, nested, text
from enerflo_sync.resources.resource import Part, Resource, Row, itself
from enerflo_sync.warehouse.schema import customers

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
    """Return the external key: named outright, else the one under ``integrations[CRM][type]``."""
    named = text(record, "integration_record_id") or text(record, "external_id")
    if named:
        return named
    for crm, by_type in nested(record, "integrations").items():
        # The v2 id of the same customer is kept there too; it is not the CRM's key (REFERENCE §5).
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


CUSTOMERS = Resource(
    name="customers",
    id_field="id",
    parts=(
        Part(
            customers,
            (
                *("customer_id", "first_name", "last_name", "email", "mobile", "address", "city", "state"),
                *("zip", "integration_record_id", "status_name", "created_at", "updated_at", "deleted_at"),
            ),
            items=itself,
        ),
    ),
    read=_read,
    known_fields=FIELDS,
)
