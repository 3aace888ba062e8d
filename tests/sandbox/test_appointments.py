from __future__ import annotations

from typing import Any

import pytest

from enerflo_sandbox.world import World

from .conftest import Ask, body_of

ADD = "/api/v1/appointments"
BODY = {"appointment_type": 3, "start": "2026-03-05 10:00:00", "end": "2026-03-05 11:00:00"}


def test_an_appointment_is_made_for_a_customer_and_listed_with_carbon_times(ask: Ask, world: World) -> None:
    customer = next(world.truth.customers())
    for _ in range(2):
        body_of(ask("POST", ADD, {**BODY, "customer": customer.customer_id}))
    body_of(ask("POST", ADD, {**BODY, "customer": customer.email, "start": "2026-03-05 10:00:00 -05:00"}))
    answer = body_of(ask("GET", f"/api/v3/customers/{customer.customer_id}/appointments"))
    assert answer["dataCount"] == 3
    starts = [row["scheduled_start_time"]["date"] for row in answer["data"]]
    assert starts == ["2026-03-05 10:00:00.000000"] * 2 + ["2026-03-05 15:00:00.000000"]
    assert answer["data"][0]["appointment_type"]["id"] == 3
    other = list(world.truth.customers())[1]
    assert body_of(ask("GET", f"/api/v3/customers/{other.customer_id}/appointments"))["data"] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("customer", 1),
        ("customer", "nobody@example.com"),
        ("appointment_type", "3"),
        ("start", "2026-03-05T10:00:00Z"),
        ("end", None),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Ask, world: World, field: str, value: Any) -> None:
    customer = next(world.truth.customers())
    assert ask("POST", ADD, {**BODY, "customer": customer.customer_id, field: value}).status == 422
    assert world.appointments == []
    assert ask("GET", "/api/v3/customers/1/appointments").status == 404
