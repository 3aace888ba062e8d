"""The v1 customer row, with the vendor's spellings of nothing: ``[]`` for an empty object."""

from __future__ import annotations

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.draw import naive, offset
from enerflo_sandbox.render import COMPANY_NAME, Record
from enerflo_sandbox.seeded import Era, deal_uuid
from enerflo_sandbox.state import CustomerState


def customer_row(customer: CustomerState, era: Era, statuses: dict[int, tuple[str, int, int]]) -> Record:
    """Return a v1 customer row (REFERENCE.md §6.4); ``surveys`` and ``integrations`` are ``[]`` when empty.

    :param statuses: per install id of the customer: status name, created and updated epoch seconds.
    """
    owner, setter, office = c.USERS[customer.owner], c.USERS[customer.setter], c.OFFICES[customer.office]
    full = f"{customer.address}, {customer.city}, {customer.state} {customer.zip}"
    return {
        "id": customer.customer_id,
        "company_id": c.COMPANY_ID,
        "office_id": office[0],
        "creator_id": owner.user_id,
        "agent_id": owner.junction_id,
        "setter_id": setter.junction_id,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "mobile": customer.mobile,
        "secondary_first_name": None,
        "secondary_last_name": None,
        "secondary_email": None,
        "address": customer.address,
        "city": customer.city,
        "state": customer.state,
        "zip": customer.zip,
        "county": None,
        "lat": customer.lat,
        "lng": customer.lng,
        "timezone": "America/Chicago",
        "details": "",
        "external_id": customer.external_id,
        "lead_source": customer.lead_source,
        "status_id": customer.status_id,
        "status_name": customer.status_name,
        "lead_router_id": None,
        "referral_id": None,
        "language": "en",
        "deleted_at": None,
        "created": naive(customer.created),
        "updated": naive(customer.updated),
        "fullName": customer.name,
        "fullState": customer.state,
        "fullAddress": full,
        "owner": {"id": owner.junction_id, "user_id": owner.user_id, "name": owner.name, "meta": []},
        "setter": {"id": setter.junction_id, "user_id": setter.user_id, "name": setter.name},
        "office": {"office_id": office[0], "office_name": office[1]},
        "company": {"company_name": COMPANY_NAME},
        "integrations": _integrations(customer, era),
        "customer_notes": [],
        "customer_portal_url": f"https://portal.enerflo.io/{customer.customer_id}",
        "surveys": _surveys(customer, statuses),
    }


def v2_id(customer: CustomerState, era: Era) -> str | None:
    """Return the customer's v2 uuid; None for a lead of the history without a deal, which only v1 has."""
    if not customer.deals and customer.created < era.end:
        return None
    return deal_uuid(era.seed, "customer", customer.number)


def _integrations(customer: CustomerState, era: Era) -> Record | list[object]:
    uuid = v2_id(customer, era)
    if customer.external_id is None and uuid is None:
        return []
    stamp = offset(customer.created)
    row = {"enerflo_id": customer.customer_id, "last_synced": stamp, "updated_at": stamp, "created_at": stamp}
    maps: Record = {}
    if customer.external_id is not None:
        link = {"integration_record_id": customer.external_id, "record_type": "Lead", **row}
        maps["Sandbox CRM"] = {"Lead": link}
    if uuid is not None:
        link = {"integration_record_id": uuid, "record_type": "EnerfloV2Customer", **row}
        maps["Enerflo V2"] = {"EnerfloV2Customer": link}
    return maps


def _surveys(customer: CustomerState, statuses: dict[int, tuple[str, int, int]]) -> Record | list[object]:
    rows: Record = {}
    for deal in customer.deals:
        survey: Record = {"id": deal.survey_id, "name": deal.name, "type": "solar", "install": []}
        if deal.install_id in statuses:
            name, created, updated = statuses[deal.install_id]
            survey["install"] = {
                "id": deal.install_id,
                "status": name,
                "created_at": created,
                "updated_at": updated,
            }
        rows[str(deal.survey_id)] = survey
    return rows or []
