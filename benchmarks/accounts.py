"""Many accounts in one warehouse: each is polled, reconciled and planned by processes of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from benchmarks.company import API_KEY, Company, running_company
from benchmarks.jobs import AccountJob
from benchmarks.measure import CouldNotMeasureError, Measurement, run_fresh
from benchmarks.results import WrongResultError, expect
from benchmarks.warehouse import Warehouse

Say = Callable[[str], None]
DATABASE = "bench_accounts"
MODULE = "benchmarks.peers.ours_account"
# One CRM row in so many says something else than Enerflo.
DIFFERS_PER = 100

_DEFAULTS = """
version: 1
reconcile: {in_flight_minutes: 0}
defaults:
  base_url: ${ENERFLO_BASE_URL}
  api_key: ${ENERFLO_API_KEY}
  warehouse_url: ${WAREHOUSE_URL}
  mode: crm
tables:
  installs:
    crm_table: crm.installs
    key: {install_id: install_id}
    fields:
      deal_id: {enerflo: deal_id, type: text, source_of_truth: enerflo}
      customer_name: {enerflo: customer_name, type: text, trim: true, source_of_truth: enerflo}
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: enerflo}
      system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.005, source_of_truth: enerflo}
      panel_type: {enerflo: panel_type, type: text, trim: true, fold_case: true, source_of_truth: enerflo}
      panel_count: {enerflo: panel_count, type: integer, null_overwrites: true, source_of_truth: enerflo}
      battery_configuration: {enerflo: battery_configuration, type: text, source_of_truth: enerflo}
      contract_amount: {enerflo: contract_amount, type: number, tolerance: 0.005, source_of_truth: enerflo}
  milestones:
    crm_table: crm.milestones
    key: {install_id: install_id, milestone_id: milestone_id}
    fields:
      title: {enerflo: title, type: text, trim: true, fold_case: true, source_of_truth: enerflo}
      started_at: {enerflo: started_at, type: timestamp, precision: second, source_of_truth: enerflo}
      due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: enerflo}
      completed_at: {enerflo: completed_at, type: timestamp, precision: second, source_of_truth: enerflo}
accounts:
"""
_ACCOUNT = """  {name}:
    tables:
      installs: {{crm_table: {name}.installs}}
      milestones: {{crm_table: {name}.milestones}}
"""
_CRM = (
    "create schema {name}",
    "create table {name}.installs as select install_id, deal_id, customer_name, status_name as status,"
    " system_size_kw, panel_type, panel_count, battery_configuration, contract_amount"
    " from enerflo.installs where account = '{name}'",
    "create table {name}.milestones as select install_id, milestone_id, title, started_at, due_at,"
    " completed_at from enerflo.milestones where account = '{name}'",
    "alter table {name}.installs add primary key (install_id)",
    "alter table {name}.milestones add primary key (install_id, milestone_id)",
    "update {name}.installs set panel_count = coalesce(panel_count, 0) + 1 where install_id in"
    " (select install_id from {name}.installs order by install_id limit {differing})",
)
# By table, of the mirror and of our own tables, with their indexes.
_SIZES = """
select coalesce(json_object_agg(t.relid::regclass::text, pg_total_relation_size(t.relid)), '{}')
from pg_stat_user_tables t where t.schemaname in ('enerflo', 'sync')
"""
_LEFT = """
select (select count(*) from enerflo.installs where deleted_at is null),
       (select count(*) from sync.plans p where p.state in ('open', 'approved') and p.change_count > 0)
"""


class Round(StrEnum):
    """What is measured, in this order."""

    FIRST = "first load, everything compared"
    AGAIN = "again, 1 % changed"


class Step(StrEnum):
    """The tasks of one account, as its DAGs have them; a plan reconciles first."""

    POLL = "poll"
    PLAN = "reconcile and plan"


@dataclass
class AccountRuns:
    """Everything measured.

    :param at_once: tasks that ran at the same time.
    :param seconds: of a round, by the clock on the wall, with the start of every process.
    :param cpu_seconds: of a round, of all its processes from their start on and of the server.
    :param bytes_of: each of our tables after a round, with its indexes.
    """

    accounts: int
    installs: int
    at_once: int
    runs: dict[tuple[Round, Step], list[Measurement]] = field(default_factory=dict)
    seconds: dict[Round, float] = field(default_factory=dict)
    cpu_seconds: dict[Round, float] = field(default_factory=dict)
    bytes_of: dict[Round, dict[str, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def of(self, round_: Round, step: Step) -> list[Measurement]:
        """Return the runs of one step in one round."""
        return self.runs.get((round_, step), [])


def measure_accounts(warehouse: Warehouse, accounts: int, installs: int, say: Say) -> AccountRuns:
    """Poll, reconcile and plan every account twice, and check what each of them found.

    All accounts read one simulated company, and each has a mirror and CRM tables of its own.
    """
    result = AccountRuns(accounts, installs, at_once=len(os.sched_getaffinity(0)))
    bench = _Bench(warehouse, result, say)
    say(f"accounts: making a company of {installs:,} installs")
    try:
        with running_company(installs) as company, tempfile.TemporaryDirectory(prefix="bench-config-") as at:
            bench.begin(company, Path(at) / "sync.yaml")
            bench.first()
            bench.again()
    except (CouldNotMeasureError, WrongResultError) as error:
        # Figures of work that was not done are none.
        for figures in (result.runs, result.seconds, result.cpu_seconds, result.bytes_of):
            figures.clear()
        result.failures.append(f"accounts: {error}")
        say(f"NOT MEASURED: {error}")
    finally:
        warehouse.drop(DATABASE)
    return result


class _Bench:
    def __init__(self, warehouse: Warehouse, result: AccountRuns, say: Say) -> None:
        self._warehouse = warehouse
        self._result = result
        self._say = say
        self._names = [f"a{number:04}" for number in range(result.accounts)]

    def begin(self, company: Company, config: Path) -> None:
        """Make the warehouse and the configuration."""
        self._company, self._config = company, config
        self._url = self._warehouse.migrated(DATABASE)
        config.write_text(_DEFAULTS + "".join(_ACCOUNT.format(name=name) for name in self._names))
        self._differing = self._result.installs // DIFFERS_PER

    def first(self) -> None:
        """Load every account, and plan over CRM tables of which one row in a hundred differs."""
        self._all(Round.FIRST, Step.POLL)
        for name in self._names:
            statements = [one.format(name=name, differing=self._differing) for one in _CRM]
            self._warehouse.execute(DATABASE, *statements)
        self._warehouse.execute(DATABASE, "vacuum (analyze)")
        self._all(Round.FIRST, Step.PLAN)
        self._expect_changes(Round.FIRST, self._differing)

    def again(self) -> None:
        """Let some installs change at Enerflo, and do everything once more."""
        changed = self._company.change(max(1, self._differing))
        for step in Step:
            self._all(Round.AGAIN, step)
        # What the first plans would change is not done yet, and is of another field.
        self._expect_changes(Round.AGAIN, self._differing + changed)

    def _all(self, round_: Round, step: Step) -> None:
        """Run a step of every account, as many at once as there are cores."""
        self._warehouse.settle()
        self._say(f"accounts: {round_}: {step}: {len(self._names)} tasks, {self._result.at_once} at once")
        began, cpu = time.perf_counter(), self._cpu()
        with ThreadPoolExecutor(self._result.at_once) as pool:
            runs = list(pool.map(lambda name: self._task(name, step), self._names))
        seconds, cpu = time.perf_counter() - began, self._cpu() - cpu
        result = self._result
        result.runs[round_, step] = runs
        result.seconds[round_] = result.seconds.get(round_, 0.0) + seconds
        result.cpu_seconds[round_] = result.cpu_seconds.get(round_, 0.0) + cpu
        for name, run in zip(self._names, runs, strict=True):
            expect(f"account {name}", "state", run.counts["state"], "ok")
            if step is Step.POLL:
                expect(f"account {name}", "installs", run.counts["installs"], self._result.installs)
        peak = max(run.peak_rss_mb for run in runs)
        self._say(f"accounts: {seconds:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MB a task")

    def _cpu(self) -> float:
        # Of the processes that have ended: the company goes on.
        ended = os.times()
        return ended.children_user + ended.children_system + self._warehouse.cpu_seconds()

    def _task(self, name: str, step: Step) -> Measurement:
        job = AccountJob(self._company.url, API_KEY, self._url, str(self._config), name, step is Step.PLAN)
        return run_fresh(MODULE, job, server_cpu=lambda: 0.0)

    def _expect_changes(self, round_: Round, changes: int) -> None:
        for name, run in zip(self._names, self._result.of(round_, Step.PLAN), strict=True):
            expect(f"account {name}, {round_}", "planned changes", run.counts["changes"], changes)
        found = self._warehouse.row(DATABASE, _LEFT)
        accounts = self._result.accounts
        (self._result.bytes_of[round_],) = self._warehouse.row(DATABASE, _SIZES)
        expect(f"{round_}", "installs, plans", found, (accounts * self._result.installs, accounts))
