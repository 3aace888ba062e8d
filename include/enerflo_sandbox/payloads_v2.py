"""Bodies of the v2 webhooks about customers, and what all v2 bodies share (REFERENCE.md §10)."""

from __future__ import annotations

import uuid

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.render import Record
from enerflo_sandbox.state import CustomerState

# The older spelling of a customer's fields, by which a change names them, and v2's own.
_V2_NAMES = {
    "first_name": "firstName",
    "last_name": "lastName",
    "email": "email",
    "mobile": "mobile",
    "address": "line1",
    "city": "city",
    "state": "state",
    "zip": "postalCode",
}
_ADDRESS_FIELDS = ("line1", "city", "state", "postalCode")


def identifier(*parts: object) -> str:
    """Return the uuid of a v2 thing that the company keeps no record of; equal parts give equal ids."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(str(part) for part in parts)))


def envelope(event: str, initiated_by: object, payload: Record) -> Record:
    """Return a v2 body around a payload."""
    head = {"targetOrg": c.ORG_UUID, "initiatedBy": identifier("user", initiated_by)}
    return {"payload": {**head, **payload}, "event": event}


def customer_created(one: CustomerState, customer_uuid: str) -> Record:
    """Return ``customer.created``."""
    return envelope("customer.created", one.owner, {"customer": _customer(one, customer_uuid)})


def empty_customer_created(one: CustomerState, customer_uuid: str | None) -> Record:
    """Return ``customer.created`` without the customer's data, as some copies come (REFERENCE.md §11)."""
    block = {} if customer_uuid is None else {"id": customer_uuid, "firstName": "", "lastName": ""}
    return envelope("customer.created", one.owner, {"customer": block})


def customer_updated(one: CustomerState, before: dict[str, object], customer_uuid: str) -> Record:
    """Return ``customer.updated.v2``.

    :param before: the values that were replaced, by the names of ``CustomerState``.
    """
    current = _customer(one, customer_uuid)
    previous: Record = {**current, "address": dict(current["address"])}
    changes: Record = {}
    for field, value in before.items():
        name = _V2_NAMES.get(field)
        if name is None:
            continue
        block = previous["address"] if name in _ADDRESS_FIELDS else previous
        changes[name] = {"from": value, "to": block[name]}
        block[name] = value
        if name == "mobile":
            previous["phone"] = value
    address = previous["address"]
    address["fullAddress"] = ", ".join(str(address[name]) for name in _ADDRESS_FIELDS)
    body: Record = {"current": current, "previous": previous, "changes": changes}
    return envelope("customer.updated.v2", one.owner, body)


def _customer(one: CustomerState, customer_uuid: str) -> Record:
    return {
        "id": customer_uuid,
        "org": c.ORG_UUID,
        "status": "ACTIVE",
        "firstName": one.first_name,
        "lastName": one.last_name,
        "phone": one.mobile,
        "phoneIsMobile": True,
        "mobile": one.mobile,
        "email": one.email,
        "address": {
            "line1": one.address,
            "line2": None,
            "line3": None,
            "city": one.city,
            "state": one.state,
            "country": None,
            "postalCode": one.zip,
            "lat": None,
            "lng": None,
            "fullAddress": f"{one.address}, {one.city}, {one.state}, {one.zip}",
        },
        "tz": None,
        "integrationIds": [],
    }
