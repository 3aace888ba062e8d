"""The sections that can be measured, in the order of the page, and what each of them runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.account_section import account_section
from benchmarks.accounts import measure_accounts
from benchmarks.backfill_section import backfill_section
from benchmarks.backfills import FULL, QUICK, BackfillBench
from benchmarks.check_sections import check_section
from benchmarks.checks import ChecksBench
from benchmarks.company import running_company
from benchmarks.compares import CompareBench
from benchmarks.copies import CopyBench
from benchmarks.copy_section import copy_section
from benchmarks.inbox import InboxBench
from benchmarks.latency import measure_latency
from benchmarks.loads import LoadBench, Say, Stage
from benchmarks.memory import MANY_INSTALLS, measure_polls
from benchmarks.page_section import page_section
from benchmarks.pages import measure_pages
from benchmarks.plan_sections import plan_section, push_section
from benchmarks.plans import PlanBench
from benchmarks.pushes import FEW_CHANGES, MANY_CHANGES, measure_push
from benchmarks.rebuild_section import rebuild_section
from benchmarks.rebuilds import measure_rebuilds
from benchmarks.results import Report
from benchmarks.sections import compare_section, inbox_section, latency_section, load_section, memory_section
from benchmarks.start_section import start_section
from benchmarks.starts import measure_starts
from benchmarks.warehouse import Warehouse

# The rebuilt mirror is a company so many times over.
REBUILD_COPIES = 20
# Accounts, and installs of each.
QUICK_ACCOUNTS = (10, 1_000)
# What a section runs: of the benchmark's server, which is None for one that needs none, and the options.
Measure = Callable[[Any, argparse.Namespace, Say], Report]


@dataclass(frozen=True)
class Part:
    """One section of the command, and the part of the page that it writes.

    :param measures: in words, for ``--list``.
    :param minutes: what three full rounds take on two idle cores, estimated.
    :param server: whether it is measured with the benchmark's PostgreSQL.
    :param quick: whether ``all --quick`` measures it too.
    """

    name: str
    measures: str
    minutes: int
    measure: Measure
    server: bool = True
    quick: bool = True


def _loads(*stages: Stage) -> Measure:
    def measure(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
        say(f"making a company of {options.installs:,} installs")
        with running_company(options.installs) as company:
            size = company.bytes_of_one()
            bench = LoadBench(warehouse, company, say, frozenset(stages))
            bench.choose_page_sizes()
            _rounds(bench.round, options, say)
        sections = [load_section(stage, bench.result, options.installs) for stage in stages]
        sections[0].notes.append(f"Generated installs of {size:,} bytes of JSON each, no network latency.")
        return Report(sections, bench.result.failures)

    return measure


def _rounds(measure: Callable[[], None], options: argparse.Namespace, say: Say) -> None:
    for number in range(options.repeat):
        say(f"round {number + 1} of {options.repeat}")
        measure()


def _start(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    result = measure_starts(warehouse, options.installs, options.repeat, say)
    return Report([start_section(result, options.installs)], result.failures)


def _reconcile(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    bench = CompareBench(warehouse, options.rows, say)
    with bench.planted():
        _rounds(bench.round, options, say)
    return Report([compare_section(bench.result, options.rows)], bench.result.failures)


def _copies(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    result = CopyBench(warehouse, options.rows, say).run(options.repeat)
    return Report([copy_section(result, options.rows)], result.failures)


def _pages(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    result = measure_pages(warehouse, options.rows, options.repeat, say)
    return Report([page_section(result, options.rows)], result.failures)


def _plan(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    bench = PlanBench(warehouse, options.rows, say)
    with bench.planted():
        _rounds(bench.round, options, say)
    return Report([plan_section(bench.result, options.rows)], bench.result.failures)


def _push(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    changes = FEW_CHANGES if options.quick else MANY_CHANGES
    result = measure_push(warehouse, changes, options.repeat, say)
    return Report([push_section(result)], result.failures)


def _checks(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    bench = ChecksBench(warehouse, options.rows, say)
    with bench.planted():
        _rounds(bench.round, options, say)
    return Report([check_section(bench.result)], bench.result.failures)


def _inbox(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    bench = InboxBench(warehouse, options.files, say)
    with bench.planted():
        _rounds(bench.round, options, say)
    return Report([inbox_section(bench.result, bench.files, bench.few)], bench.result.failures)


def _rebuild(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    installs = options.installs if options.quick else MANY_INSTALLS
    result = measure_rebuilds(warehouse, installs // REBUILD_COPIES, REBUILD_COPIES, options.repeat, say)
    return Report([rebuild_section(result)], result.failures)


def _backfill(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    result = BackfillBench(warehouse, QUICK if options.quick else FULL, say).run(options.repeat)
    return Report([backfill_section(result)], result.failures)


def _accounts(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    accounts, installs = QUICK_ACCOUNTS if options.quick else (options.accounts, options.account_installs)
    result = measure_accounts(warehouse, accounts, installs, say)
    return Report([account_section(result)], result.failures, f"1 of {accounts} processes a line")


def _memory(warehouse: Warehouse, options: argparse.Namespace, say: Say) -> Report:
    sizes = (options.installs,) if options.quick else (options.installs, MANY_INSTALLS)
    result = measure_polls(warehouse, sizes, options.repeat, say)
    return Report([memory_section(result)], result.failures)


def _latency(_: None, options: argparse.Namespace, say: Say) -> Report:
    result = measure_latency(options.latency_files, say)
    return Report([latency_section(result)], result.failures, f"1 of {options.latency_files} files a line")


PARTS = (
    Part("poll", "first load of 10,000 installs: ours, dlt, HttpHook with pandas", 3, _loads(Stage.FIRST)),
    Part(
        "repoll",
        "the same again with nothing and with 1 % changed",
        6,
        _loads(Stage.UNCHANGED, Stage.CHANGED),
    ),
    Part("start", "whole processes of the command line that find nothing new", 4, _start),
    Part("reconcile", "1,000,000 rows, full and incremental: ours, datacompy, reladiff", 4, _reconcile),
    Part("copies", "a CRM of 1,000,000 rows in DuckDB and MariaDB: copy, re-check, reladiff", 10, _copies),
    Part("pages", "the pages in Airflow over 1,000,000 installs and two years of runs", 5, _pages),
    Part("plan", "plan and apply of 10,000 changes, beside loops of UPDATEs", 5, _plan),
    Part("push", "250 changes to Enerflo in 300 requests a minute", 7, _push),
    Part("checks", "1,000,000 change orders: ours, Great Expectations on pandas", 6, _checks),
    Part("inbox", "100,000 files: ours and a loop", 5, _inbox),
    Part("rebuild", "200,000 installs from raw versions, on one core", 6, _rebuild),
    Part(
        "backfill",
        "500,000 installs in 300 requests a minute, beside live polls, after a kill",
        35,
        _backfill,
    ),
    Part("accounts", "200 accounts of 5,000 installs; one round, each line of 200 processes", 25, _accounts),
    Part("memory", "peak memory of polls of 10,000 and of 200,000 installs", 5, _memory),
    # Last, and without the benchmark's server: Airflow takes what the machine has.
    Part(
        "latency",
        "from a dropped file to the CRM's row with a running Airflow: 50 files",
        14,
        _latency,
        server=False,
        quick=False,
    ),
)
