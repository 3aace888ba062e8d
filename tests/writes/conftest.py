"""A simulated company behind a socket, the demo's CRM tables, and the account's own context."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sandbox import catalogue as c
from enerflo_sandbox.api import DEFAULT_KEY, SandboxApi
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.payloads import events_of
from enerflo_sandbox.server import SandboxServer
from enerflo_sandbox.state import ChangeOrderState, InstallState
from enerflo_sandbox.world import World
from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.ingest import run_ingest
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.pages.plans import read_plan_page, render_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.plan.report import Change, PlanReport, Undecided
from enerflo_sync.reconcile.render.frame import Frame
from tests.conftest import copy_database, fresh_database
from tests.writes.kept import brought

SHIPPED = Path(__file__).parents[2] / "include" / "config" / "sync.yaml"


@dataclass
class Desk:
    """One account with both of its sides, and what a person at a desk does with them."""

    context: AccountContext
    world: World
    folder: Path
    environ: dict[str, str]
    api: SandboxApi | None = None
    # The PostgreSQL server, and the database that this one began as.
    server: str = ""
    template: str = ""

    @property
    def engine(self) -> sa.Engine:
        return self.context.engine

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def one(self, statement: str, **values: Any) -> Any:
        (row,) = self.sql(statement, **values)
        (value,) = row.values()
        return value

    def configured(self, *edits: tuple[str, str]) -> None:
        """Use the shipped configuration with some of its texts replaced, each of which is in it."""
        text = SHIPPED.read_text()
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        (self.folder / "sync.yaml").write_text(text)
        self.read_configuration()

    def read_configuration(self) -> None:
        """Use the configuration that lies in the desk's folder."""
        path = self.folder / "sync.yaml"
        self.context.config = load_config(path, self.environ)
        self.context.config_path = path
        self.context.__dict__.pop("settings", None)

    def switched_on(self, mode: str = "both", *edits: tuple[str, str]) -> None:
        self.configured(("mode: report", f"mode: {mode}"), *edits)

    def told(self, *events: str) -> None:
        """Drop the payloads of ``events`` that tell of the company's last change, and take them in."""
        self.dropped(*events)
        report = run_ingest(self.context)
        assert report.state == "ok", report.reasons

    def dropped(self, *events: str) -> None:
        """Drop the payloads of ``events`` that tell of the company's last change."""
        found = events_of(self.world, self.world.changes[-1], random.Random(1))
        bodies = {one.name: one.body for one in found if one.name in events}
        assert bodies.keys() == set(events), [one.name for one in found]
        for number, body in enumerate(bodies.values()):
            name = f"{len(self.world.changes)}-{number}.json"
            (Path(self.environ["WEBHOOK_DROP_URI"]) / name).write_bytes(body)

    def signs(self, **columns: Any) -> ChangeOrderState:
        """Sign an order that adds three panels to an install, but for ``columns``, and let its webhooks drop.

        The install takes up what the order says, as at Enerflo. Nothing is taken in yet.
        """
        state = self.a_site()
        now = self.world.moment()
        usual: dict[str, Any] = {
            "install_number": state.number,
            "status": "complete",
            "created": now,
            "updated": now,
            "signed": now,
            "panel": None,
            "panel_count": (state.panel_count, state.panel_count + 3),
            "battery": None,
            "adders_old": (),
            "adders_new": (),
        }
        order = ChangeOrderState(
            change_order_id=self.world.change_orders.next_id(),
            creator_id=c.USERS[0].user_id,
            total_cost_old=30_000,
            **(usual | columns),
        )
        self.world.sign_change_order(order)
        self.dropped("signed_change_order")
        return order

    def a_site(self) -> InstallState:
        """Return the first install in progress with equipment and without a change order."""
        installs, orders = self.world.installs, self.world.change_orders
        return next(
            state
            for state in map(installs.get, installs.live())
            if state.status_id == c.IN_PROGRESS
            and state.has_equipment
            and not orders.of_install(state.number)
        )

    def order_in_crm(self, order: ChangeOrderState) -> Any:
        """Return the CRM's row of a change order, None where it has none."""
        rows = self.sql(
            "select * from crm.change_orders where enerflo_change_order_id = :id", id=order.change_order_id
        )
        return rows[0] if rows else None

    def kept_out(self, order: ChangeOrderState) -> None:
        """Assert that a change order is neither planned nor written, and that its install's fields are."""
        plan = self.plan()
        key = {"enerflo_change_order_id": order.change_order_id}
        assert not self.changes(plan, table_name="change_orders", key=key)
        before = self.order_in_crm(order)
        run_apply(self.context, plan.plan_hash, approved_by="Pat")
        assert self.order_in_crm(order) == before
        state = self.world.installs.get(order.install_number)
        row = self.crm("installs", enerflo_install_id=state.install_id)
        assert (row["panel_count"], row["battery_configuration"]) == (state.panel_count, state.battery)

    def carried(self) -> ApplyReport:
        """Plan, and apply all that is planned; return how the last plan ended."""
        for plan in run_plan(self.context):
            report = run_apply(self.context, plan.plan_hash, approved_by="Pat")
            assert report.waiting == 0, report
        return report

    def settled(self) -> None:
        """Assert that nothing is left to do, and that doing it writes nothing anywhere."""
        received = len(self.world.received)
        plan = self.plan()
        assert plan.change_count == 0, self.changes(plan)
        run_poll(self.context)
        assert self.plan().change_count == 0
        assert len(self.world.received) == received

    def crm(self, table: str, **key: Any) -> Any:
        """Return one row of the CRM."""
        where = " and ".join(f"{name} = :{name}" for name in key)
        (row,) = self.sql(f"select * from crm.{table} where {where}", **key)
        return row

    def plan(self) -> PlanReport:
        return run_plan(self.context)[0]

    def changes(self, plan: PlanReport, **wanted: Any) -> list[Change]:
        with self.engine.connect() as connection:
            changes = read_changes(connection, plan.account, plan.plan_hash)
            return [c for c in changes if all(getattr(c, name) == value for name, value in wanted.items())]

    def page(self, plan: PlanReport, frame: Frame | None = None) -> str:
        """Return the plan's page, as a file where there is no frame."""
        config, account = self.context.config, self.context.account
        with self.engine.connect() as connection:
            page = read_plan_page(connection, config, account, plan.plan_hash)
        return render_plan(page, config.tables_for(account), frame)

    def undecided(self, plan: PlanReport) -> list[Undecided]:
        with self.engine.connect() as connection:
            return read_undecided(connection, plan.account, plan.plan_hash)

    def ledger(self, **wanted: Any) -> list[Any]:
        rows = self.sql("select * from sync.ledger order by ledger_id")
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def agreed(self, table: str, field: str, **key: Any) -> Any:
        rows = self.sql(
            "select value from sync.agreed where table_name = :table and field = :field"
            " and key = cast(:key as jsonb)",
            table=table,
            field=field,
            key=json.dumps(key),
        )
        return rows[0]["value"] if rows else None


def company() -> World:
    return World(40, seed=11, clock=SystemClock(), per_cause=0)


def account_at(server: SandboxServer, warehouse_url: str, environ: dict[str, str]) -> AccountContext:
    credentials = Credentials(lambda: server.url, lambda: DEFAULT_KEY, lambda: warehouse_url)
    return AccountContext("default", load_config(SHIPPED, environ), SHIPPED, credentials)


_polled = itertools.count(1)


def make_polled(postgres_url: str) -> str:
    """Return the name of a new database in which the company was polled beside its CRM tables."""
    # A room that borrows the fixture makes one of its own.
    name = f"polled_{os.getpid()}_{next(_polled)}"
    address = copy_database(postgres_url, name, "migrated")
    with SandboxServer(SandboxApi(company(), rate_limit=10_000)) as server:
        context = account_at(server, address, {})
        make_crm_tables(server.api.world, address)
        run_poll(context)
        context.close()
    return name


@pytest.fixture(scope="session")
def polled_warehouse(postgres_url: str) -> str:
    """A database in which the company was polled beside its CRM tables, to be copied."""
    # A mutation run makes that database for all its processes.
    return os.environ.get("ENERFLO_TEST_POLLED") or make_polled(postgres_url)


@contextmanager
def desk_on(postgres_url: str, template: str, folder: Path) -> Iterator[Desk]:
    """Yield a desk of which both sides are as in a database that is copied."""
    world = company()
    drop = folder / "drop"
    drop.mkdir()
    environ = {"WEBHOOK_DROP_URI": str(drop)}
    with (
        SandboxServer(SandboxApi(world, rate_limit=10_000)) as server,
        fresh_database(postgres_url, template) as address,
    ):
        context = account_at(server, address, environ)
        yield Desk(context, world, folder, environ, server.api, postgres_url, template)
        context.close()


@pytest.fixture
def desk(postgres_url: str, polled_warehouse: str, tmp_path: Path) -> Iterator[Desk]:
    """An account whose two sides agree but for a few new customers: polled, and nothing planned yet."""
    with desk_on(postgres_url, polled_warehouse, tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def agreed_warehouse(
    postgres_url: str, polled_warehouse: str, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A database in which both sides agree and both may be written, to be copied."""
    name = f"agreed_{os.getpid()}_{next(_polled)}"
    with desk_on(postgres_url, polled_warehouse, tmp_path_factory.mktemp("agreed")) as desk:
        desk.switched_on("both")
        desk.carried()
        assert desk.world.received == []
        # As autovacuum does: a plan of each copy takes the server a tenth less with statistics.
        with desk.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("analyze")
        desk.engine.dispose()
        copy_database(postgres_url, name, str(desk.engine.url.database))
    return name


@pytest.fixture
def agreed(postgres_url: str, agreed_warehouse: str, tmp_path: Path) -> Iterator[Desk]:
    """An account whose two sides agree, and are both written."""
    with desk_on(postgres_url, agreed_warehouse, tmp_path) as found:
        found.switched_on("both")
        yield found


@pytest.fixture
def agreeing(agreed: Desk) -> Desk:
    """An account whose two sides agree, and that writes to the CRM alone."""
    agreed.switched_on("crm")
    return agreed


@pytest.fixture
def in_progress(desk: Desk) -> int:
    """An install that is in progress on both sides, which agree and are both written."""
    brought(desk, _agrees)
    return int(
        desk.one(
            "select min(install_id) from enerflo.installs i join crm.installs c"
            " on c.enerflo_install_id = i.install_id and c.status = i.status_name"
            " where status_name not in ('On Hold', 'Voided', 'Completed')"
        )
    )


def _agrees(desk: Desk) -> None:
    desk.switched_on("both", ("in_flight_minutes: 30", "in_flight_minutes: 0"))
    done = run_apply(desk.context, desk.plan().plan_hash, approved_by="Me")
    assert done.waiting == 0
