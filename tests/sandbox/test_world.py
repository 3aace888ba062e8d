from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from enerflo_sandbox import render
from enerflo_sandbox.catalogue import STATUSES
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.life import USUAL_KINDS
from enerflo_sandbox.plants import Plant
from enerflo_sandbox.seeded import deal_number_of
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import DEFAULT_START, UnknownRecordError, World


def _rendered(world: World) -> list[bytes]:
    return [world.rendered(number) for number in world.installs.live()]


def test_one_seed_gives_the_same_bytes_and_another_seed_gives_others() -> None:
    first, second, other = World(60, 7), World(60, 7), World(60, 8)
    assert _rendered(first) == _rendered(second)
    assert _rendered(first) != _rendered(other)
    assert list(first.truth.notes()) == list(second.truth.notes())
    assert list(first.truth.change_orders()) == list(second.truth.change_orders())


def test_one_seed_lives_the_same_life() -> None:
    first, second = World(60, 7), World(60, 7)
    for world in (first, second):
        world.step(minutes=60, events=80)
        world.step(minutes=60, events=20)
    assert first.changes == second.changes
    assert len(first.changes) >= 100
    assert _rendered(first) == _rendered(second)
    assert list(first.truth.installs()) == list(second.truth.installs())


def test_a_rendered_install_says_what_the_truth_says(world: World) -> None:
    for row in world.truth.installs():
        record = json.loads(world.rendered(world.number_of(row.install_id)))
        survey, equipment = record["survey"], record["equipment"] or {}
        assert record["id"] == row.install_id
        assert (record["panel_count"] or survey["solar_data_panel_count"]) == row.panel_count
        assert (record["system_size"] or survey["solar_system_size"]) == float(row.system_size_kw)
        assert equipment.get("panel") == row.panel_type
        assert equipment.get("battery") == row.battery_configuration
        cost = record["cost"] or {"system_cost_gross": None}
        assert cost["system_cost_gross"] == (
            None if row.contract_amount is None else float(row.contract_amount)
        )
        assert (record["current_milestone"] or {"title": None})["title"] == row.current_milestone
        assert (record["agent_user"] or {"name": None})["name"] == row.agent_name
        assert STATUSES[record["status_id"]] == record["status_name"] == row.status_name
        assert record["v2_survey_id"] == record["customer"]["deals"][0]["EnerfloV2DealId"] == row.deal_id
        assert datetime.fromisoformat(record["created_at"]) == row.created_at
        assert datetime.fromisoformat(record["updated_at"]).replace(tzinfo=UTC) == row.updated_at


def test_the_quirks_of_the_vendor_occur_in_a_company_of_some_size() -> None:
    world = World(2000, 7)
    records = [json.loads(record) for record in _rendered(world)]
    assert any(record["panel_count"] == 0 and record["system_size"] == 0 for record in records)
    assert any(record["panel_count"] == record["survey"]["solar_data_panel_count"] for record in records)
    for name in ("equipment", "cost", "agent_user", "office", "current_milestone"):
        assert any(record[name] == [] for record in records), name
    assert {record["status_name"] for record in records} == set(STATUSES.values())
    assert any(record["equipment"] and record["equipment"]["battery"] is None for record in records)
    assert any(note.deleted_at is not None for note in world.truth.notes())
    starts = [[row["started_at"] for row in record["all_milestones"]] for record in records]
    ends = [[row["completed_at"] for row in record["all_milestones"]] for record in records]
    active = [
        sum(s is not None and e is None for s, e in zip(*pair, strict=True))
        for pair in zip(starts, ends, strict=True)
    ]
    assert max(active) == 2
    sizes = [len(record) for record in _rendered(world)]
    assert 4_000 < sum(sizes) / len(sizes) < 6_500


def test_no_date_lies_after_the_moment_at_which_the_history_ends() -> None:
    world = World(500, 3)
    for row in world.truth.installs():
        assert row.created_at is not None
        assert row.updated_at is not None
        assert row.created_at <= row.updated_at <= DEFAULT_START
    for milestone in world.truth.milestones():
        done = [moment for moment in (milestone.started_at, milestone.completed_at) if moment is not None]
        assert done == sorted(done)
        assert all(moment <= DEFAULT_START for moment in done)


def test_notes_belong_to_installs_that_were_there() -> None:
    world = World(200, 3)
    created = {row.install_id: row.created_at for row in world.truth.installs()}
    notes = list(world.truth.notes())
    assert len(notes) > 300
    for note in notes:
        began = created[note.install_id]
        assert began is not None
        assert note.created_at is not None
        assert began - timedelta(days=11) < note.created_at


def test_every_kind_of_change_happens_and_shows_in_the_truth() -> None:
    world = World(300, 7)
    changes = world.step(minutes=24 * 60, events=600)
    assert set(USUAL_KINDS) == {change.kind for change in changes}
    assert [change.at for change in changes] == sorted(change.at for change in changes)
    assert DEFAULT_START < changes[0].at < changes[-1].at <= world.now()
    deleted = {c.install_id for c in changes if c.kind is ChangeKind.INSTALL_DELETED}
    present = {row.install_id for row in world.truth.installs()}
    assert deleted
    assert not deleted & present
    assert {c.install_id for c in changes if c.kind is ChangeKind.NEW_INSTALL} - deleted <= present


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_a_step_of_one_kind_makes_that_kind(kind: ChangeKind) -> None:
    world = World(300, 11)
    kinds = Counter(change.kind for change in world.step(minutes=5, events=5, kinds=[kind]))
    assert kinds[kind] >= 4


def test_a_change_is_rendered_and_moves_updated_at(world: World) -> None:
    row = next(world.truth.installs())
    number = world.number_of(row.install_id)
    before = world.rendered(number)
    world.step(minutes=60, events=0)
    world.set_status(row.install_id, 323)
    record = json.loads(world.rendered(number))
    assert (record["status_id"], record["status_name"]) == (323, "Pending KCA")
    assert record["updated_at"] == world.now().strftime("%Y-%m-%d %H:%M:%S")
    assert world.rendered(number) != before


def test_a_customers_edit_shows_in_the_install_too(world: World) -> None:
    row = next(world.truth.installs())
    world.rendered(world.number_of(row.install_id))
    world.edit_customer(row.customer_id, {"first_name": "Renamed"})
    record = json.loads(world.rendered(world.number_of(row.install_id)))
    assert record["customer"]["first_name"] == "Renamed"
    changed = world.truth.install(row.install_id)
    assert changed is not None
    assert changed.customer_name.startswith("Renamed ")


def test_a_signed_change_order_changes_its_install(world: World) -> None:
    (change,) = world.step(minutes=5, events=1, kinds=[ChangeKind.CHANGE_ORDER_SIGNED])
    order = next(o for o in world.truth.change_orders() if o.change_order_id == change.change_order_id)
    install = world.truth.install(order.install_id)
    assert install is not None
    assert order.signed_at == change.at
    for new, now in (
        (order.panel_type_new, install.panel_type),
        (order.panel_count_new, install.panel_count),
        (order.battery_new, install.battery_configuration),
    ):
        assert new is None or new == now


def test_a_deleted_install_vanishes_with_its_notes(world: World) -> None:
    note = next(world.truth.notes())
    world.delete_install(note.install_id)
    assert all(row.install_id != note.install_id for row in world.truth.notes())
    assert all(row.install_id != note.install_id for row in world.truth.change_orders())
    with pytest.raises(UnknownRecordError):
        world.number_of(note.install_id)


def test_a_leads_deal_becomes_an_install_with_the_same_deal_id(world: World) -> None:
    customer_id = world.add_lead({"first_name": "Pat", "last_name": "Lead"}, "X-1")
    deal = world.add_deal(customer_id)
    assert world.installs.number_of_deal(deal.deal_id) is None
    install_id = world.sign_deal(customer_id)
    row = world.truth.install(install_id)
    assert row is not None
    assert (row.customer_id, row.deal_id, row.customer_name) == (customer_id, deal.deal_id, "Pat Lead")
    assert world.installs.number_of_deal(deal.deal_id) == world.number_of(install_id)
    ids = [customer.customer_id for customer in world.truth.customers()]
    assert len(ids) == len(set(ids))


def test_planted_records_are_left_alone_by_the_companys_life() -> None:
    world = World(400, 7, per_cause=2)
    planted = world.plants.install_numbers()
    assert len(planted) == 2 * len(Plant)
    before = {number: world.rendered(number) for number in planted}
    world.step(minutes=600, events=1500)
    assert {number: world.rendered(number) for number in planted} == before


def test_two_worlds_of_one_seed_choose_the_same_plants_and_a_tiny_one_none() -> None:
    assert World(400, 7, per_cause=2).plants == World(400, 7, per_cause=2).plants
    assert World(5, 7, per_cause=2).plants.install_numbers() == frozenset()


def test_a_deals_uuid_leads_back_to_its_install_and_a_strangers_does_not(world: World) -> None:
    row = list(world.truth.installs())[17]
    assert deal_number_of(7, row.deal_id) == 17
    assert deal_number_of(8, row.deal_id) is None
    assert deal_number_of(7, "not-a-uuid") is None


@pytest.mark.parametrize("installs", [0, 1, 2])
def test_a_company_of_hardly_any_installs_works(installs: int) -> None:
    world = World(installs, 7, per_cause=3)
    world.step(minutes=60, events=40)
    assert len(list(world.truth.installs())) == world.truth.counts()["installs"]
    assert len(list(world.truth.customers())) == world.truth.counts()["customers"]


def test_the_virtual_clock_moves_only_when_told(world: World) -> None:
    clock = VirtualClock(datetime(2025, 1, 1, tzinfo=UTC))
    clock.sleep(90)
    clock.sleep(-5)
    assert (clock.now(), clock.monotonic()) == (datetime(2025, 1, 1, 0, 1, 30, tzinfo=UTC), 90)
    with pytest.raises(ValueError, match="aware"):
        VirtualClock(datetime(2025, 1, 1))


def test_the_marks_of_volatile_parts_keep_their_length() -> None:
    assert len(render.EXPIRES_MARK) == 10
    assert len(render.NONCE_MARK) == 32
