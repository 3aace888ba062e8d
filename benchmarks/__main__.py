"""``python -m benchmarks``: measure, print the tables, and optionally write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks.account_section import account_section
from benchmarks.accounts import measure_accounts
from benchmarks.backfill_section import backfill_section
from benchmarks.backfills import FULL, QUICK, BackfillBench
from benchmarks.check_sections import check_section
from benchmarks.checks import ChecksBench
from benchmarks.company import running_company
from benchmarks.compares import CompareBench, CompareRuns
from benchmarks.copies import CopyBench
from benchmarks.copy_section import copy_section
from benchmarks.inbox import InboxBench
from benchmarks.latency import measure_latency
from benchmarks.loads import LoadBench, Say, Stage
from benchmarks.memory import MANY_INSTALLS, measure_polls
from benchmarks.page import document, render
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
from benchmarks.warehouse import Warehouse, embedded_warehouse

# The rebuilt mirror is a company so many times over.
REBUILD_COPIES = 20
# Accounts, and installs of each.
QUICK_ACCOUNTS = (10, 1_000)
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_STAGES = {
    "poll": frozenset({Stage.FIRST}),
    "repoll": frozenset({Stage.UNCHANGED, Stage.CHANGED}),
    "all": frozenset(Stage),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen sections and return the exit code.

    1 says that something could not be measured or was wrong; a target that is missed says nothing.
    """
    options = _options(arguments)
    report, facts = Report(), []
    started, load_before = time.monotonic(), os.getloadavg()[0]

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    say("starting PostgreSQL")
    with embedded_warehouse() as warehouse:
        settings = warehouse.settings()
        if options.section in _STAGES:
            facts += _loads(warehouse, options, report, say)
        if options.section in {"start", "all"}:
            started_up = measure_starts(warehouse, options.installs, options.repeat, say)
            report.failures += started_up.failures
            report.sections.append(start_section(started_up, options.installs))
        compared = None
        if options.section in {"reconcile", "all"}:
            compared = _compares(warehouse, options, report, say)
        if options.section in {"copies", "all"}:
            copied = CopyBench(warehouse, options.rows, say).run(options.repeat)
            report.failures += copied.failures
            report.sections.append(copy_section(copied, options.rows))
        if options.section in {"pages", "all"}:
            shown = measure_pages(warehouse, options.rows, options.repeat, say)
            report.failures += shown.failures
            report.sections.append(page_section(shown, options.rows))
        if options.section in {"plan", "all"}:
            _plans(warehouse, options, report, say)
        if options.section in {"checks", "all"}:
            _checks(warehouse, options, report, say)
        if options.section in {"inbox", "all"}:
            _inbox(warehouse, options, report, say)
        if options.section in {"rebuild", "all"}:
            installs = options.installs if options.quick else MANY_INSTALLS
            rebuilt = measure_rebuilds(
                warehouse, installs // REBUILD_COPIES, REBUILD_COPIES, options.repeat, say
            )
            report.failures += rebuilt.failures
            report.sections.append(rebuild_section(rebuilt))
        if options.section in {"backfill", "all"}:
            _backfills(warehouse, options, report, say)
        if options.section in {"accounts", "all"}:
            accounts, installs = (
                QUICK_ACCOUNTS if options.quick else (options.accounts, options.account_installs)
            )
            many = measure_accounts(warehouse, accounts, installs, say)
            report.failures += many.failures
            report.sections.append(account_section(many))
        if options.section in {"memory", "all"}:
            sizes = (options.installs,) if options.quick else (options.installs, MANY_INSTALLS)
            runs = measure_polls(warehouse, sizes, say)
            report.failures += runs.failures
            report.sections.append(memory_section(runs, compared, options.rows))
    # Last and without the benchmark's server: Airflow takes what the machine has.
    if options.section == "latency" or (options.section == "all" and options.write and not options.quick):
        latency = measure_latency(options.latency_files, say)
        report.failures += latency.failures
        report.sections.append(latency_section(latency))
    say("done")
    print(render(report))
    if options.write:
        command = " ".join(["python -m benchmarks", *(arguments if arguments is not None else sys.argv[1:])])
        load = (load_before, os.getloadavg()[0])
        PAGE.write_text(document(report, command=command, server=settings, load=load, facts=facts))
        say(f"written to {PAGE}")
    for failure in report.failures:
        print(f"benchmarks: {' '.join(failure.split())}", file=sys.stderr)
    return 1 if report.failures else 0


def _loads(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> list[str]:
    say(f"making a company of {options.installs:,} installs")
    with running_company(options.installs) as company:
        size = company.bytes_of_one()
        bench = LoadBench(warehouse, company, say, _STAGES[options.section])
        bench.choose_page_sizes()
        for number in range(options.repeat):
            say(f"loads: round {number + 1} of {options.repeat}")
            bench.round()
    for stage in Stage:
        if stage in bench.stages:
            report.sections.append(load_section(stage, bench.result, options.installs))
    report.failures += bench.result.failures
    return [f"Data: generated installs of {size:,} bytes of JSON each, no network latency"]


def _compares(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> CompareRuns:
    bench = CompareBench(warehouse, options.rows, say)
    with bench.planted():
        for number in range(options.repeat):
            say(f"reconcile: round {number + 1} of {options.repeat}")
            bench.round()
    report.sections.append(compare_section(bench.result, options.rows))
    report.failures += bench.result.failures
    return bench.result


def _plans(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> None:
    bench = PlanBench(warehouse, options.rows, say)
    with bench.planted():
        for number in range(options.repeat):
            say(f"plan: round {number + 1} of {options.repeat}")
            bench.round()
    pushed = measure_push(warehouse, FEW_CHANGES if options.quick else MANY_CHANGES, say)
    report.sections += [plan_section(bench.result, options.rows), push_section(pushed)]
    report.failures += [*bench.result.failures, *pushed.failures]


def _checks(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> None:
    bench = ChecksBench(warehouse, options.rows, say)
    with bench.planted():
        for number in range(options.repeat):
            say(f"checks: round {number + 1} of {options.repeat}")
            bench.round()
    report.sections.append(check_section(bench.result))
    report.failures += bench.result.failures


def _inbox(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> None:
    bench = InboxBench(warehouse, options.files, say)
    with bench.planted():
        for number in range(options.repeat):
            say(f"inbox: round {number + 1} of {options.repeat}")
            bench.round()
    report.sections.append(inbox_section(bench.result, bench.files, bench.few))
    report.failures += bench.result.failures


def _backfills(warehouse: Warehouse, options: argparse.Namespace, report: Report, say: Say) -> None:
    result = BackfillBench(warehouse, QUICK if options.quick else FULL, say).run()
    report.sections.append(backfill_section(result))
    report.failures += result.failures


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__)
    sections = ["poll", "repoll", "reconcile", "copies", "pages", "plan", "checks", "memory", "inbox"]
    sections += ["start", "rebuild", "backfill", "accounts", "latency", "all"]
    parser.add_argument("section", nargs="?", default="all", choices=sections)
    parser.add_argument("--installs", type=int, default=10_000, help="installs of the company (10,000)")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows to reconcile and to check (1,000,000)"
    )
    parser.add_argument("--files", type=int, default=100_000, help="files in the drop (100,000)")
    parser.add_argument("--latency-files", type=int, default=50, help="files dropped one by one (50)")
    parser.add_argument("--accounts", type=int, default=200, help="accounts in one warehouse (200)")
    parser.add_argument("--account-installs", type=int, default=5_000, help="installs of each (5,000)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; figures are medians (3)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="poll and rebuild --installs and not 200,000, leave out Airflow's latency, push for one minute,"
        " not two, backfill 200,000 installs, not 500,000, and take 10 accounts of 1,000 installs",
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if options.installs < 100 or options.rows < 1000 or options.rows % 1000 or options.repeat < 1:
        parser.error("--installs ≥ 100, --rows a multiple of 1,000, --repeat ≥ 1")
    if options.accounts < 1 or options.account_installs < 100:
        parser.error("--accounts ≥ 1, --account-installs ≥ 100")
    if options.files < 500 or options.files % 500 or options.latency_files < 1:
        parser.error("--files a multiple of 500, --latency-files ≥ 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
