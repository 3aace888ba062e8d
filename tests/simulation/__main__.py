"""Run many seeds on all cores: ``make simulate SEEDS=1000 [FROM=0] [HOURS=24]``."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.memory import keep_temporary_files_in_memory
from tests.simulation.many import simulate
from tests.simulation.troubles import SWITCHED_ON, Trouble


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds")
    parser.add_argument("--hours", type=float, default=24, help="simulated hours a seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--both-ways", action="store_true", help="with a CRM that is edited, plans and writes"
    )
    parser.add_argument(
        "--among",
        type=Trouble,
        nargs="*",
        default=SWITCHED_ON,
        choices=list(Trouble),
        help="kinds of trouble that seeds draw from",
    )
    parser.add_argument(
        "--always",
        type=Trouble,
        nargs="*",
        default=(),
        choices=list(Trouble),
        help="those that each seed has",
    )
    parser.add_argument("--story", action="store_true", help="print every job of a failing seed")
    options = parser.parse_args()
    keep_temporary_files_in_memory()
    began, busy, failed, jobs, harmed, events, done = time.perf_counter(), 0.0, 0, 0, 0, 0, 0
    for outcome in simulate(
        options.first,
        options.seeds,
        options.hours,
        options.workers,
        both_ways=options.both_ways,
        among=frozenset(options.among),
        always=frozenset(options.always),
    ):
        done += 1
        busy += outcome.seconds
        jobs, harmed, events = jobs + outcome.jobs, harmed + outcome.harmed, events + outcome.events
        if outcome.problem is not None:
            failed += 1
            print(f"\nseed {outcome.seed} fails: {outcome.problem}\nrepeat it with: {outcome.command}")
            if options.story:
                print("\n".join(outcome.story))
        if sys.stderr.isatty():
            print(f"\r{done} of {options.seeds} seeds, {failed} failed", end="", file=sys.stderr, flush=True)
    days = done * options.hours / 24
    print(
        f"\n{done} seeds, {days:.0f} simulated days in {time.perf_counter() - began:.0f} s:"
        f" {days / busy:.2f} days a second and core; {jobs} jobs ({harmed} of them killed or cut off),"
        f" {events} webhooks; {failed} seeds failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
