"""Appointments are a kind that a CRM table can be of, by their declaration alone: compared, planned, explained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from enerflo_sandbox.appointments import FIRST_ID, event
from enerflo_sandbox.state import AppointmentState
from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk, desk_on

TEN = datetime(2026, 3, 5, 10, tzinfo=UTC)
QUICK = ("in_flight_minutes: 30", "in_flight_minutes: 0")
READ = ("customers, change_orders]", "customers, change_orders, appointments]")
END = "      adders: {enerflo: adders, type: json, source_of_truth: enerflo}\n"
VISITS = """
  visits:
    of: appointments
    crm_table: crm.visits
    key: {visit: appointment_id}
    updated_at: updated_at
    delete_in: [crm]
    fields:
      customer: {enerflo: customer_id, type: integer, source_of_truth: enerflo}
      begins: {enerflo: starts_at, type: timestamp, source_of_truth: newest}
"""


@pytest.fixture
def account(postgres_url: str, polled_warehouse: str, tmp_path: Path) -> Iterator[Desk]:
    """An account with two appointments, which the CRM keeps in a table of its own that is empty."""
    with desk_on(postgres_url, polled_warehouse, tmp_path) as found:
        found.configured(READ, QUICK, (END, END + VISITS))
        found.sql(
            "create table crm.visits"
            " (visit bigint primary key, customer bigint, begins timestamptz, updated_at timestamptz)"
        )
        customers = [row.customer_id for row in found.world.truth.customers()]
        for day, customer in enumerate(customers[:2]):
            start = int((TEN + timedelta(days=day)).timestamp())
            made = AppointmentState(FIRST_ID + day, customer, 3, start, start + 3600)
            found.world.appointments.append(made)
        run_poll(found.context)
        yield found


def visits(desk: Desk) -> dict[int, datetime]:
    return {row["visit"]: row["begins"] for row in desk.sql("select visit, begins from crm.visits")}


def writing(desk: Desk) -> None:
    desk.switched_on("crm", READ, QUICK, (END, END + VISITS))


def test_they_are_compared_planned_written_and_explained(account: Desk) -> None:
    first, second = account.world.appointments
    account.sql(
        "insert into crm.visits values (:v, :c, :b, '2020-01-01'), (1, null, :b, '2020-01-01')",
        v=first.appointment_id, c=first.customer_id, b=TEN - timedelta(hours=1),
    )  # fmt: skip
    report = run_reconcile(account.context)
    (table,) = [one for one in report.tables if one.table_name == "visits"]
    assert (table.enerflo_rows, table.crm_rows, table.matched, table.differing_rows) == (2, 2, 1, 1)
    assert table.mirror_as_of is not None
    assert table.by_cause == {"missing_in_crm": 1, "missing_in_enerflo": 1, "unexplained": 1}

    writing(account)
    plan = run_plan(account.context)[-1]
    made = [(one.op, one.field, one.direction) for one in account.changes(plan, table_name="visits")]
    assert made == [
        ("insert", "begins", "to_crm"), ("insert", "customer", "to_crm"), ("update", "begins", "to_crm"),
    ]  # fmt: skip
    (left,) = [one for one in account.undecided(plan) if one.table_name == "visits"]
    assert (left.key, left.reason) == ({"visit": 1}, "the mirror of Enerflo has no record of this id")
    run_apply(account.context, plan.plan_hash, approved_by="Pat")
    assert visits(account) == {
        first.appointment_id: TEN, second.appointment_id: TEN + timedelta(days=1), 1: TEN - timedelta(hours=1)
    }  # fmt: skip

    # By the table's name, and by the kind of which it is the only table.
    for name in ("visit", "visits", "appointment"):
        found = run_explain(account.context, name, str(first.appointment_id))
        assert (found.table_name, found.in_enerflo, found.crm_rows) == ("visits", True, 1)
    (begins,) = [one for one in found.fields if one.field == "begins"]
    (step,) = begins.steps
    assert (step.old_value, step.decision, step.decided_by) == ("2026-03-05T09:00:00+00:00", "applied", "Pat")
    assert not account.world.received


def test_an_edit_of_the_crm_is_a_question_since_no_call_sets_it(account: Desk) -> None:
    writing(account)
    account.carried()
    first = account.world.appointments[0]
    account.sql(
        "update crm.visits set begins = begins + interval '1 hour', updated_at = now() where visit = :v",
        v=first.appointment_id,
    )
    plan = run_plan(account.context)[-1]
    assert not account.changes(plan, table_name="visits")
    (left,) = account.undecided(plan)
    assert (
        left.reason == "no call of Enerflo's API sets it: change it there by hand, or declare the other side"
    )


def test_what_a_webhook_told_and_what_is_gone_reach_the_crm(account: Desk) -> None:
    writing(account)
    account.carried()
    first, second = account.world.appointments
    later = TEN + timedelta(hours=2)
    account.world.appointments[0] = replace(
        first, start=int(later.timestamp()), end=int(later.timestamp()) + 60
    )
    body = event("update_appointment", account.world.appointments[0])
    (Path(account.environ["WEBHOOK_DROP_URI"]) / "a.json").write_bytes(msgspec.json.encode(body))
    run_ingest(account.context)
    account.carried()
    assert visits(account)[first.appointment_id] == later
    found = run_explain(account.context, "visit", str(first.appointment_id), field="begins")
    evidence = found.fields[0].steps[-1].evidence
    assert evidence is not None
    assert (evidence.observed_by, evidence.event) == ("webhook", "update_appointment")
    # Two complete walks that do not name it are the evidence that it is gone.
    del account.world.appointments[1]
    for _ in range(2):
        run_poll(account.context, accept_shrink=True)
    account.carried()
    assert list(visits(account)) == [first.appointment_id]
    assert account.ledger(table_name="visits", op="delete")[0]["key"] == {"visit": second.appointment_id}


def test_the_doctor_says_where_no_poll_reads_them(account: Desk) -> None:
    def found() -> list[str]:
        with account.engine.connect() as connection:
            findings = check_mapping(
                connection, account.context.config, "default", account.folder / "sync.yaml"
            )
        return [one.found for one in findings if one.what == "tables.visits" and one.severity == "warning"]

    assert found() == []
    account.configured((END, END + VISITS))
    assert found() == ["a table of appointments, which no poll reads"]
