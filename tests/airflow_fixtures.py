"""Fixtures for tests that use Airflow: a company over HTTP, its warehouse, and the connections to both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.airflow_environment import ROOT, migrated_metadata

INSTALLS = 60


@dataclass(frozen=True)
class Setting:
    """A running company, and a warehouse that holds its CRM's tables."""

    sandbox_url: str
    warehouse_url: str


def enerflo_connection(address: str, key: str = DEFAULT_KEY, **extra: object) -> str:
    """Return an Airflow connection of type enerflo, as an environment variable holds it."""
    return json.dumps({"conn_type": "enerflo", "host": address, "password": key, "extra": extra})


def warehouse_connection(url: str, **extra: object) -> str:
    """Return an Airflow connection of type postgres to a server on a unix socket."""
    parsed = sa.make_url(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "login": parsed.username,
            "password": parsed.password or "",
            "host": parsed.query["host"],
            "schema": parsed.database,
            "extra": extra,
        }
    )


@pytest.fixture(scope="session")
def metadata() -> None:
    """Airflow's metadata database with its tables."""
    migrated_metadata()


@pytest.fixture(scope="session")
def company() -> Iterator[SandboxServer]:
    """A company of 60 installs over HTTP, in which nothing happens."""
    world = World(INSTALLS, 7, clock=SystemClock(), per_cause=1)
    with SandboxServer(SandboxApi(world, rate_limit=10_000)) as server:
        yield server


@pytest.fixture
def setting(warehouse_url: str, company: SandboxServer) -> Setting:
    """The company, and a warehouse with its planted CRM tables, not polled yet."""
    make_crm_tables(company.api.world, warehouse_url)
    return Setting(company.url, warehouse_url)


@pytest.fixture
def connected(setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Setting:
    """The company and its warehouse, known to Airflow as connections; nothing counts as in flight."""
    shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
    config = tmp_path / "sync.yaml"
    config.write_text(shipped.replace("in_flight_minutes: 30", "in_flight_minutes: 0"))
    monkeypatch.setenv("ENERFLO_SYNC_CONFIG", str(config))
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_DEFAULT", enerflo_connection(setting.sandbox_url))
    monkeypatch.setenv("AIRFLOW_CONN_ENERFLO_WAREHOUSE", warehouse_connection(setting.warehouse_url))
    return setting


@pytest.fixture
def reconciled(connected: Setting) -> str:
    """The id of a report that was made through Airflow's connections."""
    from enerflo_airflow.hook import open_account

    with closing(open_account("default", reads_enerflo=True)) as place:
        run_poll(place)
        return run_reconcile(place).reconciliation_id
