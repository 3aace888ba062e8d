"""One more resource by one file: polled, told by webhook, read again by key, and backfilled as all others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox.appointments import FIRST_ID, event
from enerflo_sandbox.exchange import json_answer, refusal
from enerflo_sandbox.state import AppointmentState
from enerflo_sandbox.world import World
from enerflo_sync.backfill.request import Part
from enerflo_sync.inbox.kinds import not_asked_for
from enerflo_sync.inbox.reads import Reads
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.appointments import APPOINTMENTS, APPOINTMENTS_OF
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.event import Need
from enerflo_sync.warehouse.runs import RunState
from tests.backfill.conftest import Desk
from tests.inbox.conftest import LIMITS, Inbox, answering
from tests.inbox.replaying import Again

ROWS = PollResource("appointments")
WANTED = replace(LIMITS, ignored=not_asked_for({"appointments"}))
TEN = datetime(2026, 3, 5, 10, tzinfo=UTC)


def meet(world: World, customer_id: int, *, day: int = 0) -> AppointmentState:
    """Make an appointment at ten o'clock, of an hour."""
    start = int((TEN + timedelta(days=day)).timestamp())
    made = AppointmentState(FIRST_ID + len(world.appointments), customer_id, 3, start, start + 3600)
    world.appointments.append(made)
    return made


def rows(company: Any) -> dict[int, tuple[Any, ...]]:
    columns = "customer_id, starts_at, ends_at, type_id, observed_by, absent_since, deleted_at"
    found = company.rows(f"select appointment_id, {columns} from enerflo.appointments")
    return {row[0]: row[1:] for row in found}


def test_a_poll_reads_them_where_it_is_told_to(inbox: Inbox) -> None:
    company, world = inbox.company, inbox.world
    ids = [row.customer_id for row in world.truth.customers()][:2]
    first, second = meet(world, ids[0]), meet(world, ids[1], day=1)
    company.poll()
    assert rows(company) == {}
    report = company.poll(ROWS)
    assert (report.state, report.applied) == (RunState.OK, 2)
    hour = timedelta(hours=1)
    tomorrow = TEN + timedelta(days=1)
    assert rows(company) == {
        first.appointment_id: (ids[0], TEN, TEN + hour, 3, "poll", None, None),
        second.appointment_id: (ids[1], tomorrow, tomorrow + hour, 3, "poll", None, None),
    }
    assert company.poll(ROWS).unchanged == 2
    world.appointments[1] = replace(second, start=first.start, end=first.end)
    assert company.poll(ROWS).applied == 1
    assert rows(company)[second.appointment_id][1] == TEN
    # Gone by evidence: two complete walks do not name it.
    del world.appointments[1]
    company.poll(ROWS, accept_shrink=True)
    assert rows(company)[second.appointment_id][5] is not None
    company.poll(ROWS, accept_shrink=True)
    assert [key for key, row in rows(company).items() if row[6] is None] == [first.appointment_id]
    assert company.rows("select count(*) from sync.watermarks where name = 'appointments'") == [(1,)]


@pytest.mark.parametrize("name", [kind.name for kind in APPOINTMENTS.events])
def test_a_webhook_has_the_customers_appointments_read(polled: Inbox, name: str) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    made = meet(polled.world, customer)
    polled.drop(event(name, made))
    polled.ingest(limits=WANTED)
    assert polled.states() == {"applied": 1}
    assert rows(polled.company)[made.appointment_id][:5] == (
        customer, TEN, TEN + timedelta(hours=1), 3, "webhook",
    )  # fmt: skip
    assert polled.asked(f"/api/v3/customers/{customer}/appointments") == 1


def test_the_documented_shape_of_the_event_names_the_customer_too(polled: Inbox) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    made = meet(polled.world, customer)
    flat = {"enerflo_apt_id": made.appointment_id, "enerflo_customer_id": str(customer)}
    polled.drop({"webhook_event": "new_appointment", **flat})
    polled.ingest(limits=WANTED)
    assert list(rows(polled.company)) == [made.appointment_id]


def test_an_account_that_does_not_poll_them_ignores_their_events(polled: Inbox) -> None:
    made = meet(polled.world, next(polled.world.truth.customers()).customer_id)
    polled.drop(event("new_appointment", made))
    polled.ingest()
    assert (polled.states(), rows(polled.company)) == ({"ignored": 1}, {})


@pytest.mark.parametrize("status", [403, 404])
def test_what_enerflo_does_not_answer_by_customer_the_next_poll_reads(polled: Inbox, status: int) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    made = meet(polled.world, customer)
    answering(polled, f"/api/v3/customers/{customer}/appointments", refusal(status, "no"))
    polled.drop(event("new_appointment", made))
    polled.ingest(limits=WANTED)
    assert polled.states() == {"received": 1}
    # The refusal is no evidence that the customer is gone.
    assert polled.one("select count(*) from enerflo.customers where deleted_at is not null") == 0
    polled.company.poll(ROWS)
    polled.later()
    polled.ingest(limits=WANTED)
    assert polled.states() == {"applied": 1}
    assert list(rows(polled.company)) == [made.appointment_id]


def test_a_refused_read_that_no_event_asked_for_is_not_whole(polled: Inbox) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    answering(polled, f"/api/v3/customers/{customer}/appointments", refusal(403, "no"))
    client = polled.company.client(CallCounter())
    with polled.warehouse.connect() as connection:
        reads = Reads(client, connection, polled.account, ComponentKeys())
        answer = reads.read(Need(APPOINTMENTS_OF, str(customer)), ())
    assert (list(answer.records), answer.is_whole) == ([(APPOINTMENTS, [])], False)


def test_one_that_cannot_be_read_is_put_aside_and_replayed(polled: Inbox, again: Again) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    made = meet(polled.world, customer)
    route = polled.api._route
    bad = {"id": made.appointment_id, "customer_id": customer, "scheduled_start_time": "soon"}
    answering(polled, "/api/v1/appointments", json_answer({"dataCount": 1, "data": [bad]}))
    assert polled.company.poll(ROWS).quarantined == 1
    polled.api._route = route  # type: ignore[method-assign]
    assert rows(polled.company) == {}
    assert again.one()[0] == "replayed"
    assert list(rows(polled.company)) == [made.appointment_id]
    assert polled.rows("select state from sync.quarantine") == [("replayed",)]


@pytest.mark.parametrize("named", [False, True])
def test_a_backfill_reads_those_of_the_installs_that_it_is_about(desk: Desk, named: bool) -> None:
    desk.poll(PollResource("installs"))
    wanted, other = (
        desk.rows(
            "select install_id, customer_id, created_at from enerflo.installs order by created_at desc limit 2"
        )[0],
        desk.rows("select install_id, customer_id from enerflo.installs order by created_at limit 1")[0],
    )
    assert wanted[1] != other[1]
    mine, theirs = meet(desk.world, wanted[1]), meet(desk.world, other[1])
    parts = frozenset({Part("installs"), Part("appointments")})
    request = desk.window(wanted[2].date().isoformat(), None, parts)
    if named:
        request = replace(desk.named(wanted[0]), parts=parts)
    report = desk.backfill(request)
    assert rows(desk)[mine.appointment_id][4] == "backfill"
    assert theirs.appointment_id not in rows(desk)
    assert report.resources["appointments"]["skipped"] >= 1
    # Nobody asked for them: a backfill of everything usual leaves them to the poll.
    assert Part("appointments") not in desk.everything().parts


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"scheduled_start_time": {"date": "2026-03-05 10:00:00.000000"}}, TEN),
        ({"start_time": "2026-03-05T10:00:00Z"}, TEN),
        ({"times": {"iso8601": {"start_time": "2026-03-05T05:00:00-05:00"}}}, TEN),
        ({"times": []}, None),
    ],
)
def test_every_form_of_a_row_is_read(times: dict[str, Any], expected: datetime | None) -> None:
    row = APPOINTMENTS.rows_by_column({"id": 7, "customer": {"id": 9}, "appointment_type_id": 3, **times})[0][
        0
    ]
    assert (row["appointment_id"], row["customer_id"], row["type_id"]) == (7, 9, 3)
    found = row["starts_at"]
    assert (found and datetime.fromisoformat(found).astimezone(UTC)) == expected


def test_its_table_is_in_the_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    assert "## enerflo.appointments" in page
