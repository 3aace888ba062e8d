"""The change-order DAG on a company with planted orders, good and bad: it holds exactly the bad ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.quality.suite import load_suite
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.airflow_environment import ROOT
from tests.airflow_fixtures import Setting
from tests.dags.test_runs import result, run, states

pytestmark = [pytest.mark.airflow, pytest.mark.usefixtures("metadata")]


@pytest.fixture(scope="module")
def company() -> Iterator[SandboxServer]:
    world = World(200, 7, clock=SystemClock(), per_cause=1)
    assert world.plant_orders()
    with SandboxServer(SandboxApi(world, rate_limit=10_000)) as server:
        yield server


def rows(setting: Setting, statement: str) -> list[Any]:
    engine = warehouse_engine(setting.warehouse_url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(statement)).all()
    engine.dispose()
    return list(found)


def test_the_dag_holds_exactly_the_bad_orders(connected: Setting, company: SandboxServer) -> None:
    world = company.api.world
    holding = set(load_suite(ROOT / "include" / "config" / "change_orders.yaml", {}).holding)
    planted = world.planted_orders.values()
    bad = {one.change_order_id for one in planted if one.fails & holding}
    run("enerflo_poll")
    first = run("enerflo_change_orders")
    assert states(first) == {"judge_and_hold": "success", "validate": "success"}
    hidden = {one.change_order_id for one in planted if one.then and one.fails}
    assert result(first, "validate")["held"] == len(bad - hidden)
    world.finish_orders()
    run("enerflo_poll")
    second = run("enerflo_change_orders")
    assert states(second) == {"judge_and_hold": "success", "validate": "success"}
    counts = result(second, "validate")
    assert (counts["held"], counts["not_validated"]) == (len(bad), 0)
    assert str(second.note).startswith(f"{len(bad)} of {counts['orders']} change orders held")
    held = rows(
        connected,
        "select cast(key ->> 'change_order_id' as bigint) from sync.quarantine"
        " where kind = 'change_order' and state = 'open'",
    )
    assert sorted(order_id for (order_id,) in held) == sorted(bad)
    failing = rows(
        connected, "select change_order_id, failing from sync.change_order_facts where failing <> '{}'"
    )
    assert {order_id: frozenset(checks) for order_id, checks in failing} == {
        one.change_order_id: one.fails for one in planted if one.fails
    }
