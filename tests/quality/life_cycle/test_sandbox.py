"""The simulated company's histories fit the shipped life-cycle, and what is planted there is found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.state import InstallState
from enerflo_sandbox.virtual_clock import VirtualClock
from enerflo_sandbox.world import DEFAULT_START, World
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import read_quality, run_quality
from enerflo_sync.quality.report import LifeCycleReport
from tests.quality.conftest import CONFIG

ENGINEERING, PERMITTING, _, INSTALLATION, INSPECTION, OPERATE = (one.milestone_id for one in c.MILESTONES)


@pytest.fixture(params=[7, 11])
def world(request: pytest.FixtureRequest) -> World:
    return World(400, seed=request.param, clock=VirtualClock(DEFAULT_START), per_cause=0)


@pytest.fixture
def place(world: World, warehouse_url: str) -> Iterator[AccountContext]:
    with SandboxServer(SandboxApi(world, rate_limit=100_000)) as server:
        config = load_config(CONFIG / "sync.yaml", {})
        credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: warehouse_url)
        rng = random.Random(1)
        place = AccountContext(
            "default", config, CONFIG / "sync.yaml", credentials, clock=world.clock, rng=rng
        )
        yield place
        place.close()


def judged(place: AccountContext) -> LifeCycleReport:
    run_poll(place)
    found = run_quality(place, with_expectations=False).life_cycle
    assert found is not None
    return found


def told(report: LifeCycleReport) -> set[tuple[int, str, str]]:
    return {(one.install_id, one.step, one.failing.check) for one in report.findings}


def running(world: World, completed: int) -> Iterator[InstallState]:
    """Yield installs in progress with exactly so many milestones completed."""
    for number in world.installs.live():
        state = world.installs.get(number)
        done = [at for at, dates in enumerate(state.milestones) if dates.completed is not None]
        if state.status_id == c.IN_PROGRESS and done == list(range(completed)):
            yield state


def test_no_history_of_the_sandbox_is_found(place: AccountContext, world: World) -> None:
    first = judged(place)
    assert told(first) == set()
    assert first.installs > 350
    assert (first.not_covered, first.not_judged) == (0, [])
    assert sum(step.installs for step in first.steps) > 100
    world.step(600, 150)
    second = judged(place)
    assert told(second) == set()
    assert second.looked_at


def test_what_is_planted_is_found(place: AccountContext, world: World) -> None:
    judged(place)
    world.clock.sleep(3600)
    reopened, early, skipped, backwards = (
        next(running(world, completed)).install_id for completed in (2, 1, 3, 4)
    )
    now = world.now()
    world.set_milestone(reopened, PERMITTING, {"completed": None})
    world.set_milestone(early, PERMITTING, {"completed": now - timedelta(days=900), "started": None})
    world.set_milestone(skipped, INSPECTION, {"completed": now})
    world.set_milestone(backwards, INSTALLATION, {"started": now})
    assert told(judged(place)) >= {
        (reopened, "permitting", "step_reopened"),
        (early, "permitting", "step_out_of_order"),
        (skipped, "inspection", "step_skipped"),
        (backwards, "installation", "completed_before_started"),
    }


def test_limits_run_out_while_nothing_happens(place: AccountContext, world: World) -> None:
    first = judged(place)
    world.clock.sleep(timedelta(days=150).total_seconds())
    second = judged(place)
    under_way = sum(step.installs for step in first.steps)
    assert second.total == under_way == second.new
    assert {check for _, _, check in told(second)} == {"step_overdue"}
    assert sum(step.overdue for step in second.steps) == second.total
    assert second.looked_at is not None
    assert second.looked_at <= under_way


def test_orders_are_judged_without_it_where_nobody_asks(place: AccountContext) -> None:
    run_poll(place)
    run_quality(place, with_expectations=False, with_life_cycle=False)
    assert read_quality(place).life_cycle is None
