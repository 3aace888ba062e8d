"""The section of many accounts."""

from __future__ import annotations

import statistics

from benchmarks.accounts import AccountRuns, Round, Step
from benchmarks.figures import memory_target, three
from benchmarks.measure import spread
from benchmarks.results import Section, at_most

# What is promised: of accounts of so many installs, whatever number of them was measured.
MANY_ACCOUNTS = 200
INSTALLS = 5_000
MOST_MINUTES = 15.0
# Tables whose size is told.
_SHOWN = 6


def account_section(result: AccountRuns) -> Section:
    """Return the section of accounts that are polled, reconciled and planned."""
    section = Section(
        f"Accounts: {result.accounts:,} x {result.installs:,} installs in one warehouse",
        f"Each task is a process of its own, {result.at_once} at once, and reads the configuration of all"
        " accounts. A poll reads all that the shipped configuration has; a plan compares installs and"
        " milestones, of which one install in a hundred differs, decides and stores. The limit of 300"
        " requests a minute is lifted: each account has its own.",
        ("round", "task", "seconds", "whole process, s", "requests", "peak RSS, MB"),
    )
    for round_ in Round:
        for step in Step:
            if runs := result.of(round_, step):
                asked = statistics.median(run.counts.get("requests", 0) for run in runs)
                section.rows.append(
                    [
                        str(round_),
                        str(step),
                        three(spread(runs, "seconds")),
                        three(spread(runs, "wall_seconds")),
                        f"{asked:.0f}",
                        f"{spread(runs, 'peak_rss_mb').high:.0f}",
                    ]
                )
    for round_ in Round if result.installs == INSTALLS else ():
        seconds = result.cpu_seconds.get(round_)
        minutes = None if seconds is None else seconds / result.at_once / 60 * MANY_ACCOUNTS / result.accounts
        what = f"{MANY_ACCOUNTS} accounts, {round_}: machine time"
        section.targets.append(at_most(what, MOST_MINUTES, minutes, "minutes"))
    section.targets.append(memory_target([run for runs in result.runs.values() for run in runs]))
    section.notes += [
        f"{round_.capitalize()}: all accounts took {result.seconds[round_]:.0f} s by the clock and"
        f" {result.cpu_seconds[round_]:.0f} s of CPU, the start of every process and PostgreSQL included;"
        f" machine time is the CPU's by {result.at_once} cores."
        for round_ in Round
        if round_ in result.seconds
    ]
    section.notes += [_room(result, round_) for round_ in Round if round_ in result.bytes_of]
    section.notes.append(
        f"Each line is of {result.accounts:,} processes, one of each account. The rounds come one after the"
        " other in one warehouse, and are not repeated: a machine time is the sum over"
        f" {result.accounts * len(Step):,} processes."
    )
    if result.accounts != MANY_ACCOUNTS and result.installs == INSTALLS:
        section.notes.append(
            f"{result.accounts} accounts were measured; the minutes of {MANY_ACCOUNTS} are computed from"
            " theirs by proportion."
        )
    return section


def _room(result: AccountRuns, round_: Round) -> str:
    """Say what an install takes on the disk, and the tables that take most of it."""
    sizes, installs = result.bytes_of[round_], result.accounts * result.installs
    largest = sorted(sizes.items(), key=lambda one: -one[1])[:_SHOWN]
    tables = ", ".join(f"{name} {size / installs:,.0f}" for name, size in largest)
    return f"Bytes an install, {round_}: {sum(sizes.values()) / installs:,.0f} in all; {tables}."
