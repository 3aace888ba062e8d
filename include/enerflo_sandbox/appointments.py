"""Appointments: making one, and those of a customer, whose times are Carbon objects (REFERENCE.md §4)."""

from __future__ import annotations

import re

from enerflo_sandbox import reads, render
from enerflo_sandbox.draw import moment_of, naive, offset
from enerflo_sandbox.exchange import Response, json_answer, refusal
from enerflo_sandbox.state import AppointmentState
from enerflo_sandbox.world import UnknownRecordError, World

FIRST_ID = 880_001
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d( ?[+-]\d\d:?\d\d)?")


def add(world: World, body: dict[str, object]) -> Response:
    """Make an appointment; every repeat makes one more, there is no idempotency key.

    ``customer`` is an id or an e-mail; ``start`` and ``end`` are ``yyyy-mm-dd hh:mm:ss``, UTC without an
    offset (REFERENCE.md §4, §6.4).
    """
    errors: dict[str, list[str]] = {}
    times: dict[str, int] = {}
    for field in ("start", "end"):
        text = body.get(field)
        moment = reads.parse_time(text) if isinstance(text, str) and _TIME.fullmatch(text) else None
        if moment is None:
            errors[field] = [f"The {field} does not match the format Y-m-d H:i:s."]
        else:
            times[field] = moment_of(moment)
    kind = body.get("appointment_type")
    if not isinstance(kind, int) or isinstance(kind, bool):
        errors["appointment_type"] = ["The appointment type must be an integer."]
    customer_id = _customer_of(world, body.get("customer"))
    if customer_id is None:
        errors["customer"] = ["The selected customer is invalid."]
    if errors or customer_id is None or not isinstance(kind, int):
        return refusal(422, "The given data was invalid.", errors)
    number = FIRST_ID + len(world.appointments)
    made = AppointmentState(number, customer_id, kind, times["start"], times["end"])
    world.appointments.append(made)
    return json_answer({"success": True, "data": _row(made)}, 201)


def listed(world: World, parameters: reads.Parameters) -> Response:
    """List all appointments, newest first: ``{dataCount, data}`` (REFERENCE.md §3)."""
    page, size = reads.page_asked_for(parameters, "pageSize")
    newest = sorted(world.appointments, key=lambda one: -one.appointment_id)
    rows = [_row(one) for one in newest[(page - 1) * size : page * size]]
    return json_answer({"dataCount": len(newest), "data": rows})


def event(name: str, one: AppointmentState) -> render.Record:
    """Return what Enerflo sends of an appointment, in the form seen in production (REFERENCE.md §9)."""
    times = {"start_time": offset(one.start), "end_time": offset(one.end)}
    return {
        "webhook_event": name,
        "id": one.appointment_id,
        "status": "scheduled",
        "length_minutes": (one.end - one.start) // 60,
        "appointment_type": {"id": one.type_id, "name": f"Type {one.type_id}"},
        "times": {"iso8601": times, "unix": {"start_time": one.start, "end_time": one.end}},
        "deal_id": None,
        "customer": {"id": one.customer_id},
    }


def of_customer(world: World, parameters: reads.Parameters, customer_id: str) -> Response:
    """List a customer's appointments: ``{dataCount, data}`` as the v1 list has it (REFERENCE.md §3)."""
    identifier = int(customer_id)
    world.customer(identifier)
    rows = [_row(one) for one in world.appointments if one.customer_id == identifier]
    return json_answer({"dataCount": len(rows), "data": rows})


def _customer_of(world: World, named: object) -> int | None:
    if isinstance(named, str):
        email = named.lower()
        of_email = (
            customer_id
            for customer_id in world.customers.ids()
            if (world.customers.get(customer_id).email or "").lower() == email
        )
        return next(of_email, None)
    if not isinstance(named, int) or isinstance(named, bool):
        return None
    try:
        return world.customer(named).customer_id
    except UnknownRecordError:
        return None


def _row(one: AppointmentState) -> render.Record:
    return {
        "id": one.appointment_id,
        "customer_id": one.customer_id,
        "status": "scheduled",
        "length_minutes": (one.end - one.start) // 60,
        "appointment_type": {"id": one.type_id, "name": f"Type {one.type_id}"},
        "scheduled_start_time": _carbon(one.start),
        "scheduled_end_time": _carbon(one.end),
    }


def _carbon(moment: int) -> render.Record:
    return {"date": f"{naive(moment)}.000000", "timezone_type": 3, "timezone": "UTC"}
