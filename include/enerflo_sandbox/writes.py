"""The PUT and POST endpoints; their bodies are the likely ones, none is documented (REFERENCE.md §14)."""

from __future__ import annotations

from datetime import datetime

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import reads, render
from enerflo_sandbox.changes import Origin
from enerflo_sandbox.exchange import Response, json_answer, refusal
from enerflo_sandbox.world import World

Body = dict[str, object]
_INVALID = "The given data was invalid."
_LEAD_REQUIRED = ("first_name", "last_name", "address", "city", "state", "zip")
_LEAD_FIELDS = (*_LEAD_REQUIRED, "email", "mobile", "lead_source")
_CUSTOMER_FIELDS = ("first_name", "last_name", "email", "mobile", "address", "city", "state", "zip")
_DATE_FIELDS = {"started_at": "started", "due_at": "due", "completed_at": "completed"}


def _invalid(field: str, problem: str) -> Response:
    return refusal(422, _INVALID, {field: [problem]})


def update_install(world: World, body: Body, install_id: str) -> Response:
    """Set an install's status by ``status_id``; an id that the company does not list gets 422."""
    identifier = int(install_id)
    world.number_of(identifier)
    status_id = body.get("status_id")
    if not isinstance(status_id, int) or isinstance(status_id, bool) or status_id not in c.STATUSES:
        return _invalid("status_id", "The selected status id is invalid.")
    world.set_status(identifier, status_id, origin=Origin.API)
    return reads.install(world, {}, install_id)


def update_milestone(world: World, body: Body, install_id: str, milestone_id: str) -> Response:
    """Set any of ``started_at``, ``due_at``, ``completed_at`` of one milestone; null clears a date."""
    dates: dict[str, datetime | None] = {}
    for field, name in _DATE_FIELDS.items():
        if field in body:
            value = body[field]
            moment = reads.parse_time(value) if isinstance(value, str) else None
            if value is not None and moment is None:
                return _invalid(field, f"The {field} is not a valid date.")
            dates[name] = moment
    if not dates:
        return _invalid("completed_at", "One of started_at, due_at, completed_at is required.")
    identifier, definition = int(install_id), int(milestone_id)
    world.set_milestone(identifier, definition, dates, origin=Origin.API)
    state = world.installs.get(world.number_of(identifier))
    row = render.milestone_row(state, c.MILESTONE_POSITION[definition])
    return json_answer({"success": True, "data": row})


def add_note(world: World, body: Body, install_id: str) -> Response:
    """Add a note with the text of ``note``; every repeat adds one more, there is no idempotency key."""
    identifier = int(install_id)
    world.number_of(identifier)
    text = body.get("note")
    if not isinstance(text, str) or not text.strip():
        return _invalid("note", "The note field is required.")
    note_id = world.add_note(identifier, text, author_id=render.LOGGED_IN_ID, origin=Origin.API)
    position = world.notes.position_of(note_id)
    if position is None:
        raise AssertionError(f"note {note_id} vanished")
    note = render.note_record(world.notes.get(position), identifier)
    return json_answer({"success": True, "note": note}, 201)


def update_customer(world: World, body: Body, customer_id: str) -> Response:
    """Update a customer; 403 while it is an unconverted lead (REFERENCE.md §6.4)."""
    identifier = int(customer_id)
    if not world.customer(identifier).is_converted:
        return refusal(403, "This action is unauthorized.")
    values: dict[str, object] = {name: body[name] for name in _CUSTOMER_FIELDS if name in body}
    for field, name in (("agent_user_id", "owner"), ("setter_user_id", "setter")):
        if field in body:
            at = next((n for n, user in enumerate(c.USERS) if user.user_id == body[field]), None)
            if at is None:
                return _invalid(field, "The selected user is invalid.")
            values[name] = at
    wrong = next((n for n in values if n in _CUSTOMER_FIELDS and not isinstance(values[n], str)), None)
    if wrong is not None:
        return _invalid(wrong, f"The {wrong} must be a string.")
    # assign_to_email and setter_email are silently ignored (REFERENCE.md §6.4).
    world.edit_customer(identifier, values, origin=Origin.API)
    return reads.customer(world, {}, customer_id)


def add_lead(world: World, body: Body) -> Response:
    """Upsert a lead by ``integration_record_id``; ``createDeal`` opens a deal (REFERENCE.md §6.4)."""
    lead = body.get("lead")
    if not isinstance(lead, dict):
        return _invalid("lead", "The lead field is required.")
    missing = {name: ["is required"] for name in _LEAD_REQUIRED if not lead.get(name)}
    if missing:
        return refusal(422, _INVALID, {f"lead.{name}": text for name, text in missing.items()})
    values: dict[str, object] = {name: str(lead[name]) for name in _LEAD_FIELDS if lead.get(name) is not None}
    key = lead.get("integration_record_id")
    external_id = str(key) if key else None
    customer_id = world.customers.by_key(external_id) if external_id is not None else None
    message = "Lead Added" if customer_id is None else "Lead Updated"
    if customer_id is None:
        customer_id = world.add_lead(values, external_id, origin=Origin.API)
    else:
        world.edit_customer(customer_id, values, origin=Origin.API)
    answer: dict[str, object] = {"status": "success", "message": message, "customer_id": customer_id}
    # An upsert does not open a second deal for a lead that has one: a repeat must not multiply deals.
    if lead.get("createDeal") and not world.customer(customer_id).deals:
        world.add_deal(customer_id)
    deals = world.customer(customer_id).deals
    row: dict[str, object] = {"id": customer_id}
    if deals:
        row["deal"] = {"id": deals[0].deal_id, "survey_id": deals[0].survey_id}
    answer["data"] = {"lead": row}
    return json_answer(answer)
