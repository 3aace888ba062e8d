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
from enerflo_sync.catalogue.read_catalogue import read_catalogue
from enerflo_sync.crm.load import load_config
from enerflo_sync.inbox.kinds import not_asked_for
from enerflo_sync.inbox.reads import Reads
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.rebuild.from_versions import NO_VERSION
from enerflo_sync.rebuild.tables import RebuildTable
from enerflo_sync.resources.appointments import APPOINTMENTS, APPOINTMENTS_OF
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.resources.event import Need
from enerflo_sync.shipped import shipped
from enerflo_sync.warehouse.declared import DeclaredColumn, declare
from enerflo_sync.warehouse.runs import RunState
from tests.backfill.conftest import Desk
from tests.inbox.conftest import LIMITS, Inbox, answering
from tests.inbox.replaying import Again
from tests.rebuild.conftest import SEEN, counts, damage, run_rebuild, snapshot, table

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


def other_form(one: AppointmentState, **said: Any) -> dict[str, Any]:
    """A row as the event has it, with the same values as the list's."""
    return {**{k: v for k, v in event("", one).items() if k != "webhook_event"}, **said}


def versions(company: Any) -> dict[int, list[bool]]:
    """Of each version by appointment, whether the row names it."""
    found = company.rows(
        "select v.appointment_id, v.content_hash is not distinct from t.content_hash"
        " from enerflo.appointment_versions v left join enerflo.appointments t using (account, appointment_id)"
        " order by 1, 2"
    )
    return {key: [names for one, names in found if one == key] for key, _ in found}


def test_a_direct_read_in_another_form_writes_no_row_that_says_the_same(polled: Inbox) -> None:
    customer = next(polled.world.truth.customers()).customer_id
    known = meet(polled.world, customer)
    polled.company.poll(ROWS)
    fresh = meet(polled.world, customer, day=1)
    told = [other_form(known, internal_notes="x"), other_form(fresh)]
    answering(polled, f"/api/v3/customers/{customer}/appointments", json_answer({"data": told}))
    mark = "select xmin::text from enerflo.appointments where appointment_id = :i"
    before = polled.one(mark, i=known.appointment_id)
    polled.drop(event("update_appointment", known))
    polled.ingest(limits=WANTED)
    assert polled.states() == {"applied": 1}
    # Both forms are kept, and the row names the list's; the new one is known by the only form that was seen.
    assert versions(polled) == {known.appointment_id: [False, True], fresh.appointment_id: [True]}
    assert rows(polled.company)[fresh.appointment_id][4] == "webhook"
    polled.company.poll(ROWS)
    assert polled.one(mark, i=known.appointment_id) == before
    assert versions(polled)[fresh.appointment_id] == [False, True]
    assert polled.company.poll(ROWS).unchanged == 2


DAMAGE = (
    "update enerflo.appointments set status = 'Nonsense', type_name = null",
    "update enerflo.appointments set starts_at = now(), customer_id = 1 where appointment_id % 2 = 0",
    "update enerflo.appointments set content_hash = 'no such version'",
    "delete from enerflo.appointments where appointment_id % 2 = 1",
)


@pytest.fixture
def met(polled: Inbox) -> Inbox:
    """A company with appointments of several customers; one was moved, one is gone, one is told by webhook."""
    world = polled.world
    ids = [row.customer_id for row in world.truth.customers()][:6]
    made = [meet(world, customer, day=day) for day, customer in enumerate(ids)]
    polled.company.poll(ROWS)
    world.appointments[1] = replace(made[1], start=made[0].start, end=made[0].end)
    del world.appointments[5]
    for _ in range(2):
        polled.company.poll(ROWS, accept_shrink=True)
        polled.later()
    world.appointments[2] = replace(made[2], start=made[0].start, end=made[0].end)
    polled.drop(event("update_appointment", world.appointments[2]))
    polled.ingest(limits=WANTED)
    assert [row[6] is not None for _, row in sorted(rows(polled.company).items())] == [False] * 5 + [True]
    assert {len(some) for some in versions(polled).values()} == {1, 2}
    return polled


def test_a_rebuild_of_sound_rows_writes_none(met: Inbox) -> None:
    before = snapshot(met, versions=True)
    report = run_rebuild(met)
    assert (counts(report), report.left.get("appointments")) == ({}, None)
    assert table(report, "appointments").rows == 6
    assert snapshot(met, versions=True) == before


@pytest.mark.parametrize("damaged", DAMAGE)
def test_damaged_and_deleted_rows_are_derived_again_without_a_request(met: Inbox, damaged: str) -> None:
    before, asked = snapshot(met, SEEN)["appointments"], met.api.requests.total()
    assert damage(met, damaged) >= 3
    wrong = snapshot(met, SEEN)["appointments"] - before
    shown = run_rebuild(met, write=False)
    assert shown.differing >= 3
    assert snapshot(met, SEEN)["appointments"] - before == wrong
    assert run_rebuild(met).differing == shown.differing
    assert snapshot(met, SEEN)["appointments"] == before
    assert met.api.requests.total() == asked
    assert counts(run_rebuild(met)) == {}
    # The bytes of rows that were written are not known: the next poll reads them, and finds nothing to change.
    assert met.company.poll(ROWS).applied == 0
    assert (
        met.one("select count(*) from enerflo.appointments where raw_hash is null and absent_since is null")
        == 0
    )


def test_an_invented_row_is_named_and_two_polls_find_it_gone(met: Inbox) -> None:
    damage(
        met,
        "insert into enerflo.appointments (account, appointment_id, status, observed_at, observed_by)"
        " values ('default', 77, 'invented', :at, 'poll')",
        at=met.clock.now(),
    )
    report = run_rebuild(met)
    # A lost version is no evidence of a deletion.
    assert (counts(report), report.left["appointments"]) == ({}, {NO_VERSION: 1})
    for _ in range(2):
        met.later()
        met.company.poll(ROWS, accept_shrink=True)
    assert rows(met.company)[77][6] is not None


def test_a_condition_on_installs_takes_the_appointments_of_their_customers(met: Inbox) -> None:
    damage(met, "update enerflo.appointments set status = 'Nonsense' where deleted_at is null")
    install_id, customer = met.rows(
        "select i.install_id, i.customer_id from enerflo.installs i join enerflo.appointments a"
        " using (account, customer_id) where a.deleted_at is null order by 1 limit 1"
    )[0]
    report = run_rebuild(met, where=f"install_id = {install_id}", tables=[RebuildTable.APPOINTMENTS])
    assert counts(report) == {"appointments": (0, 1, 0)}
    sound = met.rows(
        "select customer_id from enerflo.appointments where status <> 'Nonsense' and deleted_at is null"
    )
    assert sound == [(customer,)]


def test_a_version_that_cannot_be_read_is_put_aside_and_the_next_poll_reads_the_record(met: Inbox) -> None:
    damage(
        met,
        "update enerflo.appointment_versions set raw = jsonb_set(raw, '{length_minutes}', '\"long\"')"
        " where appointment_id = :i",
        i=FIRST_ID,
    )
    damage(met, "update enerflo.appointments set status = 'Nonsense' where appointment_id = :i", i=FIRST_ID)
    report = run_rebuild(met)
    assert [(one.table_name, one.reason, one.records) for one in report.unreadable] == [
        ("appointments", "expected_whole_number at length_minutes", 1)
    ]
    met.company.poll(ROWS)
    assert (
        met.one("select status from enerflo.appointments where appointment_id = :i", i=FIRST_ID)
        == "scheduled"
    )
    assert met.rows("select state from sync.quarantine") == [("replayed",)]


def test_a_declared_column_is_filled_from_the_versions_and_is_no_new_look(met: Inbox) -> None:
    kind = DeclaredColumn("appointments", "kind", ("appointment_type", "id"), "integer", 100)
    with met.warehouse.begin() as connection:
        assert declare(connection, met.account, [kind]).to_fill == [kind]
    before = snapshot(met, ("raw_hash",))["appointments"]
    report = run_rebuild(met, tables=[RebuildTable.APPOINTMENTS], fills=True)
    assert counts(report) == {"appointments": (0, 6, 0)}
    assert met.rows("select distinct kind from enerflo.appointments") == [(3,)]
    assert snapshot(met, ("raw_hash",))["appointments"] == before


def test_the_catalogue_tells_every_path_of_them(met: Inbox) -> None:
    config = load_config(shipped("sync.yaml"), {})
    with met.warehouse.connect() as connection:
        found = read_catalogue(connection, met.account, config, "appointments", met.clock.now())
    assert (found.records, found.versions, found.unreadable, found.resource) == (5, 8, 0, "appointments")
    columns = {one.path: list(one.columns) for one in found.fields}
    assert columns["scheduled_start_time.date"] == ["starts_at"]
    assert columns["customer_id"] == ["customer_id"]


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
