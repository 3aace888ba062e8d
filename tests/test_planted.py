"""The report finds exactly what was planted: every table, key, field and cause, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.report import Cause

CONFIG = Path(__file__).parent.parent / "include" / "config" / "sync.yaml"
HOURS = timedelta(hours=2)


class EarlierClock(SystemClock):
    """The machine's clock two hours ago: the polls were made then, so that nothing of them is in flight."""

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() - HOURS


@pytest.fixture
def place(warehouse_url: str):  # type: ignore[no-untyped-def]
    world = World(300, seed=11, clock=SystemClock(), per_cause=3)
    # As in the demo: they are no differences, whatever is wrong with them.
    assert world.plant_orders()
    with SandboxServer(SandboxApi(world)) as server:
        credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: warehouse_url)
        config = load_config(CONFIG, {})
        context = AccountContext("default", config, CONFIG, credentials, clock=EarlierClock())
        yield context, world
        context.close()


def found(engine: sa.Engine, reconciliation_id: str) -> Counter[tuple[str, str, str | None, str]]:
    query = "select table_name, key, field, cause from sync.differences where reconciliation_id = :id"
    with engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"id": reconciliation_id})
        return Counter(
            (table, json.dumps(key, sort_keys=True), field, cause) for table, key, field, cause in rows
        )


def test_the_planted_differences_are_found_exactly_per_cause(place: tuple[AccountContext, World]) -> None:
    context, world = place
    made = make_crm_tables(world, context.credentials.warehouse_url())
    run_poll(context)
    for difference in made.planted:
        if difference.after_deletion and difference.table_name == "installs":
            world.delete_install(difference.key["enerflo_install_id"])
    run_poll(context)
    for full in (True, False):
        report = reconcile(context.engine, context.config, "default", full=full)
        planted = Counter(
            (one.table_name, json.dumps(one.key, sort_keys=True), one.field, str(one.cause))
            for one in made.planted
        )
        actual = found(context.engine, report.reconciliation_id)
        assert actual - planted == Counter(), "reported and not planted"
        assert planted - actual == Counter(), "planted and not reported"
        assert report.unexplained == made.counts()["unexplained"]
    causes = {Cause(one.cause) for one in made.planted}
    assert causes >= {
        *(Cause.QUARANTINED, Cause.DUPLICATE_IDENTITY, Cause.DELETED_IN_ENERFLO, Cause.VOIDED),
        *(Cause.MISSING_IN_CRM, Cause.MISSING_IN_ENERFLO, Cause.EQUAL_AFTER_NORMALISATION),
        *(Cause.IN_FLIGHT, Cause.UNEXPLAINED),
    }
