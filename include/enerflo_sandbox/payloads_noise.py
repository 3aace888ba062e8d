"""Events that a subscription brings along and that concern no mirrored record (REFERENCE.md §9)."""

from __future__ import annotations

import random

from enerflo_sandbox import catalogue as c
from enerflo_sandbox import payloads_v2 as v2
from enerflo_sandbox.changes import Change
from enerflo_sandbox.draw import moment_of, naive, offset
from enerflo_sandbox.payloads_v1 import timestamps
from enerflo_sandbox.render import Record
from enerflo_sandbox.state import CustomerState, InstallState

_FIRST_APPOINTMENT_ID = 910_001


def bodies(
    change: Change, customer: CustomerState, install: InstallState | None, rng: random.Random
) -> list[Record]:
    """Return one to three bodies of such events about the customer of a change."""
    roll = rng.randrange(5)
    if roll == 0:
        return _appointment(change, customer, rng)
    if roll == 1:
        return [_survey(rng.choice(("new_survey", "update_survey")), change, customer, install)]
    if roll == 2:
        return [_note(change, customer, rng)]
    if roll == 3:
        return [_design_request(change, install, rng)]
    return [_deal_created(customer, install, rng)]


def _appointment(change: Change, customer: CustomerState, rng: random.Random) -> list[Record]:
    start = moment_of(change.at) + rng.randrange(1, 14) * 86_400
    body = {
        "id": _FIRST_APPOINTMENT_ID + rng.randrange(1_000_000),
        "status": "scheduled",
        "length_minutes": 60,
        "appointment_type": {"id": 3, "name": "Consultation"},
        "times": {
            "iso8601": {"start_time": offset(start), "end_time": offset(start + 3600)},
            "unix": {"start_time": start, "end_time": start + 3600},
        },
        "deal_id": None,
        "customer": {"id": customer.customer_id, "first_name": customer.first_name},
        "assignee": {"id": c.USERS[customer.owner].user_id},
        "creator": {"id": c.USERS[customer.setter].user_id},
        "external_notes": "",
        "internal_notes": "",
    }
    # Creating one appointment fires both at once (REFERENCE.md §11).
    return [{"webhook_event": event, **body} for event in ("new_appointment", "update_appointment")]


def _survey(event: str, change: Change, customer: CustomerState, install: InstallState | None) -> Record:
    now = moment_of(change.at)
    return {
        "webhook_event": event,
        "id": 3_100_000 + customer.number if install is None else install.survey_id,
        "customer": {"id": customer.customer_id},
        "timestamps": timestamps(now, now),
    }


def _note(change: Change, customer: CustomerState, rng: random.Random) -> Record:
    return {
        "webhook_event": "new_note",
        "id": 5_000_001 + rng.randrange(1_000_000),
        "customer_id": customer.customer_id,
        "note": "Left a voice mail.",
        "created_at": naive(moment_of(change.at)),
    }


def _design_request(change: Change, install: InstallState | None, rng: random.Random) -> Record:
    now = moment_of(change.at)
    return {
        "webhook_event": "new_design_request",
        "id": 610_001 + rng.randrange(1_000_000),
        "deal_id": None if install is None else install.survey_id,
        "install_id": None if install is None else install.install_id,
        "assignee": {},
        "timestamps": timestamps(now, now),
    }


def _deal_created(customer: CustomerState, install: InstallState | None, rng: random.Random) -> Record:
    deal_id = v2.identifier("deal", rng.getrandbits(64)) if install is None else install.deal_id
    deal = {
        "id": deal_id,
        "shortCode": deal_id.replace("-", "")[:9],
        "customer": {"firstName": customer.first_name, "lastName": customer.last_name},
        "salesRep": {"id": v2.identifier("user", customer.owner)},
    }
    return v2.envelope("deal.created", customer.owner, {"deal": deal})
