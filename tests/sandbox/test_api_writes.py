from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from enerflo_sandbox.changes import ChangeKind, Origin
from enerflo_sandbox.world import World

from .conftest import Ask, body_of

LEAD = {
    "first_name": "Jane",
    "last_name": "Doe",
    "address": "123 Main",
    "city": "Austin",
    "state": "TX",
    "zip": "02139",
    "email": "jane@example.com",
    "integration_record_id": "Account.abc",
}
ADD = "/api/v1/partner/action/lead/add"


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_status_is_set_with_or_without_a_trailing_slash(ask: Ask, world: World, slash: str) -> None:
    row = next(row for row in world.truth.installs() if row.status_id != 4)
    answer = body_of(ask("PUT", f"/api/v3/installs/{row.install_id}{slash}", {"status_id": 4}))
    assert (answer["status_id"], answer["status_name"]) == (4, "On Hold")
    after = world.truth.install(row.install_id)
    assert after is not None
    assert after.status_name == "On Hold"
    (change,) = world.changes
    assert (change.kind, change.origin) == (ChangeKind.STATUS_CHANGED, Origin.API)


@pytest.mark.parametrize("body", [{"status_id": 5555}, {"status_id": "On Hold"}, {"status_id": True}, {}])
def test_a_status_that_the_company_does_not_have_gets_422(
    ask: Ask, world: World, body: dict[str, Any]
) -> None:
    row = next(world.truth.installs())
    answer = ask("PUT", f"/api/v3/installs/{row.install_id}", body)
    assert answer.status == 422
    assert "status_id" in json.loads(answer.body)["errors"]
    assert world.truth.install(row.install_id) == row


def test_milestone_dates_are_set_and_cleared(ask: Ask, world: World) -> None:
    row = next(world.truth.milestones())
    url = f"/api/v3/installs/{row.install_id}/milestones/{row.milestone_id}"
    body_of(ask("PUT", url, {"completed_at": "2025-02-03 04:05:06", "due_at": "2025-03-01T00:00:00+02:00"}))
    after = next(world.truth.milestones())
    assert after.completed_at == datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert after.due_at == datetime(2025, 2, 28, 22, tzinfo=UTC)
    assert after.started_at == row.started_at
    body_of(ask("PUT", url, {"completed_at": None}))
    assert next(world.truth.milestones()).completed_at is None


def test_milestone_writes_that_make_no_sense_are_refused(ask: Ask, world: World) -> None:
    row = next(world.truth.milestones())
    base = f"/api/v3/installs/{row.install_id}/milestones"
    assert ask("PUT", f"{base}/{row.milestone_id}", {"completed_at": "soon"}).status == 422
    assert ask("PUT", f"{base}/{row.milestone_id}", {}).status == 422
    assert ask("PUT", f"{base}/1", {"completed_at": None}).status == 404
    assert ask("PUT", f"/api/v3/installs/1/milestones/{row.milestone_id}", {"due_at": None}).status == 404


def test_every_repeat_of_a_note_adds_one_more(ask: Ask, world: World) -> None:
    row = next(world.truth.installs())
    before = world.truth.counts()["notes"]
    answers = [ask("POST", f"/api/v3/installs/{row.install_id}/notes", {"note": "Hello"}) for _ in range(2)]
    ids = [body_of(answer)["note"]["note_id"] for answer in answers]
    assert ids[0] < ids[1]
    assert world.truth.counts()["notes"] == before + 2
    assert ask("POST", f"/api/v3/installs/{row.install_id}/notes", {"content": "Hello"}).status == 422
    assert ask("POST", "/api/v3/installs/1/notes", {"note": "Hello"}).status == 404


def test_a_lead_is_made_once_per_integration_record_id(ask: Ask, world: World) -> None:
    before = world.truth.counts()["customers"]
    first = body_of(ask("POST", ADD, {"lead": LEAD}))
    again = body_of(ask("POST", ADD, {"lead": {**LEAD, "first_name": "Janet"}}))
    assert first["status"] == "success"
    assert (first["message"], again["message"]) == ("Lead Added", "Lead Updated")
    assert first["customer_id"] == again["customer_id"] == again["data"]["lead"]["id"]
    assert world.truth.counts()["customers"] == before + 1
    row = next(r for r in world.truth.customers() if r.customer_id == first["customer_id"])
    assert (row.first_name, row.zip, row.integration_record_id) == ("Janet", "02139", "Account.abc")
    assert body_of(ask("GET", "/api/v1/customers?search=Account.abc"))["dataCount"] == 1


def test_a_lead_that_the_company_had_from_the_start_is_updated(ask: Ask, world: World) -> None:
    row = next(row for row in world.truth.customers() if row.integration_record_id)
    lead = {**LEAD, "integration_record_id": row.integration_record_id}
    assert body_of(ask("POST", ADD, {"lead": lead}))["customer_id"] == row.customer_id


def test_create_deal_opens_one_deal_however_often_it_is_sent(ask: Ask, world: World) -> None:
    body = {"lead": {**LEAD, "createDeal": 1}}
    first, again = (body_of(ask("POST", ADD, body))["data"]["lead"]["deal"]["id"] for _ in range(2))
    assert first == again
    found = body_of(ask("GET", "/api/v1/customers?search=Account.abc"))["data"]
    assert len(found[0]["surveys"]) == 1
    assert ask("GET", f"/api/v3/installs/find/{first}").status == 404
    install_id = world.sign_deal(world.customers.by_key("Account.abc") or 0)
    assert body_of(ask("GET", f"/api/v3/installs/find/{first}"))["id"] == install_id


def test_a_lead_without_what_is_required_or_unwrapped_is_refused(ask: Ask, world: World) -> None:
    before = world.truth.counts()
    assert ask("POST", ADD, LEAD).status == 422
    incomplete = {name: value for name, value in LEAD.items() if name != "city"}
    answer = ask("POST", ADD, {"lead": incomplete})
    assert list(json.loads(answer.body)["errors"]) == ["lead.city"]
    assert world.truth.counts() == before


def test_a_customer_is_updated_unless_it_is_an_unconverted_lead(ask: Ask, world: World) -> None:
    install = next(world.truth.installs())
    changed = body_of(
        ask("PUT", f"/api/v3/customers/{install.customer_id}", {"city": "Bastrop", "assign_to_email": "x"})
    )
    assert changed["city"] == "Bastrop"
    lead_id = body_of(ask("POST", ADD, {"lead": LEAD}))["customer_id"]
    assert ask("PUT", f"/api/v3/customers/{lead_id}", {"city": "Bastrop"}).status == 403
    assert ask("PUT", f"/api/v3/customers/{install.customer_id}", {"city": 7}).status == 422
    assert body_of(ask("GET", f"/api/v3/customers/{lead_id}"))["city"] == "Austin"


def test_the_world_remembers_what_arrived(ask: Ask, world: World) -> None:
    row = next(world.truth.installs())
    ask("GET", f"/api/v3/installs/{row.install_id}")
    ask("PUT", f"/api/v3/installs/{row.install_id}/", {"status_id": 5555})
    ask("POST", ADD, {"lead": LEAD})
    assert [(one.method, one.path, one.body) for one in world.received] == [
        ("PUT", f"/api/v3/installs/{row.install_id}", {"status_id": 5555}),
        ("POST", ADD, {"lead": LEAD}),
    ]
    assert {one.at for one in world.received} == {world.now()}


def test_a_body_that_is_no_object_and_a_wrong_method_are_refused(ask: Ask, world: World) -> None:
    row = next(world.truth.installs())
    assert ask("PUT", f"/api/v3/installs/{row.install_id}", ["status_id"]).status == 400
    assert ask("DELETE", f"/api/v3/installs/{row.install_id}").status == 405
    assert ask("POST", "/api/v3/no-such-thing", {}).status == 404
