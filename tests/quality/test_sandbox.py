"""The simulated company's change orders are realistic: none is held, whatever the seed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.changes import ChangeKind
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import run_quality
from tests.quality.conftest import CONFIG


@pytest.mark.parametrize("seed", [7, 11])
def test_no_change_order_of_the_sandbox_is_held(warehouse_url: str, seed: int, tmp_path: Path) -> None:
    world = World(400, seed=seed, clock=SystemClock(), per_cause=0)
    with SandboxServer(SandboxApi(world, rate_limit=100_000)) as server:
        config = load_config(CONFIG / "sync.yaml", {})
        credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: warehouse_url)
        place = AccountContext("default", config, CONFIG / "sync.yaml", credentials, rng=random.Random(1))
        try:
            run_poll(place)
            first = run_quality(place, with_expectations=False)
            assert first.orders > 30
            failing = [(one.change_order_id, [two.check for two in one.failing]) for one in first.failing]
            assert first.held == 0, failing
            world.step(600, 40, (ChangeKind.CHANGE_ORDER_SIGNED,))
            run_poll(place)
            second = run_quality(place, with_expectations=False)
            assert second.checked
            failing = [(one.change_order_id, [two.check for two in one.failing]) for one in second.failing]
            assert second.held == 0, failing
        finally:
            place.close()
