from __future__ import annotations

import json
import random
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.changes import Change, ChangeKind
from enerflo_sandbox.payloads import Event, events_of
from enerflo_sandbox.world import World

from .conftest import asking, body_of

# The names in REFERENCE.md §15's samples; of the submission those that matter here.
SAMPLE_NAMES = json.loads((Path(__file__).parent / "sample_names.json").read_text())
NAIVE = "%Y-%m-%d %H:%M:%S"


def told(world: World, change: Change, seed: int = 0, noise: float = 0.0) -> list[tuple[str, Any]]:
    events = events_of(world, change, random.Random(seed), noise)
    return [(event.name, json.loads(event.body)) for event in events]


def named(world: World, change: Change, name: str, seeds: int = 40) -> list[Any]:
    """Every different body of one event over many seeds."""
    found = {json.dumps(b) for seed in range(seeds) for n, b in told(world, change, seed) if n == name}
    return [json.loads(text) for text in sorted(found)]


def step(world: World, kind: ChangeKind) -> Change:
    for _ in range(20):
        for change in world.step(15, 1, [kind]):
            if change.kind is kind:
                return change
    raise AssertionError(f"no {kind} came")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            ChangeKind.NEW_INSTALL,
            [{"new_install", "submit_install", "deal.projectSubmitted", "deal.projectReceived"}],
        ),
        (ChangeKind.INSTALL_VOIDED, [{"update_install"}]),
        (ChangeKind.STATUS_CHANGED, [{"update_install"}]),
        (
            ChangeKind.INSTALL_RESUBMITTED,
            [{"restore_install", "deal.projectSubmitted", "deal.projectReceived"}],
        ),
        (ChangeKind.INSTALL_DELETED, [{"update_install"}, set()]),
        (
            ChangeKind.MILESTONE_CHANGED,
            [{"project_milestone_updated"}, {"project_milestone_updated", "update_install"}],
        ),
        (ChangeKind.NOTE_CREATED, [{"new_install_note"}]),
        (ChangeKind.NOTE_EDITED, [set()]),
        (ChangeKind.NOTE_DELETED, [set()]),
        (ChangeKind.CHANGE_ORDER_SIGNED, [{"signed_change_order", "update_install"}]),
        (ChangeKind.NEW_CUSTOMER, [{"new_customer", "customer.created"}]),
        (ChangeKind.CUSTOMER_EDITED, [{"update_customer", "customer.updated.v2"}]),
    ],
)
def test_each_change_gives_its_events(world: World, kind: ChangeKind, names: list[set[str]]) -> None:
    change = step(world, kind)
    seen = [{name for name, _ in told(world, change, seed)} for seed in range(40)]
    assert all(one in names for one in seen)
    assert all(one in seen for one in names)


def test_every_body_names_its_event_and_its_subject(world: World) -> None:
    world.step(600, 200)
    kinds: Counter[str] = Counter()
    rng = random.Random(3)
    for change in world.changes:
        for event in events_of(world, change, rng, noise=0.5):
            body = json.loads(event.body)
            kinds[event.name] += 1
            assert body.get("webhook_event", body.get("event")) == event.name
            assert b"@@" not in event.body
            assert event.at == change.at
            if "webhook_event" in body:
                assert isinstance(body["id"], int)
                assert not isinstance(body.get("payload"), dict)
            else:
                assert body["payload"]["targetOrg"] == c.ORG_UUID
                assert len(body["payload"]["initiatedBy"]) == 36
    assert set(kinds) >= {
        *("new_appointment", "update_appointment", "new_note", "new_design_request", "deal.created"),
        *("new_install", "submit_install", "update_install", "restore_install", "signed_change_order"),
        *("new_customer", "update_customer", "customer.created", "customer.updated.v2"),
    }


def names_of(value: Any, at: str = "") -> set[str]:
    """Every name of a body by its way from the root, ``a.b[].c``."""
    if isinstance(value, dict):
        ways = {f"{at}.{key}".lstrip("."): inner for key, inner in value.items()}
        return {name for way, inner in ways.items() for name in {way, *names_of(inner, way)}}
    if isinstance(value, list):
        return {name for inner in value for name in names_of(inner, f"{at}[]")}
    return set()


@pytest.mark.parametrize(
    ("sample", "kind"),
    [
        ("new_customer", ChangeKind.NEW_CUSTOMER),
        ("update_install", ChangeKind.STATUS_CHANGED),
        ("update_install, dictionary", ChangeKind.STATUS_CHANGED),
        ("customer.created", ChangeKind.NEW_CUSTOMER),
        ("signed_change_order", ChangeKind.CHANGE_ORDER_SIGNED),
    ],
)
def test_a_body_has_every_name_of_its_sample(world: World, sample: str, kind: ChangeKind) -> None:
    known = set(SAMPLE_NAMES[sample])
    bodies = [b for _ in range(20) for b in named(world, step(world, kind), sample.partition(",")[0], 9)]
    missing = [known - names_of(body) for body in bodies]
    assert any(not names for names in missing), min(missing, key=len)


def test_a_submission_has_no_name_that_its_sample_has_not(world: World) -> None:
    known = set(SAMPLE_NAMES["deal.projectSubmitted"])
    change = step(world, ChangeKind.NEW_INSTALL)
    (body, *_) = named(world, change, "deal.projectSubmitted")
    # The sample's system has no battery.
    ours = {name for name in names_of(body) if ".batteries[]" not in name and ".state." not in name}
    assert ours - known == set()
    assert {name for name in known if name.count(".") < 3 and name.startswith("payload.design")} <= {
        *ours,
        "payload.design.arrays[].solarAccessByMonth",
        "payload.design.arrays[].solarAccessByMonth[]",
    }


def test_update_install_comes_in_both_shapes(world: World) -> None:
    change = step(world, ChangeKind.STATUS_CHANGED)
    state = world.installs.get(world.number_of(change.install_id or 0))
    slim, flat = sorted(named(world, change, "update_install"), key=lambda body: "status_id" in body)
    assert slim["status"] == {"id": state.status_id, "name": c.STATUSES[state.status_id]}
    assert (slim["deal_id"], slim["timestamps"]["timezone"]) == (state.survey_id, "UTC")
    assert "status" not in flat
    assert (flat["status_id"], flat["survey_id"]) == (state.status_id, state.survey_id)
    assert flat["id"] == slim["id"] == change.install_id
    assert datetime.strptime(slim["timestamps"]["updated_at"], NAIVE)


def test_a_deletion_shows_when_it_was(world: World) -> None:
    change = step(world, ChangeKind.INSTALL_DELETED)
    bodies = named(world, change, "update_install")
    marks = {(b.get("timestamps") or b)["deleted_at"] for b in bodies}
    assert marks == {change.at.strftime(NAIVE)}


def test_a_note_comes_in_each_likely_shape(world: World) -> None:
    change = step(world, ChangeKind.NOTE_CREATED)
    bodies = named(world, change, "new_install_note", 80)
    assert len(bodies) == 4
    for body in bodies:
        install_id = body.get("epc_install_id") or body.get("install_id") or body["install"]["id"]
        assert (body.get("note_id", body["id"]), install_id) == (change.note_id, change.install_id)
        assert body["note"]


def test_a_milestone_comes_by_the_installs_id_and_by_its_rows(world: World) -> None:
    change = step(world, ChangeKind.MILESTONE_CHANGED)
    bodies = named(world, change, "project_milestone_updated", 60)
    assert len(bodies) == 3
    assert sum(body["id"] == change.install_id for body in bodies) == 1
    state = world.installs.get(world.number_of(change.install_id or 0))
    dates = state.milestones[c.MILESTONE_POSITION[change.milestone_id or 0]]
    for body in bodies:
        assert body["milestone"]["id"] == change.milestone_id
        assert (body["completed_at"] is None) == (dates.completed is None)
        ids = (body["id"], body.get("epc_install_id"), (body.get("install") or {}).get("id"))
        assert change.install_id in ids


def test_a_change_order_shows_all_orders_of_its_install(world: World) -> None:
    change = step(world, ChangeKind.CHANGE_ORDER_SIGNED)
    ((_, body), _) = told(world, change)
    number = world.number_of(change.install_id or 0)
    assert body["id"] == body["install"]["id"] == change.install_id
    assert [row["id"] for row in body["change_orders"]] == world.change_orders.of_install(number)
    assert body["status"] == "complete"
    assert len(body["all_milestones"]) == len(c.MILESTONES)
    mine = next(row for row in body["change_orders"] if row["id"] == change.change_order_id)
    assert "Expires=" in mine["pdf_url"]


def test_a_submission_carries_the_signed_design(world: World) -> None:
    for _ in range(20):
        check_submission(world, step(world, ChangeKind.NEW_INSTALL))


def check_submission(world: World, change: Change) -> None:
    (body, *_) = [b["payload"] for n, b in told(world, change) if n == "deal.projectSubmitted"]
    state = world.installs.get(world.number_of(change.install_id or 0))
    customer = world.customer(state.customer_id)
    pricing, arrays = body["proposal"]["pricingOutputs"], body["design"]["arrays"]
    assert body["deal"]["id"] == change.deal_id
    assert set(body["customer"]) == {"id", "firstName", "lastName"}
    assert sum(array["moduleCount"] for array in arrays) == state.panel_count
    assert arrays[0]["module"]["capacity"] * state.panel_count == body["design"]["totalSystemSizeWatts"]
    assert pricing["design"]["batteryCount"] == sum(b["count"] for b in pricing["design"]["batteries"])
    assert pricing["deal"]["projectAddress"]["postalCode"] == int(customer.zip)
    assert {row["amount"] for row in pricing["calculatedAvailableValueAdders"]} == {-1}
    assert all(row["amount"] > 0 for row in pricing["calculatedSystemAdders"])
    assert pricing["financeCost"] == round(pricing["grossCost"] - pricing["downPayment"], 2)
    assert pricing["netCost"] == round(pricing["financeCost"] - pricing["rebatesTotal"], 2)
    assert "Expires=" in body["deal"]["files"][0]["url"]


def test_the_zero_of_a_postal_code_is_lost_in_a_submission(world: World) -> None:
    numbers = set()
    for _ in range(40):
        change = step(world, ChangeKind.NEW_INSTALL)
        body = next(b for n, b in told(world, change) if n == "deal.projectSubmitted")
        numbers.add(body["payload"]["proposal"]["pricingOutputs"]["deal"]["projectAddress"]["postalCode"])
    assert 2139 in numbers


def test_a_resubmission_is_the_same_deal_with_another_design(world: World) -> None:
    state = world.installs.get(next(iter(world.installs.live())))
    world.void_install(state.install_id)

    def submitted() -> Any:
        return next(b for n, b in told(world, world.changes[-1]) if n == "deal.projectSubmitted")["payload"]

    world.resubmit_install(state.install_id)
    first = submitted()
    world.void_install(state.install_id)
    world.resubmit_install(state.install_id, panel_count=state.panel_count + 2)
    second = submitted()
    assert first["deal"]["id"] == second["deal"]["id"] == state.deal_id
    assert first["design"]["id"] != second["design"]["id"]
    assert sum(a["moduleCount"] for a in second["design"]["arrays"]) == state.panel_count + 2


def test_an_edited_customer_shows_what_it_was(world: World) -> None:
    state = world.installs.get(next(iter(world.installs.live())))
    before = world.customer(state.customer_id).mobile
    world.edit_customer(state.customer_id, {"mobile": "5550000001", "city": "Elsewhere"})
    bodies = dict(told(world, world.changes[-1]))
    payload = bodies["customer.updated.v2"]["payload"]
    assert bodies["update_customer"]["phone"] == "(555) 000-0001"
    assert (payload["previous"]["mobile"], payload["current"]["mobile"]) == (before, "5550000001")
    assert payload["current"]["address"]["city"] == "Elsewhere" != payload["previous"]["address"]["city"]
    assert payload["changes"]["mobile"] == {"from": before, "to": "5550000001"}


def test_some_customer_created_is_followed_by_an_empty_one(world: World) -> None:
    world.add_lead({}, None)
    events: list[Event] = []
    for seed in range(40):
        events += events_of(world, world.changes[-1], random.Random(seed))
    empty = [json.loads(e.body)["payload"]["customer"] for e in events if e.is_stutter]
    assert {} in empty
    assert any(one.get("id") and not one["firstName"] for one in empty)
    assert sum(e.is_restless for e in events) == 40


def test_a_v2_customer_is_found_by_its_uuid(world: World) -> None:
    api = SandboxApi(world, keys=("sandbox-key", "other"), no_uuid_keys=("other",))
    ask = asking(api)
    lead = world.add_lead({"first_name": "Ada"}, None)
    uuid = named(world, world.changes[-1], "customer.created")[0]["payload"]["customer"].get("id")
    uuid = uuid or named(world, world.changes[-1], "customer.created")[-1]["payload"]["customer"]["id"]
    rows = body_of(ask("GET", f"/api/v1/customers?search={uuid}"))["data"]
    assert [row["id"] for row in rows] == [lead]
    link = rows[0]["integrations"]["Enerflo V2"]["EnerfloV2Customer"]
    assert link["integration_record_id"] == uuid
    assert body_of(ask("GET", f"/api/v3/customers/{uuid}"))["id"] == lead
    assert ask("GET", f"/api/v3/customers/{uuid}", key="other").status == 403
    assert ask("GET", f"/api/v3/customers/{lead}", key="other").status == 200
    assert ask("GET", f"/api/v3/customers/{uuid[:-1]}0").status == 404


def test_a_lead_of_the_history_has_no_v2_record(world: World) -> None:
    lead = next(i for i in world.customers.ids() if not world.customers.get(i).deals)
    world.edit_customer(lead, {"mobile": "5550000002"})
    assert {name for name, _ in told(world, world.changes[-1])} == {"update_customer"}
