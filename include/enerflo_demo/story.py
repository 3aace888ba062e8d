"""The demo's story, from an empty folder to a reconciliation report in the Airflow UI."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa
from rich.status import Status

from enerflo_demo.airflow import AirflowApi, connection, environment
from enerflo_demo.both_ways import APPROVE, SYNC, BothWays, plan_page
from enerflo_demo.crm import CrmPlace, open_crm, require_installed
from enerflo_demo.orders import CHANGE_ORDERS, ORDERS_PAGE, Orders
from enerflo_demo.processes import Background, ends_as_by_ctrl_c, in_background, require_free, run
from enerflo_sandbox.cli import DEFAULT_PER_CAUSE
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.cli.output import console, errors
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.explain.explanation import masked_explanation
from enerflo_sync.explain.read import explain
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.reconcile.render import print_text
from enerflo_sync.reconcile.store import load_report
from enerflo_sync.warehouse.embedded import embedded_postgres
from enerflo_sync.warehouse.engine import warehouse_engine
from enerflo_sync.warehouse.migrate import migrate

HOME = Path(".demo")
KEY = "sandbox-key"
# The demo waits neither half an hour for what is in flight (docs/decisions/0005) nor a minute for changes.
IN_FLIGHT_MINUTES, RHYTHM_SECONDS = 1, 5
# Where the Airflow UI shows a page of the reports plugin.
FRAME = "/plugin/enerflo-reports"
POLL, WEBHOOKS, RECONCILE = "enerflo_poll", "enerflo_webhooks", "enerflo_reconcile"
# What happens in the company while the demo looks on, all of it told by webhooks.
CHANGES = 12
WEBHOOK_SECONDS = 180

_TAKEN_IN = """
select count(*) as events, coalesce(sum(copies), 0) as copies,
       count(*) filter (where state = 'applied') as applied,
       percentile_disc(0.5) within group (order by applied_at - received_at) as median,
       max(applied_at - received_at) as slowest
from sync.webhook_events
having count(*) filter (where state = 'applied') > 0 and count(*) filter (where state = 'received') = 0
"""
_REPORT_AFTER = """
select reconciliation_id from sync.reconciliations
where finished_at is not null and compared_until > (select max(applied_at) from sync.webhook_events)
order by compared_until limit 1
"""


class Demo:
    """Everything that runs, and where to find it."""

    def __init__(
        self,
        stack: ExitStack,
        *,
        port: int,
        installs: int,
        seed: int,
        place: CrmPlace = CrmPlace.WAREHOUSE,
        home: Path | None = None,
    ) -> None:
        self.port, self.installs, self.seed, self.place = port, installs, seed, place
        self.repository = _repository()
        self.home = home or self.repository / HOME
        self.drop = self.home / "webhooks" / "drop"
        self.report_after_webhooks = ""
        self._stack = stack

    def tell(self) -> str:
        """Run the story to its end and return the id of the last report."""
        self.prepare()
        self.start_airflow()
        self.first_poll()
        self.life_goes_on()
        planted = self.second_poll()
        self.webhooks_arrive()
        self.orders_are_checked()
        self.both_ways()
        return planted

    def prepare(self) -> None:
        """Start an empty folder, PostgreSQL, the company, and the CRM tables with planted differences."""
        require_free(self.port)
        require_installed(self.place)
        shutil.rmtree(self.home, ignore_errors=True)
        self.drop.mkdir(parents=True)
        with _step("PostgreSQL (embedded) and its tables"):
            postgres = self._stack.enter_context(embedded_postgres(self.home / "postgres"))
            self.warehouse_url = _make_database(postgres, "warehouse")
            self.airflow_url = _make_database(postgres, "airflow").replace("+psycopg:", "+psycopg2:")
            self.engine = warehouse_engine(self.warehouse_url)
            migrate(self.engine)
        with _step(
            f"a solar company with {self.installs:,} installs at Enerflo, and its CRM in {self.place.label}"
        ):
            world = World(self.installs, self.seed, clock=SystemClock(), per_cause=DEFAULT_PER_CAUSE)
            self.orders = Orders(world)
            self.sandbox_url = self._start_sandbox()
            self.made = make_crm_tables(world, self.warehouse_url)
            self.crm = open_crm(self.place, self.engine, self.home, self._stack)
        console.print(
            f"  {len(self.made.planted)} differences are planted between the two,"
            f" and {self.orders.bad} change orders that fail a check."
        )

    def _start_sandbox(self) -> str:
        state = self.home / "sandbox"
        command = [_binary("enerflo-sync"), "sandbox", "serve", "--port", "0", "--key", KEY]
        command += ["--installs", str(self.installs), "--seed", str(self.seed), "--state", str(state)]
        command += ["--webhooks", str(self.drop), "--webhook-format", "mixed", "--duplicates", "0.3"]
        command += self.orders.serve_options
        self._background("the sandbox", command, os.environ)
        address = state / "sandbox.json"
        deadline = time.monotonic() + 120
        while not address.exists():
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    "the sandbox did not start.", where="demo", next_step=f"Read {self.home}/the-sandbox.log."
                )
            time.sleep(0.2)
        url: str = json.loads(address.read_text())["url"]
        return url

    def start_airflow(self) -> None:
        """Start Airflow with the demo's connections, and wait until it has both DAGs."""
        configuration = self._configuration()
        self.environ = environment(
            os.environ,
            home=self.home / "airflow",
            repository=self.repository,
            port=self.port,
            database_url=self.airflow_url,
        )
        self.environ |= {
            "ENERFLO_SYNC_CONFIG": str(configuration),
            "WEBHOOK_DROP_URI": str(self.drop),
            "AIRFLOW_CONN_ENERFLO_DEFAULT": connection("enerflo", host=self.sandbox_url, password=KEY),
            "AIRFLOW_CONN_ENERFLO_WAREHOUSE": _warehouse_connection(self.warehouse_url),
            **self.crm.environ(),
        }
        with _step("Airflow"):
            run(
                "airflow db migrate",
                [_binary("airflow"), "db", "migrate"],
                self.environ,
                self._log("airflow"),
            )
            airflow = self._background("airflow", [_binary("airflow"), "standalone"], self.environ)
            self.api = AirflowApi(f"http://127.0.0.1:{self.port}", airflow.check)
            self.api.wait_until_healthy()
            self.api.wait_for_dags(POLL, WEBHOOKS, RECONCILE, CHANGE_ORDERS, SYNC, APPROVE)
            self.way_back = BothWays(self.api, configuration)

    def first_poll(self) -> None:
        """Switch the DAGs on: the poll starts by itself, and its change of the mirror the reconciliation."""
        with _step("DAG enerflo_poll: Enerflo → mirror"):
            self.api.unpause(WEBHOOKS)
            self.api.unpause(RECONCILE)
            self.api.unpause(CHANGE_ORDERS)
            self.api.unpause(POLL)
            run = self.api.wait_for_next_run(POLL, set())
        counts = self.api.xcom(POLL, run["dag_run_id"], "read_enerflo")
        console.print(
            f"  read {counts['read']:,}, applied {counts['applied']:,},"
            f" quarantined {counts['quarantined']:,}, in {counts['requests']:,} requests"
        )
        with _step(f"DAGs enerflo_reconcile and {CHANGE_ORDERS}, started by the change of the mirror"):
            self.api.wait_for_next_run(RECONCILE, set())
            self.api.wait_for_next_run(CHANGE_ORDERS, set())
        self.polled_at = time.monotonic()

    def life_goes_on(self) -> None:
        """Delete the installs that are planted to be deleted, and wait until the first load has settled."""
        requests.post(f"{self.sandbox_url}/_sandbox/delete", json={"planted": True}, timeout=30)
        wait = IN_FLIGHT_MINUTES * 60 + 5 - (time.monotonic() - self.polled_at)
        if wait > 0:
            with _step(f"waiting {wait:.0f} s until nothing of the first load is in flight"):
                time.sleep(wait)
        self.crm.edit_in_flight()

    def second_poll(self) -> str:
        """Poll and reconcile once more; return the id of the report."""
        with _step("a second poll finds what was deleted, and the report follows"):
            self.api.wait_for_run(POLL, self.api.trigger(POLL))
            # Not left to the asset: a poll by the clock may have brought the change in already.
            run_id = self.api.trigger(RECONCILE)
            self.api.wait_for_run(RECONCILE, run_id)
        found = self.api.xcom(RECONCILE, run_id, "compare_with_crm")
        reconciliation_id: str = found["reconciliation_id"]
        return reconciliation_id

    def webhooks_arrive(self) -> None:
        """Let things happen in the company, and look on as its webhooks bring them into mirror and report.

        From here to the end no poll begins by the clock: what comes in is told by webhooks alone.
        """
        self.api.pause(POLL)
        with _step(
            f"{CHANGES} changes in the company, told by webhooks; DAG enerflo_webhooks wakes by itself"
        ):
            self.orders.go_on(self.sandbox_url)
            order = {"minutes": 1, "events": CHANGES, "emit": True}
            answer = requests.post(f"{self.sandbox_url}/_sandbox/step", json=order, timeout=30)
            answer.raise_for_status()
            requests.post(f"{self.sandbox_url}/_sandbox/webhooks", json={"all": True}, timeout=30)
            taken = self._wait_for_row(_TAKEN_IN)
        console.print(
            f"  {taken['copies']} webhooks, {taken['events']} different, {taken['applied']} of them applied;"
            f" from file to mirror {taken['median'].total_seconds():.1f} s in the median,"
            f" {taken['slowest'].total_seconds():.1f} s at most"
        )
        with _step("the report follows: DAG enerflo_reconcile, started by the change of the mirror"):
            self.report_after_webhooks = self._wait_for_row(_REPORT_AFTER)["reconciliation_id"]

    def orders_are_checked(self) -> None:
        """Check the change orders once more, and say how many are held back from the CRM."""
        with _step(f"DAG {CHANGE_ORDERS}: each new order checked, bad ones held, all counted again"):
            found = self.orders.check(self.api)
        page = f"{self.api.url}{FRAME}{ORDERS_PAGE}"
        console.print(f"  {found['held']:,} of {found['orders']:,} are held back from the CRM: {page}")

    def both_ways(self) -> None:
        """Plan in report mode, switch writing on, let people work, approve the plan, and see it settle."""
        back = self.way_back
        with _step("DAG enerflo_sync in report mode: a plan that is only shown"):
            self.api.unpause(SYNC)
            self.api.unpause(APPROVE)
            back.show(back.plan_only())
        back.configure(("mode: report", "mode: both"))
        self.install_on_hold = self.crm.people_work()
        with _step("mode both; people put an install on hold, write a note and qualify a lead: a plan"):
            run_id = back.ask()
            self.plan_hash: str = back.planned(run_id)["plan_hash"]
        with _step("somebody approves it in Airflow, and it is written on both sides and checked"):
            back.answer(run_id, "Approve")
        done = back.applied(run_id)
        console.print(
            f"  {done['applied']:,} changes applied, {done['moved']:,} moved, {done['parked']:,} parked;"
            f" approved by {done['decided_by']}"
        )
        with _step("a second plan finds nothing left to do"):
            self.second_plan = back.plan_only()
        console.print(f"  {self.second_plan['changes']:,} changes")
        self.api.unpause(POLL)

    def _wait_for_row(self, query: str) -> sa.RowMapping:
        """Return the row of a query, once the drop is empty and there is one.

        :raises ConfigurationError: there is none within three minutes.
        """
        deadline = time.monotonic() + WEBHOOK_SECONDS
        while True:
            with self.engine.connect() as warehouse:
                row = warehouse.execute(sa.text(query)).mappings().first()
            if row is not None and not any(self.drop.rglob("*.*")):
                return row
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"the webhooks did not show within {WEBHOOK_SECONDS} s.",
                    where=str(self.drop),
                    next_step=f"Look at the runs of {WEBHOOKS} and {RECONCILE} in the Airflow UI.",
                )
            time.sleep(0.5)

    def _configuration(self) -> Path:
        """Return a copy of the shipped sync.yaml with the demo's shorter delay."""
        shipped = (self.repository / "include" / "config" / "sync.yaml").read_text()
        shipped = shipped.replace("reconcile_seconds: 60", f"reconcile_seconds: {RHYTHM_SECONDS}")
        before, found, after = shipped.partition("in_flight_minutes:")
        if not found:
            raise ConfigurationError("reconcile.in_flight_minutes is gone.", where="include/config/sync.yaml")
        path = self.home / "sync.yaml"
        text = f"{before}in_flight_minutes: {IN_FLIGHT_MINUTES}\n{after.partition(chr(10))[2]}"
        path.write_text(self.crm.configured(text))
        return path

    def _background(self, name: str, command: list[str], environ: Mapping[str, str]) -> Background:
        return self._stack.enter_context(in_background(name, command, environ, self._log(name)))

    def _log(self, name: str) -> Path:
        return self.home / f"{name.replace(' ', '-')}.log"


def run_demo(*, port: int, installs: int, seed: int, once: bool, place: CrmPlace) -> None:
    """Tell the whole story, print the report and its address, and keep everything running until Ctrl-C.

    :param once: stop when the report is there.
    :param place: where the CRM's tables are.
    :raises ConfigurationError: a part is missing or did not start; the text says which log to read.
    """
    began = time.monotonic()
    with ends_as_by_ctrl_c(), ExitStack() as stack:
        demo = Demo(stack, port=port, installs=installs, seed=seed, place=place)
        reconciliation_id = demo.tell()
        report = load_report(demo.engine, "default", reconciliation_id)
        print_text(report, console)
        page = report_page(reconciliation_id)
        console.print()
        console.print(f"[bold green]Done[/] in {time.monotonic() - began:.0f} s.")
        console.print(f"The report in the Airflow UI: http://127.0.0.1:{port}{FRAME}{page}")
        console.print(f"The report as a page:         http://127.0.0.1:{port}{page}")
        after = report_page(demo.report_after_webhooks)
        console.print(f"After the webhooks:           http://127.0.0.1:{port}{FRAME}{after}")
        console.print(
            f"The plan that was applied:    http://127.0.0.1:{port}{FRAME}{plan_page(demo.plan_hash)}"
        )
        console.print(f"The change orders:            http://127.0.0.1:{port}{FRAME}{ORDERS_PAGE}")
        console.print(f"The warehouse:                {demo.warehouse_url}")
        if place is not CrmPlace.WAREHOUSE:
            console.print(f"The CRM:                      {demo.crm.address}")
        _explain(demo)
        if not once:
            console.print("Everything runs until you press Ctrl-C.")
            _wait_for_the_end()
        console.print("Stopping.")


def _explain(demo: Demo) -> None:
    """Print why one field has its value."""
    config = load_config(demo.home / "sync.yaml", {})
    key = str(demo.install_on_hold)
    with demo.engine.connect() as connection:
        found = explain(connection, config, "default", "install", key, "status")
    console.print(f"\n[bold]enerflo-sync explain install {key} --field status[/]")
    console.print(render_explanation(masked_explanation(found, config)), markup=False)


def report_page(reconciliation_id: str) -> str:
    """Return the path of a report of the account ``default``; within the Airflow UI it follows ``FRAME``."""
    return f"/enerflo/reports/default/{reconciliation_id}"


def _wait_for_the_end() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Show that a step is under way, and how long it took."""
    began = time.monotonic()
    with Status(f"{what} …", console=errors.rich):
        yield
    console.print(f"[green]✓[/] {what} [dim]({time.monotonic() - began:.0f} s)[/]")


def _make_database(server_url: str, name: str) -> str:
    url = sa.make_url(server_url)
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with admin.connect() as connected:
        connected.execute(sa.text(f"create database {name}"))
    return url.set(database=name).render_as_string(hide_password=False)


def _warehouse_connection(url: str) -> str:
    parts = sa.make_url(url)
    details: dict[str, Any] = {"login": parts.username, "schema": parts.database}
    return connection("postgres", host=parts.query.get("host") or parts.host, **details)


def _repository() -> Path:
    """Return the checkout that the command was started in.

    :raises ConfigurationError: it was started elsewhere; dags and plugins are not in the wheel.
    """
    here = Path.cwd()
    if not (here / "dags").is_dir() or not (here / "plugins").is_dir():
        raise ConfigurationError(
            "there are no dags and plugins here.",
            where=str(here),
            next_step="Run the demo in a checkout of the repository, with: make demo.",
        )
    return here


def _binary(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).with_name(name))
