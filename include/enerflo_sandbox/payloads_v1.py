"""Bodies of the v1 webhooks: flat, with the event's name in ``webhook_event`` (REFERENCE.md §8, §9).

Where no sample is known, the likely shapes take turns, so that no reader grows used to one of them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import render
from enerflo_sandbox.draw import naive
from enerflo_sandbox.render import Record
from enerflo_sandbox.state import CustomerState, InstallState, NoteState

_MARKET_ID = 102_000
_AGREEMENT_BASE = 570_001
_COUNTY = "Example County"


@dataclass(frozen=True, slots=True)
class InstallView:
    """An install with what its bodies show beside it."""

    state: InstallState
    customer: CustomerState
    status_name: str


def timestamps(created: int, updated: int, deleted: int | None = None) -> Record:
    """Return the block of a record's times, naive text in the zone that it names (REFERENCE.md §4)."""
    return {
        "deleted_at": naive(deleted),
        "created_at": naive(created),
        "updated_at": naive(updated),
        "timezone": "UTC",
    }


def customer(event: str, one: CustomerState, rng: random.Random) -> Record:
    """Return ``new_customer`` or ``update_customer``; coordinates are numbers or strings, both are seen."""
    return {"webhook_event": event, **_customer_block(one, as_numbers=rng.random() < 0.5)}


def _customer_block(one: CustomerState, *, as_numbers: bool = False) -> Record:
    comma = ", " if as_numbers else " "
    return {
        "id": one.customer_id,
        "external_id": one.external_id,
        "first_name": one.first_name,
        "last_name": one.last_name,
        "full_name": one.name,
        "email": one.email,
        "phone": _phone(one.mobile),
        "address": {
            "street": one.address,
            "city": one.city,
            "state": one.state,
            "zip": one.zip,
            "county": _COUNTY,
            "full_address": f"{one.address}{comma}{one.city}, {one.state} {one.zip}",
            "latitude": float(one.lat) if as_numbers and one.lat else one.lat,
            "longitude": float(one.lng) if as_numbers and one.lng else one.lng,
        },
        "customer_timezone": "America/Chicago",
        "lead_source": one.lead_source,
        "timestamps": timestamps(one.created, one.updated),
    }


def _phone(digits: str | None) -> str | None:
    if digits is None or len(digits) != 10:
        return digits
    return f"({digits[:3]}) {digits[3:6]}-{digits[6:]}"


def install(event: str, view: InstallView, rng: random.Random, *, deleted: int | None = None) -> Record:
    """Return an install event in the shape of real traffic or of the docs' dictionary, by ``rng``.

    :param deleted: epoch seconds of the deletion; shown as ``deleted_at``, never in a body of its own.
    """
    shape = _slim_install if rng.random() < 0.5 else dictionary_install
    return {"webhook_event": event, **shape(view, deleted)}


def _slim_install(view: InstallView, deleted: int | None = None) -> Record:
    state = view.state
    return {
        "id": state.install_id,
        "status": {"id": state.status_id, "name": view.status_name},
        "sales_company_id": c.COMPANY_ID,
        "install_company_id": c.EPC_COMPANY_ID,
        "office_id": None if state.office is None else c.OFFICES[state.office][0],
        "market_id": _MARKET_ID,
        "deal_id": state.survey_id,
        "agreement_id": _AGREEMENT_BASE + state.number,
        "customer": _customer_block(view.customer),
        "agent": _agent(state),
        "timestamps": timestamps(state.created, state.updated, deleted),
    }


def _agent(state: InstallState) -> Record | list[object]:
    if state.agent is None:
        return []
    user = c.USERS[state.agent]
    return {
        "id": user.junction_id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "full_name": user.name,
        "email": user.email,
        "phone": f"555{user.user_id:07d}",
        "timezone": "America/Chicago",
        "deleted_at": None,
        "created_at": "2021-11-08 19:40:21",
        "updated_at": "2024-06-08 23:51:18",
    }


def dictionary_install(view: InstallView, deleted: int | None = None) -> Record:
    """Return the install as the docs' dictionary describes it: flat ids, no ``status`` block."""
    state = view.state
    return {
        "id": state.install_id,
        "epc_company_id": c.EPC_COMPANY_ID,
        "company_id": c.COMPANY_ID,
        "editor_company_id": c.EPC_COMPANY_ID,
        "office_id": None if state.office is None else c.OFFICES[state.office][0],
        "epc_market_id": _MARKET_ID,
        "customer_id": state.customer_id,
        "survey_type_id": 0,
        "survey_id": state.survey_id,
        "site_survey_id": None,
        "agent_id": None if state.agent is None else c.USERS[state.agent].junction_id,
        "agreement_id": _AGREEMENT_BASE + state.number,
        "created_at": naive(state.created),
        "updated_at": naive(state.updated),
        "deleted_at": naive(deleted),
        "status_id": state.status_id,
        "agreement_url": f"https://assets.enerflo.io/docflo_pdfs/executed/{state.deal_id}.pdf",
        "survey_url": f"https://enerflo.io/survey/menu/{state.survey_id}",
        "proposal_url": f"https://enerflo.io/surveyreport/show/company/{state.survey_id}",
        "office": None if state.office is None else render.office_record(state.office),
        "epc_market": {
            "id": _MARKET_ID,
            "epc_company_id": c.EPC_COMPANY_ID,
            "created_at": "2023-06-16 20:27:12",
        },
        "customer": {
            "id": state.customer_id,
            "first_name": view.customer.first_name,
            "last_name": view.customer.last_name,
            "email": view.customer.email,
        },
        "company": {"id": c.COMPANY_ID, "company_name": render.COMPANY_NAME, "v2_org_id": c.ORG_UUID},
        "formattedFields": [],
        "solarData": _survey_data(state),
    }


def _survey_data(state: InstallState) -> Record:
    return {
        "panel_id": 3450 + state.panel,
        "utility_id": 53,
        "inverter_id": 1415 + state.inverter,
        "lender_picker": 29583,
        "solar_system_size": state.watts / 1000,
        "solar_design_notes": "",
        "solar_data_panel_count": state.panel_count,
        "solar_data_solar_offset": 0.5 + state.number % 50 / 100,
        "solar_data_current_usage": 9000 + state.number % 7000,
        "solar_data_inverter_count": state.panel_count,
        "solar_data_system_production": state.watts * 1.45,
        "solar_data_total_cost_after_fees": None if state.cost_cents is None else state.cost_cents / 100,
    }


def milestone(view: InstallView, milestone_id: int, rng: random.Random) -> Record:
    """Return ``project_milestone_updated``; no sample is known, so ``id`` is the install's or the row's.

    :param milestone_id: the definition's id.
    """
    row = render.milestone_row(view.state, c.MILESTONE_POSITION[milestone_id])
    head: Record = {"webhook_event": "project_milestone_updated"}
    times = timestamps(view.state.created, view.state.updated)
    shape = rng.randrange(3)
    if shape == 0:
        del row["epc_install_id"]
        return {**head, **row, "id": view.state.install_id, "timestamps": times}
    if shape == 1:
        return {**head, **row, "timestamps": times}
    del row["epc_install_id"]
    return {**head, **row, "install": {"id": view.state.install_id}, "timestamps": times}


def note(one: NoteState, view: InstallView, rng: random.Random) -> Record:
    """Return ``new_install_note``; no sample is known, so ``id`` is the install's or the note's."""
    head: Record = {"webhook_event": "new_install_note"}
    install_id = view.state.install_id
    text: Record = {"author_id": one.author_id, "note": one.text}
    shape = rng.randrange(4)
    if shape == 0:
        return {**head, **render.note_record(one, install_id)}
    if shape == 1:
        times = {"created_at": naive(one.created), "updated_at": naive(one.created), "deleted_at": None}
        return {**head, "id": one.note_id, "epc_install_id": install_id, **text, **times}
    times = timestamps(one.created, one.created)
    if shape == 2:
        return {**head, "id": one.note_id, "install_id": install_id, **text, "timestamps": times}
    return {**head, "id": one.note_id, "install": {"id": install_id}, **text, "timestamps": times}


def signed_change_order(status: str, orders: list[Record], view: InstallView) -> Record:
    """Return ``signed_change_order``: ``id`` is the install's, ``change_orders`` all of the install.

    :param status: of the order that was signed, such as ``complete``.
    """
    state = view.state
    at = state.current_milestone
    rows = [render.milestone_row(state, position) for position in range(len(c.MILESTONES))]
    return {
        "webhook_event": "signed_change_order",
        "id": state.install_id,
        "status": status,
        "install": dictionary_install(view),
        "surveyData": _survey_data(state),
        "driveFolders": [],
        "installAgreement": {"id": _AGREEMENT_BASE + state.number},
        "current_milestone": [] if at is None else rows[at],
        "all_milestones": rows,
        "customer": _customer_block(view.customer),
        "change_orders": orders,
        "company": {"id": c.COMPANY_ID, "company_name": render.COMPANY_NAME, "v2_org_id": c.ORG_UUID},
        "agent": _agent(state),
    }
