"""Whole processes of the command line that find nothing to do: mostly interpreter, imports and set-up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.company import API_KEY, SEED, running_company
from benchmarks.measure import ROOT, CouldNotMeasureError, process_environment
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse
from enerflo_sandbox.crm_tables import make_crm_tables
from enerflo_sandbox.world import World
from enerflo_sync.clock import SystemClock
from enerflo_sync.crm.load import load_config
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile

DATABASE = "bench_starts"
# Short processes vary more than long ones.
PROCESSES_A_ROUND = 5
# A reconciliation looks again at what was written within some minutes before the last one.
_QUIET = timedelta(hours=3)
_COMMAND = "from enerflo_sync.cli import main; main()"
_AIRFLOW = (
    "import airflow.sdk, airflow.providers.common.sql.hooks.sql, airflow.providers.http.hooks.http,"
    " airflow.providers.postgres.hooks.postgres"
)
_TASK = f"{_AIRFLOW}, enerflo_airflow.operators, enerflo_airflow.hook, enerflo_sync.jobs."


@dataclass(frozen=True)
class Start:
    """One kind of process.

    :param words: the command's; none for a program that only imports.
    :param most_seconds: the target of the whole process; None where there is none.
    :param program: what Python runs.
    """

    name: str
    words: tuple[str, ...] = ()
    most_seconds: float | None = None
    program: str = _COMMAND


HELP = Start("enerflo-sync --help", ("--help",), 0.3)
POLL = Start("enerflo-sync poll, nothing changed", ("poll", "--resource", "installs", "--json"), 0.8)
RECONCILE = Start("enerflo-sync reconcile, nothing changed", ("reconcile", "--json"), 0.8)
AIRFLOW = Start("what a task imports of Airflow", program=_AIRFLOW)
POLL_TASK = Start("the same and what our poll's task imports", program=f"{_TASK}poll")
RECONCILE_TASK = Start("the same and what our reconciliation's task imports", program=f"{_TASK}reconcile")
STARTS = (HELP, POLL, RECONCILE, AIRFLOW, POLL_TASK, RECONCILE_TASK)


@dataclass(frozen=True)
class Process:
    """One process from its start to its end.

    :param seconds: by the clock on the wall.
    :param cpu_seconds: of itself and its children.
    """

    seconds: float
    cpu_seconds: float


@dataclass
class StartRuns:
    """All processes, by kind."""

    runs: dict[Start, list[Process]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, start: Start) -> list[Process]:
        """Return the processes of one kind."""
        return self.runs.get(start, [])


def measure_starts(warehouse: Warehouse, installs: int, repeat: int, say: Callable[[str], None]) -> StartRuns:
    """Poll a company and reconcile it as some hours ago, then measure processes that find nothing new."""
    result = StartRuns()
    try:
        with (
            running_company(installs) as company,
            tempfile.TemporaryDirectory(prefix="bench-start-") as folder,
        ):
            url = warehouse.migrated(DATABASE)
            make_crm_tables(World(installs, SEED, clock=SystemClock(), per_cause=0), url)
            environment = process_environment(folder) | {
                "ENERFLO_BASE_URL": company.url,
                "ENERFLO_API_KEY": API_KEY,
                "WAREHOUSE_URL": url,
                "ENERFLO_SYNC_CONFIG": str(ROOT / "include" / "config" / "sync.yaml"),
            }
            environment["PYTHONPATH"] += f"{os.pathsep}{ROOT / 'plugins'}"
            # The command would open Airflow's connections otherwise.
            for_command = {name: value for name, value in environment.items() if name != "AIRFLOW_HOME"}
            output = Path(folder) / "output"
            _load(company.url, url)
            # The first process compiles what it imports.
            for start in (POLL, RECONCILE):
                _run(start, for_command, output)
            warehouse.settle()
            for number in range(repeat * PROCESSES_A_ROUND):
                for start in STARTS:
                    given = for_command if start.words else environment
                    result.runs.setdefault(start, []).append(_run(start, given, output))
                    check(start, output, installs)
                if number % PROCESSES_A_ROUND == 0:
                    seconds = ", ".join(f"{one.name} {result.of(one)[-1].seconds:.2f} s" for one in STARTS)
                    say(f"start-up: {seconds}")
    except (CouldNotMeasureError, WrongResultError) as error:
        result.failures.append(f"start-up: {error}")
        say(f"NOT MEASURED: {result.failures[-1]}")
    finally:
        warehouse.drop(DATABASE)
    return result


class _HoursAgo(SystemClock):
    def now(self) -> datetime:
        return super().now() - _QUIET


def _load(company_url: str, warehouse_url: str) -> None:
    """Read the whole company, and reconcile it, as long ago as no reconciliation looks back."""
    path = ROOT / "include" / "config" / "sync.yaml"
    credentials = Credentials(lambda: company_url, lambda: API_KEY, lambda: warehouse_url)
    context = AccountContext("default", load_config(path, {}), path, credentials, clock=_HoursAgo())
    try:
        run_poll(context)
        run_reconcile(context)
    finally:
        context.engine.dispose()


def _run(start: Start, environment: Mapping[str, str], output: Path) -> Process:
    with output.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", start.program, *start.words],
            cwd=output.parent,
            env=dict(environment),
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise CouldNotMeasureError(f"{start.name} ended with {process.returncode}")
    return Process(seconds, usage.ru_utime + usage.ru_stime)


def check(start: Start, output: Path, installs: int) -> None:
    """Return when a command told that it found nothing new.

    :raises WrongResultError: it told something else.
    """
    if start not in (POLL, RECONCILE):
        return
    told: dict[str, Any] = json.loads(output.read_bytes())
    if start is POLL:
        expect(start.name, "records unchanged", told["unchanged"], installs)
    else:
        expect(start.name, "scope", told["scope"], "incremental")
        expect(start.name, "differences", told["differences"], 0)
