"""``python -m benchmarks``: measure, print the tables, and optionally write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catalogue import PARTS, Part
from benchmarks.loads import Say
from benchmarks.page import PageError, document, machine, part, parts_of, render, versions
from benchmarks.results import Report
from benchmarks.runs import Run, Told
from benchmarks.warehouse import Warehouse, embedded_warehouse

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
# Rounds of a run that the page should be of.
ROUNDS = 3


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen sections and return the exit code.

    1 says that something could not be measured or was wrong; a target that is missed says nothing. With
    ``--write`` each section's part is written as soon as it ends: an interrupted run keeps those before.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = _options(words)
    try:
        # Before hours of measuring, not after.
        parts = parts_of(_page()) if options.list or options.write or options.render else {}
    except PageError as error:
        print(f"benchmarks: {PAGE.name}: {error}", file=sys.stderr)
        return 1
    if options.list:
        print(_listed(parts))
        return 0
    if options.render:
        _save(parts)
        return 0
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", file=sys.stderr, flush=True)

    chosen = [one for one in PARTS if options.section in (one.name, "all")]
    if options.section == "all":
        chosen = [one for one in chosen if one.quick or (options.write and not options.quick)]
    failures: list[str] = []
    with_server = [one for one in chosen if one.server]
    if with_server:
        say("starting PostgreSQL")
        with embedded_warehouse() as warehouse:
            for one in with_server:
                failures += _measured(one, warehouse, warehouse.settings(), options, words, say)
    for one in chosen:
        if not one.server:
            failures += _measured(one, None, {}, options, words, say)
    say("done")
    for failure in failures:
        print(f"benchmarks: {' '.join(failure.split())}", file=sys.stderr)
    return 1 if failures else 0


def _measured(
    one: Part,
    warehouse: Warehouse | None,
    settings: Mapping[str, str],
    options: argparse.Namespace,
    words: Sequence[str],
    say: Say,
) -> list[str]:
    """Measure one section, print it, write its part where that is asked for, and return what failed."""
    say(f"{one.name}: about {one.minutes} minutes in full")
    began, load_before = time.monotonic(), os.getloadavg()[0]
    report = one.measure(warehouse, options, say)
    print(render(report), flush=True)
    if options.write:
        run = Run(
            section=one.name,
            command=" ".join(["python -m benchmarks", *words]),
            size=_size(options),
            samples=report.samples or _counted(options.repeat),
            ended=datetime.now(UTC),
            minutes=(time.monotonic() - began) / 60,
            machine=machine(),
            load=(load_before, os.getloadavg()[0]),
            versions=versions(),
            server=settings,
        )
        _write(report, run)
        say(f"{one.name}: written to {PAGE.name}")
    return report.failures


def _write(report: Report, run: Run) -> None:
    _save(parts_of(_page()) | {run.section: part(report, run)})


def _save(parts: Mapping[str, str]) -> None:
    PAGE.write_text(document(parts, [one.name for one in PARTS]))


def _page() -> str:
    return PAGE.read_text() if PAGE.exists() else ""


def _counted(rounds: int) -> str:
    return "1 round" if rounds == 1 else f"{rounds} rounds"


def _size(options: argparse.Namespace) -> str:
    if options.quick:
        return "quick"
    whole = _parser().parse_args([])
    sizes = ("installs", "rows", "files", "latency_files", "accounts", "account_installs")
    return "full" if all(getattr(options, name) == getattr(whole, name) for name in sizes) else "other sizes"


def _listed(parts: Mapping[str, str]) -> str:
    """Say what each section measures, and how long three full rounds took by the page, or may take."""
    lines, total = [], 0.0
    for one in PARTS:
        took = _took(parts.get(one.name, ""))
        total += took or one.minutes
        length = f"{took:.1f} minutes, measured" if took else f"{one.minutes} minutes, estimated"
        lines.append(f"{one.name:<10} {length:<23} {one.measures}")
    return "\n".join(
        [
            "What three full rounds take on a quiet machine of two cores; measured: by the run on the page.",
            *lines,
            f"{'all':<10} {f'{total:.0f} minutes':<23} each of them, one after the other",
        ]
    )


def _took(text: str) -> float | None:
    """Return the minutes of a part that is of a full run; None where the part is of another or is missing."""
    told = Told.of(text)
    if told is None or told.size != "full":
        return None
    return told.minutes if told.samples == _counted(ROUNDS) or told.samples.endswith("a line") else None


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.installs < 100 or options.rows < 1000 or options.rows % 1000 or options.repeat < 1:
        parser.error("--installs ≥ 100, --rows a multiple of 1,000, --repeat ≥ 1")
    if options.accounts < 1 or options.account_installs < 100:
        parser.error("--accounts ≥ 1, --account-installs ≥ 100")
    if options.files < 500 or options.files % 500 or options.latency_files < 1:
        parser.error("--files a multiple of 500, --latency-files ≥ 1")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("benchmarks", description=__doc__)
    sections = [*(one.name for one in PARTS), "all"]
    parser.add_argument("section", nargs="?", default="all", choices=sections)
    parser.add_argument("--list", action="store_true", help="say what each section measures, and how long")
    parser.add_argument("--render", action="store_true", help="write the page's head anew, measure nothing")
    parser.add_argument("--installs", type=int, default=10_000, help="installs of the company (10,000)")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows to reconcile and to check (1,000,000)"
    )
    parser.add_argument("--files", type=int, default=100_000, help="files in the drop (100,000)")
    parser.add_argument("--latency-files", type=int, default=50, help="files dropped one by one (50)")
    parser.add_argument("--accounts", type=int, default=200, help="accounts in one warehouse (200)")
    parser.add_argument("--account-installs", type=int, default=5_000, help="installs of each (5,000)")
    parser.add_argument("--repeat", type=int, default=ROUNDS, help=f"rounds; figures are medians ({ROUNDS})")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="poll and rebuild --installs and not 200,000, leave out Airflow's latency, push for one minute,"
        " not two, backfill 200,000 installs, not 500,000, and take 10 accounts of 1,000 installs",
    )
    parser.add_argument("--write", action="store_true", help="write the section's part of docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
