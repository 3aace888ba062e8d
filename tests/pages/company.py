"""A company in which everything that a page can show is there: differences, plans, held orders, quarantine."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from enerflo_sandbox.api import SandboxApi
from enerflo_sandbox.bad_records import BadKind
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.payloads import events_of
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.quality import run_quality
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.airflow_environment import ROOT
from tests.airflow_fixtures import enerflo_connection, warehouse_connection

_EDITS = (
    ("in_flight_minutes: 30", "in_flight_minutes: 0"),
    ("mode: report", "mode: both"),
)


@dataclass(frozen=True)
class PageCompany:
    """A company that was polled, checked, reconciled twice and planned, known to Airflow as connections.

    :param environ: the variables that say so.
    """

    world: World
    environ: Mapping[str, str]


@contextmanager
def page_company(warehouse: str, folder: Path, installs: int = 400) -> Iterator[PageCompany]:
    """Yield a company with its CRM's tables in a migrated, empty warehouse.

    While it is there the process's environment names it.
    """
    world = World(installs, 7, clock=SystemClock(), per_cause=2)
    world.plant_orders()
    make_crm_tables(world, warehouse)
    shipped = (ROOT / "include" / "config" / "sync.yaml").read_text()
    for old, new in _EDITS:
        assert old in shipped, old
        shipped = shipped.replace(old, new)
    (folder / "sync.yaml").write_text(shipped)
    (folder / "drop").mkdir()
    with SandboxServer(SandboxApi(world, rate_limit=10_000)) as server:
        environ = {
            "ENERFLO_SYNC_CONFIG": str(folder / "sync.yaml"),
            "WEBHOOK_DROP_URI": str(folder / "drop"),
            "AIRFLOW_CONN_ENERFLO_DEFAULT": enerflo_connection(server.url),
            "AIRFLOW_CONN_ENERFLO_WAREHOUSE": warehouse_connection(warehouse),
        }
        before = {name: os.environ.get(name) for name in environ}
        os.environ.update(environ)
        try:
            _live(world, folder / "drop")
            yield PageCompany(world, environ)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def _live(world: World, drop: Path) -> None:
    from enerflo_airflow.hook import open_account

    with closing(open_account("default", reads_enerflo=True)) as account:
        run_poll(account)
        run_reconcile(account)
        for number in list(world.installs.live())[:3]:
            world.set_status(world.installs.get(number).install_id, 5)
            found = events_of(world, world.changes[-1], random.Random(number))
            for part, body in enumerate(found):
                (drop / f"{number}-{part}.json").write_bytes(body.body)
        (drop / "unreadable.json").write_bytes(b'{"event": "new_install", "payload": {"id": ')
        world.plant_bad(world.installs.get(list(world.installs.live())[9]).install_id, next(iter(BadKind)))
        world.finish_orders()
        run_ingest(account)
        run_poll(account)
        run_quality(account)
        run_reconcile(account)
        run_plan(account)
