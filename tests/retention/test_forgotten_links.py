"""Forgetting and rows: links stay, a later owner keeps their name, faults of two records are two items."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.forget import run_forget
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.mirror.batch import Observation
from enerflo_sync.mirror.intake import Intake
from enerflo_sync.resources.installs import INSTALLS
from tests.writes.conftest import Desk


def raw_of(desk: Desk, install: int) -> dict[str, Any]:
    query = (
        "select raw from enerflo.install_versions where install_id = :i order by first_seen_at desc limit 1"
    )
    raw: dict[str, Any] = desk.one(query, i=install)
    return raw


def taken(desk: Desk, *records: dict[str, Any]) -> None:
    with desk.engine.begin() as connection:
        seen = Observation("default", connection.scalar(sa.text("select now()")), "poll", "poll:x")  # type: ignore[arg-type]
        Intake(INSTALLS).take(connection, [msgspec.json.encode(one) for one in records], seen)


def test_a_note_that_was_erased_in_the_crm_is_not_created_again_after_its_customer_was_forgotten(
    agreed: Desk,
) -> None:
    desk = agreed
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    state = desk.a_site()
    note = desk.world.add_note(state.install_id, "Call before noon")
    run_poll(desk.context)
    desk.carried()
    count = "select count(*) from crm.notes where enerflo_note_id = :n"
    assert desk.one(count, n=note) == 1
    desk.sql("delete from crm.notes where enerflo_note_id = :n", n=note)
    run_forget(desk.context, state.customer_id, by="Pat", write=True)
    for plan in run_plan(desk.context):
        if not plan.needs_approval:
            run_apply(desk.context, plan.plan_hash)
    assert desk.one(count, n=note) == 0


def test_the_next_owner_of_a_forgotten_customers_install_keeps_their_name(agreed: Desk) -> None:
    desk = agreed
    state = desk.a_site()
    raw = raw_of(desk, state.install_id)
    run_forget(desk.context, state.customer_id, by="Pat", write=True)
    owner = {"id": 4_711, "first_name": "New", "last_name": "Owner", "name": "New Owner"}
    new = {**raw, "customer": {**raw["customer"], **owner}}
    if "customer_id" in new:
        new["customer_id"] = 4_711
    taken(desk, new)
    query = "select customer_id, customer_name from enerflo.installs where install_id = :i"
    (row,) = desk.sql(query, i=state.install_id)
    assert (row["customer_id"], bool(row["customer_name"])) == (4_711, True)


def test_two_forgotten_records_with_one_fault_are_two_items(agreed: Desk) -> None:
    desk = agreed
    first, second = [desk.world.installs.get(one) for one in desk.world.installs.live()][:2]
    assert first.customer_id != second.customer_id
    raws = []
    for state in (first, second):
        run_forget(desk.context, state.customer_id, by="Pat", write=True)
        raws.append({**raw_of(desk, state.install_id), "created_at": "nonsense"})
    taken(desk, *raws)
    query = "select count(*) from sync.quarantine where table_name = 'installs' and state = 'open'"
    assert desk.one(query) == 2
