"""CRM rows that are a record of Enerflo without saying so: each takes one record, and each record one row."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.near_adopted import NEAR_RECORD, NOT_ONE_TO_ONE
from enerflo_sync.reconcile.near_keys import OTHER_SPELLING
from tests.writes.conftest import Desk


def crm_note(desk: Desk, key: str, install_id: int, **columns: Any) -> None:
    desk.sql(
        "insert into crm.notes (note_id, enerflo_install_id, enerflo_note_id, body, updated_at)"
        " values (:k, :i, :n, :b, now())",
        **{"k": key, "i": install_id, "n": None, "b": "Call first", **columns},
    )


@pytest.mark.parametrize("since", ["the record is taken", "the row was edited", "nothing"])
def test_what_happened_to_a_row_since_the_plan_is_looked_at_before_it_takes_its_record(
    agreed: Desk, since: str
) -> None:
    install_id = agreed.a_site().install_id
    note_id = agreed.world.add_note(install_id, "Call first")
    crm_note(agreed, "A", install_id)
    run_poll(agreed.context)
    plan = agreed.plan()
    (change,) = agreed.changes(plan, table_name="notes")
    assert (change.field, change.rule) == ("enerflo_note_id", "adopted")
    if since == "the record is taken":
        crm_note(agreed, "B", install_id, n=note_id)
    elif since == "the row was edited":
        agreed.sql("update crm.notes set body = 'Do not call' where note_id = 'A'")
    report = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    taken = agreed.crm("notes", note_id="A")["enerflo_note_id"]
    assert (report.moved, taken) == ((0, note_id) if since == "nothing" else (1, None))


def test_notes_that_are_alike_in_two_ways_take_one_record_each(agreed: Desk) -> None:
    install_id = agreed.a_site().install_id
    short = agreed.world.add_note(install_id, "Call first")
    signed = agreed.world.add_note(install_id, "Call first\n\nAnn (CRM)")
    # The second row is like both: by its text, and by its text with the author, as it would be sent.
    for key, author, body in (("A", None, "Call first\n\nAnn (CRM)"), ("B", "Ann", "Call first")):
        agreed.sql(
            "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
            " values (:k, :i, :a, :b, now())",
            k=key,
            i=install_id,
            a=author,
            b=body,
        )
    run_poll(agreed.context)
    changes = agreed.changes(agreed.plan(), table_name="notes")
    assert [(one.key, one.field, one.after) for one in changes] == [
        ({"note_id": "A"}, "enerflo_note_id", signed),
        ({"note_id": "B"}, "enerflo_note_id", short),
    ]
    agreed.carried()
    agreed.settled()


LEAD = {
    **{"first_name": "Jane", "last_name": "Doe", "email": "jane@example.com", "mobile": "5125550100"},
    **{"address": "12 Main St", "city": "Boston", "state": "MA", "zip": "02139"},
}


def crm_lead(desk: Desk, key: str, status: str) -> None:
    desk.sql(
        f"insert into crm.leads (lead_id, status, updated_at, {', '.join(LEAD)})"
        f" values (:lead_id, :status, now(), {', '.join(f':{name}' for name in LEAD)})",
        lead_id=key,
        status=status,
        **LEAD,
    )


@pytest.mark.parametrize("status", ["new", "qualified"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("L-700", "l-700"),
        ("L-700", " L-700 "),
        ("700", "00700"),
        ("00Q5e000001AbCd", "00Q5e000001AbCdEAV"),
        ("00Q5e000001AbCdEAV", "00Q5e000001AbCd"),
    ],
)
def test_a_lead_whose_key_enerflo_spells_otherwise_is_made_on_neither_side(
    agreed: Desk, theirs: str, ours: str, status: str
) -> None:
    agreed.world.add_lead({**LEAD}, theirs)
    crm_lead(agreed, ours, status)
    run_poll(agreed.context)
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="leads") == []
    asked = {one.reason for one in agreed.undecided(plan) if one.table_name == "leads"}
    assert asked == {OTHER_SPELLING, *([NEAR_RECORD] if status == "qualified" else [])}


@pytest.mark.parametrize("status", ["new", "qualified"])
def test_a_key_that_two_customers_have_links_the_lead_to_neither(agreed: Desk, status: str) -> None:
    agreed.world.add_lead({**LEAD}, "L-700")
    other = agreed.world.add_lead({**LEAD, "email": "bob@example.com"}, "L-701")
    agreed.world.edit_customer(other, {"external_id": "L-700"})
    crm_lead(agreed, "L-700", status)
    run_poll(agreed.context)
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="leads") == []
    asked = [one.reason for one in agreed.undecided(plan) if one.table_name == "leads"]
    assert asked == [NOT_ONE_TO_ONE] * (2 if status == "new" else 3)


def test_a_key_that_two_rows_have_links_neither_to_the_customer(agreed: Desk) -> None:
    agreed.switched_on(
        "both", ("adopt: {lead_id: integration_record_id}", "adopt: {email: integration_record_id}")
    )
    agreed.world.add_lead({**LEAD}, "jane@example.com")
    for key in ("A", "B"):
        crm_lead(agreed, key, "new")
    run_poll(agreed.context)
    plan = agreed.plan()
    assert agreed.changes(plan, table_name="leads") == []
    (asked,) = [one.reason for one in agreed.undecided(plan) if one.table_name == "leads"]
    assert asked == NOT_ONE_TO_ONE
