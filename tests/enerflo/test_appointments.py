"""Appointments: the body that is sent, and the forms in which they come back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from enerflo_sync.enerflo.appointments import Appointment, add_appointment, read_appointments
from enerflo_sync.enerflo.client import EnerfloClient

from .conftest import Reply, ScriptedServer

TEN = datetime(2026, 3, 5, 10, tzinfo=UTC)


def test_an_appointment_is_sent_in_utc(client: EnerfloClient, server: ScriptedServer) -> None:
    server.script = [Reply(201, b'{"success": true}')]
    eastern = timezone(timedelta(hours=-5))
    add_appointment(client, "77", 3, datetime(2026, 3, 5, 5, tzinfo=eastern), TEN + timedelta(minutes=30))
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/appointments")
    times = {"start": "2026-03-05 10:00:00", "end": "2026-03-05 10:30:00"}
    assert json.loads(asked.body) == {"customer": 77, "appointment_type": 3, **times}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"scheduled_start_time": {"date": "2026-03-05 10:00:00.000000"}, "appointment_type": {"id": 3}},
            (TEN, 3),
        ),
        ({"start_time": "2026-03-05T10:00:00Z", "appointment_type_id": 3}, (TEN, 3)),
        (
            {"times": {"iso8601": {"start_time": "2026-03-05T05:00:00-05:00"}}, "appointment_type": 3},
            (TEN, 3),
        ),
        ({"start": "2026-03-05 10:00:00", "appointment_type": "Audit"}, (TEN, None)),
        ({"start": "soon"}, (None, None)),
        ({"times": []}, (None, None)),
        ([], (None, None)),
    ],
)
@pytest.mark.parametrize("envelope", ["data", "results", "appointments", None])
def test_every_form_of_a_row_is_read(
    client: EnerfloClient, server: ScriptedServer, row: Any, expected: tuple[Any, Any], envelope: str | None
) -> None:
    body = [row] if envelope is None else {envelope: [row], "dataCount": 1}
    server.script = [Reply(body=json.dumps(body).encode())]
    assert read_appointments(client, 77) == [Appointment(*expected)]
    assert server.asked[0].path == "/api/v3/customers/77/appointments"
