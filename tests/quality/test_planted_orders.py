"""The sandbox's planted change orders over real parts: each fails exactly what it is declared to, by either way in."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.bad_orders import BAD, GOOD
from enerflo_sandbox.changes import Change
from enerflo_sandbox.payloads import events_of
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs import quality
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import open_suite, run_quality
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.quality.suite import load_suite
from tests.quality.conftest import CONFIG, SUITE
from tests.quality.test_gate import changed

HOLDING = set(load_suite(SUITE, {}).holding)
Failing = dict[int, frozenset[str]]


@dataclass
class Office:
    """A company with its account, and the drop between them."""

    world: World
    place: AccountContext
    drop: Path

    def told(self, changes: list[Change]) -> None:
        """Drop every webhook that tells of the changes, and take them in."""
        for number, change in enumerate(changes):
            for event in events_of(self.world, change, random.Random(number)):
                (self.drop / f"{number:03}-{event.name}.json").write_bytes(event.body)
        report = run_ingest(self.place)
        assert report.state == "ok", report.reasons

    def declared(self, *, finished: bool = True) -> Failing:
        """Return what the planted orders fail; before they are finished those with a history fail nothing."""
        planted = self.world.planted_orders.values()
        return {one.change_order_id: one.fails for one in planted if one.fails and (finished or not one.then)}


@pytest.fixture
def office(warehouse_url: str, tmp_path: Path) -> Iterator[Office]:
    world = World(200, seed=5, clock=SystemClock(), per_cause=1)
    drop = tmp_path / "drop"
    drop.mkdir()
    config = load_config(CONFIG / "sync.yaml", {"WEBHOOK_DROP_URI": str(drop)})
    with SandboxServer(SandboxApi(world, rate_limit=100_000)) as server:
        credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: warehouse_url)
        place = AccountContext("default", config, CONFIG / "sync.yaml", credentials, rng=random.Random(1))
        yield Office(world, place, drop)
        place.close()


def failing(report: QualityReport) -> Failing:
    return {one.change_order_id: frozenset(two.check for two in one.failing) for one in report.failing}


def held(report: QualityReport) -> set[int]:
    return {one.change_order_id for one in report.failing if one.state == "held"}


def to_hold(declared: Failing) -> set[int]:
    return {order_id for order_id, fails in declared.items() if fails & HOLDING}


def test_each_check_of_the_suite_has_an_order_that_fails_it() -> None:
    checks = load_suite(SUITE, {}).checks
    assert list(BAD) == list(checks)
    assert {check for plant in BAD.values() for check in plant.also} <= checks.keys()
    assert not GOOD.keys() & checks.keys()


def test_exactly_the_bad_ones_are_held_and_each_for_what_is_wrong_with_it(office: Office) -> None:
    assert office.world.plant_orders() == len(office.world.planted_orders) > len(BAD) + len(GOOD)
    run_poll(office.place)
    first = run_quality(office.place)
    assert failing(first) == office.declared(finished=False)
    assert office.world.finish_orders() == 3
    run_poll(office.place)
    second = run_quality(office.place)
    declared = office.declared()
    assert failing(second) == declared
    assert held(second) == to_hold(declared)
    assert second.held == len(to_hold(declared)) == len(HOLDING)
    # Great Expectations counted all of them, and found the same.
    assert second.not_validated == 0
    assert {one.check for one in second.checks if one.failed} == set(BAD)
    assert all(one.failed == 1 for one in second.checks if one.check != "panel_count_old_agrees")


def test_webhooks_bring_the_same_orders_to_the_same_end(office: Office) -> None:
    world = office.world
    run_poll(office.place)
    world.plant_orders()
    assert len(world.changes) > 30
    office.told(world.changes)
    told = {change.install_id for change in world.changes}
    unfinished = office.declared(finished=False)
    expected = {i: fails for i, fails in unfinished.items() if world.planted_orders[i].install_id in told}
    assert failing(run_quality(office.place, with_expectations=False)) == expected
    assert len(expected) > 20
    # Of an order that nobody signed no event tells.
    run_poll(office.place)
    assert failing(run_quality(office.place, with_expectations=False)) == unfinished
    before = len(world.changes)
    world.finish_orders()
    office.told(world.changes[before:])
    report = run_quality(office.place, with_expectations=False)
    assert failing(report) == office.declared()
    assert held(report) == to_hold(office.declared())


TIGHTER: dict[str, tuple[dict[str, float], str]] = {
    "panel_count_range": ({"at_most": 199}, "as many panels as may be"),
    "panel_count_fits_size": ({"at_most": 4}, "panels and size within the tolerance"),
    "battery_count_range": ({"at_most": 11}, "as many batteries as may be"),
    "adder_count_range": ({"at_most": 99}, "as many adders as may be"),
    "adder_cost_not_too_high": ({"at_most": 49_999}, "the dearest adder and the highest total"),
    "adder_cost_not_too_low": ({"at_least": -24_999}, "the largest discount and the lowest total"),
    "total_is_sum_of_adders": ({"at_most": 0.9}, "a total that is one off"),
    "signed_after_install": ({"at_least": 0.1}, "signed as the install was created"),
    "signed_not_in_future": ({"at_most": 0}, "signed by a clock that is half an hour ahead"),
}


def test_the_good_neighbours_stand_at_the_limits(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.world.plant_orders()
    run_poll(office.place)
    suite = open_suite(office.place)
    for check, (limits, _) in TIGHTER.items():
        suite = changed(suite, check, **limits)
    monkeypatch.setattr(quality, "open_suite", lambda _context: suite)
    report = run_quality(office.place, with_expectations=False)
    planted = office.world.planted_orders
    good = {planted[i].name: fails for i, fails in failing(report).items() if planted[i].name in GOOD}
    assert good == {name: frozenset((check,)) for check, (_, name) in TIGHTER.items()}


def test_planted_orders_are_the_same_in_two_companies_and_a_small_one_has_none() -> None:
    one, two = World(200, 5, per_cause=1), World(200, 5, per_cause=1)
    assert one.plant_orders() == two.plant_orders() == one.plant_orders()
    assert one.planted_orders == two.planted_orders
    assert World(40, 5).plant_orders() == 0


def test_the_companys_life_leaves_them_alone() -> None:
    world = World(200, 5, per_cause=1)
    world.plant_orders()
    numbers = [world.change_orders.get(i).install_number for i in world.planted_orders]  # type: ignore[union-attr]
    before = [world.rendered(number) for number in numbers]
    world.step(minutes=600, events=1_500)
    assert [world.rendered(number) for number in numbers] == before
    assert all(len(world.change_orders.of_install(number)) <= 2 for number in numbers)
