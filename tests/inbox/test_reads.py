"""What becomes of an event whose answer is not wholly the record that was asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enerflo_sandbox.bad_records import HOPELESS, BadKind
from enerflo_sandbox.exchange import Response
from tests.inbox.conftest import Inbox, answering, update_install
from tests.inbox.replaying import Again
from tests.refusing import refuse

HEAD = {"content-type": "application/json"}


def answer(inbox: Inbox, path: str, said: Any, status: int = 200) -> None:
    answering(inbox, path, Response(status, HEAD, json.dumps(said).encode()))


def items(inbox: Inbox) -> list[tuple[Any, ...]]:
    return inbox.rows("select kind, reason, state from sync.quarantine order by 1, 2")


@pytest.mark.parametrize("kind", HOPELESS)
def test_a_record_with_bad_values_takes_its_event_to_quarantine_until_it_is_replayed(
    inbox: Inbox, kind: BadKind
) -> None:
    one = inbox.world.install_id(0)
    inbox.world.plant_bad(one, kind)
    inbox.drop(update_install(one))
    inbox.drop({"webhook_event": "new_install_note", "epc_install_id": one})
    report = inbox.ingest()
    assert report.state == "partial"
    states = dict(inbox.rows("select event, state from sync.webhook_events"))  # type: ignore[arg-type]
    assert states == {"update_install": "quarantined", "new_install_note": "applied"}
    ((first, reason, _), (second, same, _)) = items(inbox)
    assert (first, second, reason) == ("event", "record", same)
    inbox.world.mend(one)
    inbox.later()
    Again(inbox)()
    assert inbox.states() == {"applied": 2}
    assert {state for _, _, state in items(inbox)} == {"replayed"}
    assert inbox.install(one, "install_id") == (one,)


def test_a_deal_whose_install_has_bad_values_keeps_its_design_for_the_replay(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    inbox.world.plant_bad(one, BadKind.WRONG_TYPES)
    deal = {"id": inbox.world.installs.get(0).deal_id}
    inbox.drop({"event": "deal.projectSubmitted", "payload": {"deal": deal}})
    inbox.drop(update_install(one))
    inbox.ingest()
    assert inbox.states() == {"quarantined": 2}
    assert inbox.one("select count(*) from enerflo.submissions") == 0
    inbox.world.mend(one)
    inbox.later()
    Again(inbox)()
    assert inbox.states() == {"applied": 2}
    assert inbox.one("select count(*) from enerflo.submissions") == 1


def test_the_reason_of_another_id_is_told(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    answering(inbox, f"/api/v3/installs/{one}", Response(200, HEAD, inbox.world.rendered(1)))
    inbox.drop(update_install(one))
    inbox.ingest()
    assert items(inbox) == [("event", "not_readable: another_id at installs", "open")]
    assert inbox.one("select count(*) from enerflo.installs") == 0


BAD_NOTE = {"note_id": "x", "note": "bad"}


@pytest.mark.parametrize("body", [{"webhook_event": "new_install_note"}, {"webhook_event": "update_install"}])
def test_one_bad_note_of_several_goes_to_quarantine_alone(inbox: Inbox, body: dict[str, Any]) -> None:
    one = inbox.world.install_id(0)
    good = {"note_id": 5, "id": one, "note": "good", "created_at": "2026-01-01 00:00:00"}
    answer(inbox, f"/api/v3/installs/{one}/notes", {"notes": [BAD_NOTE, good, {**good, "note_id": 6}]})
    inbox.drop({**body, "id": one})
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert items(inbox) == [("record", "id_not_a_whole_number at note_id", "open")]
    assert inbox.rows("select note_id from enerflo.notes order by 1") == [(5,), (6,)]


def test_one_bad_order_of_a_payload_goes_to_quarantine_alone(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    answer(inbox, f"/api/v3/installs/{one}/change-order-data", {}, 404)
    orders = [{"id": "x"}, {"id": -5}, {"id": 987_654, "status": "complete"}]
    inbox.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": orders})
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert inbox.rows("select change_order_id from enerflo.change_orders") == [(987_654,)]
    assert {(kind, reason) for kind, reason, _ in items(inbox)} == {("record", "id_not_a_whole_number at id")}


LACKING = [{"notes": [], "totalPages": 2}, {"data": [], "total": "3"}]


@pytest.mark.parametrize("said", [{"success": False}, "no", {"message": "?"}, *LACKING])
def test_where_the_notes_of_one_install_are_lastingly_refused_all_are_walked(inbox: Inbox, said: Any) -> None:
    one = inbox.world.install_id(0)
    inbox.later(1)
    note = inbox.world.add_note(one, "new")
    answer(inbox, f"/api/v3/installs/{one}/notes", said)
    inbox.drop({"webhook_event": "new_install_note", "id": one})
    inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert (note, "new") in inbox.rows("select note_id, body from enerflo.notes")


def test_a_note_whose_event_comes_hours_late_is_read_where_notes_are_walked(polled: Inbox) -> None:
    """Made after the last poll, and long before its event arrived."""
    one = polled.world.install_id(0)
    note = polled.world.add_note(one, "new")
    answer(polled, f"/api/v3/installs/{one}/notes", {}, 404)
    polled.later(180)
    polled.drop({"webhook_event": "new_install_note", "id": one})
    polled.ingest()
    assert polled.states() == {"applied": 1}
    assert (note, "new") in polled.rows("select note_id, body from enerflo.notes")


def test_a_signed_order_of_an_install_that_nobody_knows_is_not_stored_before_it(inbox: Inbox) -> None:
    orders = [{"id": 987_654, "status": "complete", "change_values": {}}]
    inbox.drop({"webhook_event": "signed_change_order", "id": 999_999_999, "change_orders": orders})
    inbox.ingest()
    assert inbox.states() == {"received": 1}
    assert inbox.one("select count(*) from enerflo.change_orders") == 0
    assert inbox.one("select attempts from sync.webhook_events") == 1


def test_an_event_that_is_quarantined_is_asked_nothing_more(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    answer(inbox, f"/api/v3/installs/{one}", {"id": None})
    inbox.drop({"webhook_event": "signed_change_order", "id": one, "change_orders": []})
    report = inbox.ingest()
    assert inbox.states() == {"quarantined": 1}
    assert inbox.asked(f"/api/v3/installs/{one}/change-order-data") == 0
    assert report.quarantined == 1


def test_a_note_that_the_warehouse_refuses_is_put_aside_alone(inbox: Inbox) -> None:
    one = inbox.world.install_id(0)
    refuse(inbox.warehouse, "notes", "note_id", 6)
    notes = [{"note_id": n, "id": one, "note": "x", "created_at": "2026-01-01 00:00:00"} for n in (5, 6, 7)]
    answer(inbox, f"/api/v3/installs/{one}/notes", {"notes": notes})
    inbox.drop(update_install(one))
    report = inbox.ingest()
    assert inbox.states() == {"applied": 1}
    assert inbox.rows("select note_id from enerflo.notes order by 1") == [(5,), (7,)]
    assert items(inbox) == [("record", "refused_by_the_warehouse", "open")]
    assert inbox.install(one, "install_id") == (one,)
    assert "waiting, the next run's work" not in report.reasons.get("notice", {})


def test_an_install_that_the_warehouse_refuses_takes_its_event_along(inbox: Inbox) -> None:
    one, two = inbox.world.install_id(0), inbox.world.install_id(1)
    refuse(inbox.warehouse, "installs", "install_id", one)
    inbox.drop(update_install(one))
    inbox.drop(update_install(two))
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1, "applied": 1}
    assert [(kind, reason) for kind, reason, _ in items(inbox)] == [
        ("event", "refused_by_the_warehouse"),
        ("record", "refused_by_the_warehouse"),
    ]


def test_a_design_that_the_warehouse_refuses_takes_its_event_along_and_no_other(inbox: Inbox) -> None:
    deals = [inbox.world.installs.get(at).deal_id for at in (0, 1)]
    refuse(inbox.warehouse, "submissions", "deal_id", f"'{deals[0]}'")
    for deal in deals:
        inbox.drop({"event": "deal.projectSubmitted", "payload": {"deal": {"id": deal}}})
    inbox.ingest()
    assert inbox.states() == {"quarantined": 1, "applied": 1}
    assert items(inbox) == [("event", "refused_by_the_warehouse at payload.design", "open")]
    assert inbox.rows("select deal_id from enerflo.submissions") == [(deals[1],)]


def test_a_list_of_notes_that_is_not_read_whole_applies_no_event(polled: Inbox) -> None:
    """A server that ignores the page number, and says nothing of how many there are."""
    one = polled.world.install_id(0)
    answering(polled, f"/api/v3/installs/{one}/notes", Response(404, {}, b"{}"))
    rows = [{"note_id": 900_000 + number, "id": one, "note": "again"} for number in range(100)]
    body = json.dumps({"success": True, "notes": rows}).encode()
    answering(polled, "/api/v3/installs/notes", Response(200, {"content-type": "application/json"}, body))
    polled.drop({"webhook_event": "new_install_note", "id": one})
    assert polled.ingest().state == "partial"
    assert polled.states() == {"received": 1}
