"""Records that do not fit the contract, as a client of the real API will meet them sooner or later."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

_BAD_BYTE_MARK = "@@BAD-BYTE@@"


class BadKind(StrEnum):
    """How an install's record is spoilt; ``id`` stays right except in ``MISSING_ID``."""

    WRONG_TYPES = "wrong_types"
    MISSING_ID = "missing_id"
    ABSURD_NUMBER = "absurd_number"
    ABSURD_DATE = "absurd_date"
    NUL_CHARACTER = "nul_character"
    INVALID_UTF8 = "invalid_utf8"
    ARRAY_FOR_OBJECT = "array_for_object"
    UNKNOWN_FIELDS = "unknown_fields"


# Kinds that no reader can make sense of; the others may be normalised or kept.
HOPELESS = (BadKind.WRONG_TYPES, BadKind.ABSURD_DATE)


def spoil(record: dict[str, Any], kind: BadKind) -> bytes:
    """Return the JSON of an install's record, spoilt; ``record`` is changed on the way.

    ``INVALID_UTF8`` puts a byte 0xFF into the customer's name, so that the whole answer is not valid UTF-8.
    """
    customer = dict(record["customer"])
    record["customer"] = customer
    if kind is BadKind.WRONG_TYPES:
        record.update(status_name=["In", "progress"], created_at=17, panel_count={"count": 24})
        record["system_size"] = "a big one"
    elif kind is BadKind.MISSING_ID:
        del record["id"]
    elif kind is BadKind.ABSURD_NUMBER:
        record.update(panel_count=9_000_000_000_000_000_000, system_size=msgspec.Raw(b"1e400"))
        record["cost"] = {"system_cost_gross": msgspec.Raw(b"1e300")}
    elif kind is BadKind.ABSURD_DATE:
        record.update(created_at="20261-45-99T99:00:00+00:00", updated_at="0000-00-00 00:00:00")
    elif kind is BadKind.NUL_CHARACTER:
        customer["name"] = customer["first_name"] = f"{customer['first_name']}\0"
    elif kind is BadKind.INVALID_UTF8:
        customer["name"] = f"{_BAD_BYTE_MARK} {customer['last_name']}"
    elif kind is BadKind.ARRAY_FOR_OBJECT:
        record.update(customer=[], survey=[], agent_user=[], office=[], equipment=[], cost=[])
    else:
        record["quantum_flux"] = {"capacitance": 1.21, "calibrated_by": None}
        record["survey"] = {**record["survey"], "tilt_of_the_moon": "waxing"}
    return msgspec.json.encode(record).replace(_BAD_BYTE_MARK.encode(), b"\xff")
