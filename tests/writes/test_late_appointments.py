"""The appointment of a lead that could not be made with it: later plans have it until it is made, once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from enerflo_sandbox.faults import FaultKind, Faults, ScriptedFault
from enerflo_sync.enerflo.appointments import read_appointments
from enerflo_sync.errors import RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.retry import run_retry
from enerflo_sync.plan.retry import RetrySelection
from tests.writes.conftest import Desk

APPOINTMENT = ("  # appointment: {type: 1", "  appointment: {type: 1")


@pytest.fixture
def scheduling(desk: Desk) -> Desk:
    desk.sql("alter table crm.leads add column if not exists appointment_at timestamptz")
    desk.switched_on("both", APPOINTMENT)
    desk.carried()
    return desk


def lead(desk: Desk, number: str) -> None:
    desk.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at, appointment_at) values (:l, 'Ann', 'Lee', '5125550123', '1 Main St', 'Austin', 'TX',"
        " '78701', 'qualified', now(), now() + interval '3 days')",
        l=number,
    )


def faulty(desk: Desk, kind: str, path: str, method: str, last: int = 99) -> None:
    assert desk.api is not None
    desk.api.faults = Faults(script=[ScriptedFault(FaultKind(kind), path, 1, last, method)])


def a_round(desk: Desk) -> Any:
    run_poll(desk.context)
    return run_apply(desk.context, desk.plan().plan_hash, approved_by="Pat")


def test_one_that_waits_when_a_later_plan_is_made_is_made_by_it(
    scheduling: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = scheduling
    monkeypatch.setattr("enerflo_sync.apply.enerflo.push_run.PushRun.pause", lambda *_: None)
    lead(desk, "L-1")
    faulty(desk, "503", "/api/v1/appointments", "POST")
    report = a_round(desk)
    assert (report.applied, report.waiting) == (7, 1)
    desk.api.faults = Faults()  # type: ignore[union-attr]
    desk.sql("update crm.leads set email = 'ann.lee@x.example', updated_at = now() where lead_id = 'L-1'")
    report = a_round(desk)
    assert (report.moved, report.parked, report.waiting) == (0, 0, 0)
    assert len(desk.world.appointments) == 1
    run_poll(desk.context)
    desk.settled()
    assert len(desk.world.appointments) == 1


def test_one_is_made_where_enerflo_spells_the_key_of_its_lead_otherwise(
    scheduling: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = scheduling
    monkeypatch.setattr("enerflo_sync.apply.enerflo.push_run.PushRun.pause", lambda *_: None)
    lead(desk, "L-1")
    faulty(desk, "503", "/api/v1/appointments", "POST")
    assert a_round(desk).waiting == 1
    desk.api.faults = Faults()  # type: ignore[union-attr]
    customer = desk.one("select enerflo_customer_id from crm.leads where lead_id = 'L-1'")
    desk.world.edit_customer(customer, {"external_id": "l-1"})
    a_round(desk)
    assert len(desk.world.appointments) == 1


def test_one_that_was_parked_is_a_question_until_a_person_wants_it_tried_again(scheduling: Desk) -> None:
    desk = scheduling
    lead(desk, "L-1")
    faulty(desk, "403", "/api/v1/appointments", "POST")
    assert a_round(desk).parked == 1
    assert desk.api is not None
    desk.api.faults = Faults()
    plan = desk.plan()
    assert plan.change_count == 0
    assert [one.key for one in desk.undecided(plan)] == [{"lead_id": "L-1"}]
    run_retry(desk.context, RetrySelection(everything=True), by="Sam Hill")
    assert a_round(desk).applied == 1
    assert len(desk.world.appointments) == 1
    desk.settled()


def test_one_whose_time_was_changed_or_taken_away_meanwhile_is_made_as_the_crm_says_now(
    scheduling: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = scheduling
    monkeypatch.setattr("enerflo_sync.apply.enerflo.push_run.PushRun.pause", lambda *_: None)
    for number in ("L-1", "L-2"):
        lead(desk, number)
    faulty(desk, "503", "/api/v1/appointments", "POST")
    assert a_round(desk).waiting == 2
    assert desk.api is not None
    desk.api.faults = Faults()
    desk.sql("update crm.leads set appointment_at = null where lead_id = 'L-1'")
    desk.sql("update crm.leads set appointment_at = '2027-03-05T10:00Z' where lead_id = 'L-2'")
    a_round(desk)
    assert [one.start for one in desk.world.appointments] == [
        int(datetime(2027, 3, 5, 10, tzinfo=UTC).timestamp())
    ]
    desk.settled()


def test_one_that_was_accepted_and_moved_there_since_is_not_made_again_by_a_later_plan(
    scheduling: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = scheduling
    lead(desk, "L-1")

    def lost(*args: Any) -> Any:
        if desk.world.appointments:
            raise RetriableError("Enerflo does not answer.")
        return read_appointments(*args)

    with monkeypatch.context() as patched:
        patched.setattr("enerflo_sync.apply.enerflo.appointments.read_appointments", lost)
        assert a_round(desk).waiting == 1
    (made,) = desk.world.appointments
    desk.world.appointments[:] = [replace(made, start=made.start + 86_400, end=made.end + 86_400)]
    assert a_round(desk).parked == 1
    assert desk.plan().change_count == 0
    assert len(desk.world.appointments) == 1


def test_none_is_made_for_another_lead_that_an_import_gave_the_key(
    scheduling: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = scheduling
    monkeypatch.setattr("enerflo_sync.apply.enerflo.push_run.PushRun.pause", lambda *_: None)
    lead(desk, "L-2")
    desk.sql(
        "update crm.leads set first_name = 'Bob', mobile = '5125550199', appointment_at = null where lead_id = 'L-2'"
    )
    a_round(desk)
    # Who was delivered without an appointment gets none.
    desk.sql("update crm.leads set appointment_at = now() + interval '9 days' where lead_id = 'L-2'")
    lead(desk, "L-1")
    faulty(desk, "503", "/api/v1/appointments", "POST")
    assert a_round(desk).waiting == 1
    assert desk.api is not None
    desk.api.faults = Faults()
    for before, after in (("L-1", "new"), ("L-2", "L-1"), ("new", "L-2")):
        desk.sql("update crm.leads set lead_id = :a where lead_id = :b", a=after, b=before)
    assert desk.plan().change_count == 0
    assert desk.world.appointments == []
