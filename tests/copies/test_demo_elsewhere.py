"""What ``make demo DEMO="--crm …"`` does, without its Airflow: the CRM's tables in a database of their own."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_demo.crm import CALLED_BACK, CrmPlace, DemoCrm, open_crm, require_installed
from enerflo_demo.crm_elsewhere import move_crm
from enerflo_demo.mariadb import mariadb_url, private_mariadb
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import CrmTables, make_crm_tables
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.warehouse.engine import warehouse_engine
from tests.conftest import fresh_database
from tests.writes.conftest import SHIPPED

HOURS = timedelta(hours=2)


class EarlierClock(SystemClock):
    """The machine's clock two hours ago: nothing of the polls is in flight."""

    def now(self):  # type: ignore[no-untyped-def]
        return super().now() - HOURS


@dataclass
class Shop:
    """The demo's company, its CRM elsewhere, and what was planted between the two."""

    context: AccountContext
    world: World
    crm: DemoCrm
    made: CrmTables

    def mode(self, mode: str) -> None:
        path = self.context.config_path
        path.write_text(path.read_text().replace("mode: report", f"mode: {mode}"))
        self.context.config = load_config(path, {})
        self.context.__dict__.pop("settings", None)

    def carried(self) -> int:
        (plan,) = run_plan(self.context)
        if plan.change_count:
            report = run_apply(self.context, plan.plan_hash, approved_by="Pat")
            assert (report.moved, report.waiting) == (0, 0), report
        return plan.change_count


@pytest.fixture(scope="module", params=[CrmPlace.MARIADB, CrmPlace.DUCKDB])
def shop(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[Shop]:
    place: CrmPlace = request.param
    try:
        require_installed(place)
    except ConfigurationError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="enerflo-demo-crm-")))
        address = stack.enter_context(fresh_database(postgres_url, "migrated"))
        world = World(200, seed=11, clock=SystemClock(), per_cause=2)
        server = stack.enter_context(SandboxServer(SandboxApi(world, rate_limit=10_000)))
        made = make_crm_tables(world, address)
        engine = warehouse_engine(address)
        stack.callback(engine.dispose)
        crm = open_crm(place, engine, folder, stack)
        path = folder / "sync.yaml"
        path.write_text(crm.configured(SHIPPED.read_text()))
        credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: address, crm.engine)
        context = AccountContext("default", load_config(path, {}), path, credentials, clock=EarlierClock())
        stack.callback(context.close)
        yield Shop(context, world, crm, made)


def test_the_same_differences_are_found_as_with_the_crm_in_the_warehouse_and_then_both_sides_work(
    shop: Shop,
) -> None:
    run_poll(shop.context)
    for one in shop.made.planted:
        if one.after_deletion and one.table_name == "installs":
            shop.world.delete_install(one.key["enerflo_install_id"])
    run_poll(shop.context)
    shop.crm.edit_in_flight()
    report = run_reconcile(shop.context)
    query = "select table_name, key, field, cause from sync.differences where reconciliation_id = :id"
    with shop.context.engine.connect() as connection:
        rows = connection.execute(sa.text(query), {"id": report.reconciliation_id})
        found = Counter((t, json.dumps(key, sort_keys=True), field, cause) for t, key, field, cause in rows)
    planted = Counter(
        (one.table_name, json.dumps(one.key, sort_keys=True), one.field, str(one.cause))
        for one in shop.made.planted
    )
    assert found - planted == Counter(), "reported and not planted"
    assert planted - found == Counter(), "planted and not reported"
    assert all("is in another database" in " ".join(table.remarks) for table in report.tables)

    shop.mode("both")
    install_id = shop.crm.people_work()
    assert shop.carried() > 0
    run_poll(shop.context)
    status = next(row.status_name for row in shop.world.truth.installs() if row.install_id == install_id)
    assert status == "On Hold"
    with shop.crm.engine().connect() as theirs:
        noted = theirs.scalar(
            sa.text("select enerflo_note_id from crm.notes where note_id = :n"), {"n": CALLED_BACK}
        )
    assert any(row.note_id == noted and "HOA" in row.body for row in shop.world.truth.notes(deleted=False))
    assert shop.carried() == 0


def test_tables_that_are_there_already_are_not_written_over(postgres_url: str, tmp_path: Path) -> None:
    theirs = crm_engine(f"duckdb:///{tmp_path / 'shop.duckdb'}")
    with theirs.begin() as connection:
        connection.execute(sa.text("create schema crm"))
        connection.execute(sa.text("create table crm.notes (mine bigint)"))
    with fresh_database(postgres_url, "template0") as address:
        make_crm_tables(World(30, 7), address)
        engine = warehouse_engine(address)
        with pytest.raises(ConfigurationError, match=r"tables of these names: notes"):
            move_crm(engine, theirs)
        with engine.connect() as connection:
            assert connection.scalar(sa.text("select count(*) from crm.notes"))
        move_crm(engine, theirs, replace=True)
        with engine.connect() as connection:
            left = connection.scalar(sa.text("select count(*) from pg_tables where schemaname = 'crm'"))
        engine.dispose()
    with theirs.connect() as connection:
        assert connection.scalar(sa.text("select count(body) from crm.notes"))
    assert left == 0


def test_a_mariadb_that_is_not_installed_is_said_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(
        ConfigurationError, match=r"no mariadbd.*apt-get install mariadb-server.*--crm duckdb"
    ):
        require_installed(CrmPlace.MARIADB)


def test_the_private_mariadb_ends_and_only_this_user_reaches_its_socket(tmp_path: Path) -> None:
    try:
        require_installed(CrmPlace.MARIADB)
    except ConfigurationError as error:
        pytest.skip(str(error))
    with private_mariadb(tmp_path) as socket:
        assert socket.parent.stat().st_mode & 0o077 == 0
        server = int((socket.parent / "pid").read_text())
        os.kill(server, 0)
        engine = crm_engine(mariadb_url(socket))
        with engine.connect() as connection:
            assert connection.scalar(sa.text("select @@skip_networking")) == 1
        engine.dispose()
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert not socket.parent.exists()
