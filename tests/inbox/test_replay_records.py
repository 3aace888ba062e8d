"""Replay of records: read again from Enerflo, each once."""

from __future__ import annotations

import pytest

from enerflo_sandbox.bad_records import BadKind
from enerflo_sync.inbox.replay_report import ReplayOutcome
from enerflo_sync.resources.change_orders import change_orders_resource
from enerflo_sync.resources.customers import CUSTOMERS
from enerflo_sync.resources.notes import NOTES
from tests.inbox.conftest import Inbox
from tests.inbox.replaying import (
    Again,
    add_to_quarantine,
    first_install,
    items,
)


def test_a_record_that_was_mended_is_read_and_closed(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    assert again.one()[0] == ReplayOutcome.STILL_FAILING
    assert [state for _, _, state, _ in items(polled)] == ["open"]
    polled.world.mend(victim)
    assert again.one() == (ReplayOutcome.REPLAYED, f"installs/{victim} was read again")
    assert [(state, by) for _, _, state, by in items(polled)] == [("replayed", "ann")]
    polled.company.assert_mirror_is_true()


def test_a_record_that_fails_otherwise_now_stands_under_that_alone(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.world.mend(victim)
    polled.world.plant_bad(victim, BadKind.WRONG_TYPES)
    assert again.one() == (ReplayOutcome.STILL_FAILING, "expected_text at status_name")
    assert [(reason, state) for _, reason, state, _ in items(polled)] == [
        ("not_a_time at created_at", "replayed"),
        ("expected_text at status_name", "open"),
    ]


def test_several_items_of_one_record_are_served_by_one_read(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    for kind in (BadKind.ABSURD_DATE, BadKind.WRONG_TYPES):
        polled.world.plant_bad(victim, kind)
        polled.company.poll()
        polled.world.mend(victim)
    before = polled.asked(f"/api/v3/installs/{victim}")
    assert again().counts == {"replayed": 2}
    assert polled.asked(f"/api/v3/installs/{victim}") == before + 1


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_record_that_enerflo_no_longer_has_is_said_to_be_gone_and_closed(
    polled: Inbox, again: Again, mirrored: bool
) -> None:
    victim = first_install(polled) if mirrored else polled.world.create_install()
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.world.delete_install(victim)
    outcome, detail = again.one()
    assert (outcome, detail) == (
        ReplayOutcome.NOT_FOUND,
        f"Enerflo has no installs/{victim} any more; the item is closed",
    )
    assert [state for _, _, state, _ in items(polled)] == ["replayed"]
    gone = polled.rows("select deleted_at is not null from enerflo.installs where install_id = :i", i=victim)
    assert gone == ([(True,)] if mirrored else [])


def test_a_record_without_an_id_cannot_be_asked_for(polled: Inbox, again: Again) -> None:
    polled.world.plant_bad(first_install(polled), BadKind.MISSING_ID)
    polled.company.poll()
    assert again.one() == (
        ReplayOutcome.NOT_REPLAYABLE,
        "it has no id, so there is nothing to ask Enerflo for",
    )


def test_records_wait_while_enerflo_does_not_answer(polled: Inbox, again: Again) -> None:
    victim = first_install(polled)
    polled.world.plant_bad(victim, BadKind.ABSURD_DATE)
    polled.company.poll()
    polled.fault(f"503@/api/v3/installs/{victim}#1-99")
    assert again.one()[0] == ReplayOutcome.WAITING
    assert polled.rows("select state from sync.runs where job = 'replay'") == [("partial",)]
    assert [state for _, _, state, _ in items(polled)] == ["open"]


def test_a_note_is_read_through_its_install(polled: Inbox, again: Again) -> None:
    note = next(polled.world.truth.notes(deleted=False))
    add_to_quarantine(
        polled, NOTES, {"note_id": note.note_id, "epc_install_id": note.install_id, "created_at": "soon"}
    )
    assert again.one() == (ReplayOutcome.REPLAYED, f"notes/{note.note_id} was read again")


def test_a_note_that_its_install_does_not_list_is_not_found_and_stays_open(
    polled: Inbox, again: Again
) -> None:
    add_to_quarantine(
        polled, NOTES, {"note_id": 987654, "epc_install_id": first_install(polled), "created_at": "soon"}
    )
    assert again.one() == (ReplayOutcome.NOT_FOUND, "Enerflo's answer does not list it")
    assert [state for _, _, state, _ in items(polled)] == ["open"]


def test_a_customer_is_found_by_what_its_record_said(polled: Inbox, again: Again) -> None:
    customer = next(one for one in polled.world.truth.customers() if one.email)
    record = {"id": customer.customer_id, "email": customer.email, "created": "soon"}
    add_to_quarantine(polled, CUSTOMERS, record)
    assert again.one() == (ReplayOutcome.REPLAYED, f"customers/{customer.customer_id} was read again")


def test_a_change_order_is_read_by_its_id(polled: Inbox, again: Again) -> None:
    order = next(polled.world.truth.change_orders())
    record = {"id": order.change_order_id, "epc_install_id": order.install_id, "signed_at": "soon"}
    add_to_quarantine(polled, change_orders_resource(), record)
    assert again.one() == (ReplayOutcome.REPLAYED, f"change_orders/{order.change_order_id} was read again")
