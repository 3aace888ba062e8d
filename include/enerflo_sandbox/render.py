"""Records as the vendor's JSON: the v3 install, note, change order, user, office and status.

Volatile parts (pre-signed URL queries, ``logged_in_user``) are rendered as marks of fixed length, which
the answer replaces, so that the bytes of an unchanged record are made once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.draw import naive, offset
from enerflo_sandbox.seeded import FIRST_MILESTONE_ROW_ID
from enerflo_sandbox.state import Adder, ChangeOrderState, CustomerState, InstallState, NoteState

EXPIRES_MARK = "@@EXPIRES@"
NONCE_MARK = "@@NONCE-OF-THIS-ANSWER-HERE@@@@@"
EXPIRES_BYTES, NONCE_BYTES = EXPIRES_MARK.encode(), NONCE_MARK.encode()
SIGNED_QUERY = f"?AWSAccessKeyId=SANDBOX&Expires={EXPIRES_MARK}&Signature={NONCE_MARK}"
_SIGNED_FOR_SECONDS = 3600
LOGGED_IN_ID = 145000
LOGGED_IN_USER = {
    "id": LOGGED_IN_ID,
    "email": "api.user@example.com",
    "session": NONCE_MARK,
    "session_expires": EXPIRES_MARK,
}
Record = dict[str, Any]

encode = msgspec.json.Encoder().encode
_MARKS = re.compile(b"(" + re.escape(EXPIRES_BYTES) + b"|" + re.escape(NONCE_BYTES) + b")")


def signature(nonce: str, moment: int) -> dict[bytes, bytes]:
    """Return what stands in place of each mark in an answer or payload of its own.

    :param nonce: as long as its mark.
    :param moment: when it is signed, in epoch seconds.
    """
    expires = f"{moment + _SIGNED_FOR_SECONDS:0{len(EXPIRES_MARK)}d}"
    return {NONCE_BYTES: nonce.encode(), EXPIRES_BYTES: expires.encode()}


def signed(data: bytes, said: Mapping[bytes, bytes]) -> bytes:
    """Return rendered bytes with a :func:`signature` in place of the marks."""
    for mark, value in said.items():
        data = data.replace(mark, value)
    return data


def pieces_of(record: bytes) -> tuple[bytes, ...]:
    """Return a rendered record cut at its marks, each mark a piece: pages are joined and never searched."""
    marks = {EXPIRES_BYTES: EXPIRES_BYTES, NONCE_BYTES: NONCE_BYTES}
    return tuple(marks.get(piece, piece) for piece in _MARKS.split(record))


def _fixed(record: Record) -> msgspec.Raw:
    """Return a part that never changes as JSON made once."""
    return msgspec.Raw(encode(record))


_DEFINITIONS = tuple(
    _fixed(
        {
            "id": m.milestone_id,
            "epc_company_id": c.EPC_COMPANY_ID,
            "sequence": m.sequence,
            "title": m.title,
            "description": m.description,
            "mid": f"m{m.sequence}",
            "notify_customer": 1,
            "visible_customer": 1,
            "assigned_user_id": None,
            "meta_data": [],
        }
    )
    for m in c.MILESTONES
)
COMPANY_NAME = "Sunrise Sandbox Solar"
_COMPANY = _fixed(
    {"id": c.COMPANY_ID, "name": COMPANY_NAME, "slug": "sunrise-sandbox", "v2_org_id": c.ORG_UUID}
)
_EPC = _fixed({"id": c.EPC_COMPANY_ID, "name": "Sandbox Install Co", "timezone": "America/Chicago"})


def user_record(user: c.User) -> Record:
    """Return a user as GET /api/v3/users shows it (REFERENCE.md §15, v3_get_users fixture)."""
    return {
        "id": user.user_id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "company_id": c.COMPANY_ID,
        "active": 1,
        "email": user.email,
    }


def office_record(office: int) -> Record:
    """Return an office as GET /api/v3/offices shows it."""
    office_id, name = c.OFFICES[office]
    return {"id": office_id, "name": name, "company_id": c.COMPANY_ID}


def status_record(status_id: int, name: str) -> Record:
    """Return a row of GET /api/v3/install-statuses (its fields are not documented, REFERENCE.md §7)."""
    return {"id": status_id, "name": name, "company_id": c.COMPANY_ID}


_AGENTS = tuple(
    _fixed(
        {
            "id": user.user_id,
            "company_user_id": user.junction_id,
            "name": user.name,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "email": user.email,
            "timezone": "America/Chicago",
        }
    )
    for user in c.USERS
)
_SETTERS = tuple(_fixed({"email": user.email, "timezone": "America/Chicago"}) for user in c.USERS)
_OFFICES = tuple(_fixed(office_record(at)) for at in range(len(c.OFFICES)))
_LOGGED_IN_USER = _fixed(LOGGED_IN_USER)


def install_record(install: InstallState, customer: CustomerState, status_name: str) -> Record:
    """Return the full v3 install, about 5 KB of JSON (REFERENCE.md §6.1), the same in lists and alone."""
    kilowatts = install.watts / 1000
    panel = c.PANELS[install.panel]
    cost = install.cost_cents
    return {
        "id": install.install_id,
        "epc_company_id": c.EPC_COMPANY_ID,
        "company_id": c.COMPANY_ID,
        "customer_id": install.customer_id,
        "survey_id": install.survey_id,
        "v2_survey_id": install.deal_id,
        "status_id": install.status_id,
        "status_name": status_name,
        "customer": embedded_customer(customer),
        "current_milestone": _current_milestone(install),
        "all_milestones": [milestone_row(install, at) for at in range(len(c.MILESTONES))],
        "agent_user": _AGENTS[install.agent] if install.agent is not None else [],
        "setter_user_id": c.USERS[install.setter].user_id,
        "setter_user": _SETTERS[install.setter],
        "office": _OFFICES[install.office] if install.office is not None else [],
        "company": _COMPANY,
        "epc_company": _EPC,
        "agreement_url": f"https://assets.enerflo.io/docflo_pdfs/executed/{install.deal_id}.pdf",
        "files": _files(install),
        "image": f"https://uploads.enerflo.io/{install.survey_id}/roof.png",
        "system_size": 0 if install.blank_root else kilowatts,
        "panel_count": 0 if install.blank_root else install.panel_count,
        "equipment": {
            "panel": panel.name,
            "inverter": c.INVERTERS[install.inverter],
            "battery": install.battery,
        }
        if install.has_equipment
        else [],
        "survey": _survey(install, kilowatts),
        "cost": _cost(cost, install.watts) if cost is not None else [],
        "utility": {"id": 53, "company": c.UTILITIES[install.number % len(c.UTILITIES)]},
        "loan": {"lender": c.LENDERS[install.number % len(c.LENDERS)]},
        "integration_maps": [
            {"system": "Enerflo V2", "record_type": "EnerfloV2Deal", "external_id": install.deal_id}
        ],
        "created_at": offset(install.created),
        "updated_at": naive(install.updated),
        "deleted_at": None,
        "logged_in_user": _LOGGED_IN_USER,
    }


def embedded_customer(customer: CustomerState) -> Record:
    """Return the customer as it stands inside a v3 install and in GET /api/v3/customers/{id}."""
    return {
        "id": customer.customer_id,
        "name": customer.name,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": customer.email,
        "mobile": customer.mobile,
        "phone": customer.mobile,
        "address": customer.address,
        "city": customer.city,
        "state": customer.state,
        "zip": customer.zip,
        "lat": customer.lat,
        "lng": customer.lng,
        "agent_user_id": c.USERS[customer.owner].user_id,
        "deals": [
            {"DealName": deal.name, "EnerfloV1DealId": deal.survey_id, "EnerfloV2DealId": deal.deal_id}
            for deal in customer.deals
        ],
    }


def milestone_row(install: InstallState, at: int) -> Record:
    """Return one per-install milestone row around its definition (REFERENCE.md §8; row names inferred)."""
    dates = install.milestones[at]
    return {
        "id": FIRST_MILESTONE_ROW_ID + install.number * len(c.MILESTONES) + at,
        "epc_install_id": install.install_id,
        "milestone": _DEFINITIONS[at],
        "started_at": naive(dates.started),
        "due_at": naive(dates.due),
        "completed_at": naive(dates.completed),
    }


def _current_milestone(install: InstallState) -> Record | list[object]:
    at = install.current_milestone
    return [] if at is None else {"title": c.MILESTONES[at].title, **milestone_row(install, at)}


def _files(install: InstallState) -> list[Record]:
    kinds = ("utility-bill", "site-plan")
    return [
        {
            "id": install.number * 2 + at,
            "name": f"file-{at}.pdf",
            "type": kind,
            "url": f"https://s3.us-west-2.amazonaws.com/uploads.enerflo.io/{install.survey_id}/{kind}{SIGNED_QUERY}",
            "survey_id": install.survey_id,
        }
        for at, kind in enumerate(kinds)
    ]


def _survey(install: InstallState, kilowatts: float) -> Record:
    return {
        "id": install.survey_id,
        "panel_id": 3450 + install.panel,
        "utility_id": 53,
        "inverter_id": 1415 + install.inverter,
        "lender_picker": 29583,
        "solar_system_size": kilowatts,
        "solar_design_notes": "",
        "solar_data_panel_count": install.panel_count,
        "solar_data_solar_offset": 0.5 + install.number % 50 / 100,
        "solar_data_current_usage": 9000 + install.number % 7000,
        "solar_data_inverter_count": install.panel_count,
        "solar_data_system_production": install.watts * 1.45,
        "solar_proposal_monthly_power_bill": 180 + install.number % 120,
    }


def _cost(cents: int, watts: int) -> Record:
    gross = cents / 100
    return {
        "system_cost_gross": gross,
        "system_cost_base": round(gross * 0.92, 2),
        "system_cost_base_adders": round(gross * 0.05, 2),
        "ppw_gross": round(gross / watts, 4),
        "ppw_net": round(gross * 0.7 / watts, 4),
        "dealer_fees": round(gross * 0.08, 2),
        "dealer_fee_percent": 8,
        "downpayment": 0,
        "itc_total": round(gross * 0.3, 2),
        "rebates_total": 0,
    }


def note_record(note: NoteState, install_id: int) -> Record:
    """Return an install note; ``id`` is the install's id, ``note_id`` its own (REFERENCE.md §6.3)."""
    return {
        "note_id": note.note_id,
        "id": install_id,
        "epc_install_id": install_id,
        "author_id": note.author_id,
        "note": note.text,
        "created_at": naive(note.created),
        "deleted_at": naive(note.deleted),
    }


def change_order_record(order: ChangeOrderState, install_id: int) -> Record:
    """Return a change order (REFERENCE.md §8; the keys for panel, count, battery and total are inferred)."""
    values: Record = {}
    for key, pair in (("panel", order.panel), ("panel_count", order.panel_count), ("battery", order.battery)):
        if pair is not None:
            values[key] = {"old": pair[0], "new": pair[1]}
    # An empty PHP array becomes [] where a filled one is an object (REFERENCE.md §6.4).
    values["adders"] = {"old": _adders(order.adders_old), "new": _adders(order.adders_new)}
    values["total_cost"] = {"old": order.total_cost_old, "new": order.total_cost_old + order.total_change}
    record: Record = {
        "id": order.change_order_id,
        "epc_install_id": install_id,
        "epc_company_id": c.EPC_COMPANY_ID,
        "creator_id": order.creator_id,
        "change_values": values,
        "signer": "Homeowner" if order.signed else None,
        "co_signer": None,
        "docflo_data": [],
        "pdf_url": f"https://uploads.enerflo.io/change-orders/{order.change_order_id}.pdf{SIGNED_QUERY}",
        "hash": f"{order.change_order_id:016x}",
        "status": order.status,
        "signed_at": naive(order.signed),
        "notes": "",
        "update_nem_docs": 0,
        "nem_signer": None,
        "is_override": 0,
        "created_at": naive(order.created),
        "updated_at": naive(order.updated),
        "deleted_at": None,
    }
    if order.spoil is not None:
        order.spoil(record)
    return record


def _adders(adders: tuple[Adder, ...]) -> Record | list[object]:
    rows = {
        str(adder.adder_id): {
            "id": adder.adder_id,
            "name": adder.name,
            "cost": adder.cost,
            "active": adder.active,
            "quantity": adder.quantity,
            "ignore_cost": 0,
        }
        for adder in adders
    }
    return rows or []
