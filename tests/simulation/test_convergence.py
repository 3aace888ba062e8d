"""After any schedule of changes, faults and kills the mirror is true and no event is lost or counted twice.

With the way back: CRM and Enerflo agree, and nothing was written twice.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.emitter import Mess
from tests.simulation.check import Check
from tests.simulation.database import Database
from tests.simulation.many import simulate
from tests.simulation.plan import Plan, both_ways_plan_of, plan_of
from tests.simulation.process import End
from tests.simulation.run import run_seed
from tests.simulation.world import SimulatedDay

SEEDS = 50
HOURS = 0.75
SEEDS_BOTH_WAYS = 8
HOURS_BOTH_WAYS = 1.5


@pytest.mark.timeout(900)
def test_every_seed_converges() -> None:
    workers = min(2, os.cpu_count() or 1)
    failed = [one for one in simulate(0, SEEDS, HOURS, workers) if one.problem is not None]
    assert not failed, "\n".join(f"seed {one.seed}: {one.problem}\n{one.command}" for one in failed)


@pytest.mark.timeout(900)
def test_every_seed_converges_both_ways() -> None:
    workers = min(2, os.cpu_count() or 1)
    outcomes = simulate(0, SEEDS_BOTH_WAYS, HOURS_BOTH_WAYS, workers, both_ways=True)
    failed = [one for one in outcomes if one.problem is not None]
    assert not failed, "\n".join(f"seed {one.seed}: {one.problem}\n{one.command}" for one in failed)


@pytest.mark.parametrize("plan", [plan_of(7), both_ways_plan_of(7)], ids=["mirror", "both ways"])
def test_one_seed_gives_one_course(database: Database, plan: Plan) -> None:
    first, again = (run_seed(7, HOURS, database, plan) for _ in range(2))
    assert first.story == again.story
    assert first.events == again.events


@pytest.fixture(scope="module")
def shared(database: Database) -> Database:
    return database


# A boundary of a job, and what happens there; None lets the job come to its end.
ends = st.none() | st.tuples(st.integers(1, 150), st.sampled_from(End))
changes = st.tuples(st.just("change"), st.sampled_from(ChangeKind), st.integers(0, 20))
jobs = st.tuples(st.sampled_from(["poll", "ingest"]), ends)


@pytest.mark.timeout(900)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(changes | jobs, max_size=8), seed=st.integers(0, 3))
def test_short_schedules_converge(shared: Database, actions: list[tuple[Any, ...]], seed: int) -> None:
    shared.clear()
    plan = Plan(installs=5, mess=Mess(duplicate=0.5, delay=0.5, reorder=0.5))
    with tempfile.TemporaryDirectory(prefix="simulation-") as place:
        day = SimulatedDay(seed, plan, shared, Path(place))
        for action in actions:
            match action:
                case ("change", kind, minutes):
                    day.world.step(minutes, 1, (kind,))
                    day.emitter.deliver_due()
                case (job, None):
                    getattr(day, str(job))()
                case (job, (at, end)):
                    getattr(day, str(job))(end_at=at, end=end)
        Check(day, shared.plain).settle()
