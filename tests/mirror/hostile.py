"""Records as nobody should send them: each is one record's trouble, whoever reads it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from enerflo_sandbox import company as company_module
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.world import World

DEEP = b"[" * 100_000 + b"]" * 100_000

# JSON texts, and what is no JSON, that stand in for the value of a field.
VALUES: dict[str, bytes] = {
    "a number of 310 digits": b"1" + b"0" * 309,
    "a number of 401 digits": b"1" + b"0" * 400,
    "a number of 5,000 digits": b"9" * 5_000,
    "an exponent of 309": b"1e309",
    "an exponent of 400": b"-1e400",
    "a fraction of 400 digits": b"0." + b"0" * 400 + b"1",
    "400 digits in text": b'"' + b"9" * 400 + b'"',
    "5,000 digits in text": b'"' + b"1" * 5_000 + b'"',
    "400 digits in a date object": b'{"date":"' + b"9" * 400 + b'","timezone":"UTC"}',
    "a zone that is a path": b'{"date":"2026-01-01","timezone":"../../etc/passwd"}',
    "a zone with NUL": b'{"date":"2026-01-01","timezone":"a\\u0000b"}',
    "depth of 900": b"[" * 900 + b"]" * 900,
    "depth of 100,000": DEEP,
    "objects, 5,000 deep": b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    "half a character": b'"\\ud800"',
    "NUL": b'"\\u0000"',
    "no number": b"NaN",
    "a string of 2 MB": b'"' + b"x" * 2_000_000 + b'"',
    "200,000 zeros": b"[" + b"0," * 200_000 + b"0]",
    "a key twice": b'{"id":1,"id":"a"}',
}
FIELDS = (
    *("id", "created_at", "system_size", "panel_count", "customer_id", "status_name", "survey_id"),
    *("customer", "all_milestones", "cost", "quantum_flux"),
)


def with_value(record: dict[str, Any], field: str, value: bytes) -> bytes:
    """The record's JSON with a field of this text in place of its own."""
    rest = {name: one for name, one in record.items() if name != field}
    return msgspec.json.encode(rest)[:-1] + b',"' + field.encode() + b'":' + value + b"}"


def plant(monkeypatch: pytest.MonkeyPatch, world: World, victims: dict[int, tuple[str, bytes]]) -> None:
    """Let the company serve these installs with a hostile value each."""

    def spoil(record: dict[str, Any], _: BadKind) -> bytes:
        return with_value(record, *victims[record["id"]])

    monkeypatch.setattr(company_module, "spoil", spoil)
    for install_id in victims:
        world.plant_bad(install_id, BadKind.WRONG_TYPES)
