"""The simulation finds what it is there to find: each planted defect shows within a few seeds."""

from __future__ import annotations

import pytest

from tests.simulation.database import Database
from tests.simulation.plan import Plan
from tests.simulation.planted import PLANTED, Plant, planted
from tests.simulation.planted_access import OF_ACCESS
from tests.simulation.planted_sides import OF_SIDES
from tests.simulation.run import run_seed

HOURS = 1.5
ALL = (*PLANTED, *OF_SIDES, *OF_ACCESS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("plant", "plan", "within"), ALL, ids=[plant.__name__ for plant, _, _ in ALL])
def test_a_planted_defect_is_found(database: Database, plant: Plant, plan: Plan, within: int) -> None:
    with planted(plant):
        outcomes = (run_seed(seed, HOURS, database, plan) for seed in range(within))
        found = next((one for one in outcomes if one.problem is not None), None)
    assert found is not None, f"{plant.__name__}: not found within {within} seeds"
    healthy = run_seed(found.seed, HOURS, database, plan)
    assert healthy.problem is None, "without the defect the same seed must pass"
