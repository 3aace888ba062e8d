"""The sections of plan, apply and push."""

from __future__ import annotations

from benchmarks.figures import cpu, highest, memory_target, middle, ratio, three, times, whole
from benchmarks.measure import Measurement, Spread, spread
from benchmarks.plans import APPLY, CHANGED_PER, NAIVE, NOTING, PLAN, RECONCILE, PlanRuns, Step
from benchmarks.pushes import LIMIT_A_MINUTE, PushRuns
from benchmarks.results import Section, at_least, at_least_percent, at_most

MOST_PLAN_MB = 200.0
# A plan and the reconciliation that it stands on: neither takes more than so many times the other's seconds.
MOST_TIMES = 1.5
WANTED_PERCENT = 95.0
# Seconds of an answer that is slower than the limit lets requests follow each other.
SLOW_ANSWER = 0.3


def plan_section(result: PlanRuns, rows: int) -> Section:
    """Return the section of plan and apply."""
    changes = rows // CHANGED_PER
    section = Section(
        f"Plan and apply: {rows:,} rows x 12 columns, {changes:,} changes",
        "After CRM rows were edited, each in a page of its own, and Enerflo's values are to stand: the"
        " reconciliation finds them, the plan decides and stores each change, and apply writes them into the"
        " CRM, with a row of the ledger and the agreed values for each, in one transaction. The first loop"
        " writes the CRM only, one row a change; the second one leaves behind what ours does.",
        ("step", "seconds", "ours is", "whole process, s", "CPU client + server, s", "peak RSS, MB"),
    )
    for step in (RECONCILE, PLAN, APPLY, NOTING, NAIVE):
        if runs := result.of(step):
            section.rows.append(_row(step, runs, result.of(APPLY)))
    section.targets = [
        at_most(
            "plan: times the reconciliation", MOST_TIMES, ratio(result.of(PLAN), result.of(RECONCILE)), "x"
        ),
        at_most(
            "the reconciliation: times the plan",
            MOST_TIMES,
            ratio(result.of(RECONCILE), result.of(PLAN)),
            "x",
        ),
        memory_target(result.of(PLAN), MOST_PLAN_MB),
        at_least(
            "the loop that does the same: times our apply", 20, ratio(result.of(NOTING), result.of(APPLY))
        ),
    ]
    return section


def _row(step: Step, runs: list[Measurement], ours: list[Measurement]) -> list[str]:
    is_peer = step in (NOTING, NAIVE)
    return [
        step.name if is_peer else f"**{step.name}**",
        three(spread(runs, "seconds")),
        times(ratio(runs, ours)) if is_peer else "",
        three(spread(runs, "wall_seconds")),
        cpu(runs),
        f"{spread(runs, 'peak_rss_mb').high:.0f}",
    ]


def push_section(result: PushRuns) -> Section:
    """Return the section of the writes to Enerflo."""
    section = Section(
        f"Push: {result.changes:,} status changes in {LIMIT_A_MINUTE} requests a minute",
        "Each change is read, written and read back. One process, with the request budget that all processes"
        " of a key share.",
        ("changes", "seconds", "requests", "requests a change", "in each whole minute", "answered 429"),
    )
    rounds = result.rounds
    runs = [one.run for one in rounds]
    if rounds:
        minutes = "; ".join(", ".join(map(str, one.use.minutes)) or "-" for one in rounds)
        section.rows.append(
            [
                f"{result.changes:,}",
                three(spread(runs, "seconds")),
                whole(spread(runs, "requests")),
                three(Spread.of(run.requests / result.changes for run in runs)),
                minutes,
                whole(Spread.of(one.refused for one in rounds)),
            ]
        )
        section.notes = [_sequence(result)]
    section.targets = [
        at_least_percent(
            "share of the limit that is used", WANTED_PERCENT, middle(one.use.share for one in rounds)
        ),
        at_most("requests answered 429", 0, highest(one.refused for one in rounds), "requests"),
        # One for all changes asks whose company the key is.
        at_most(
            "requests a change", 3, middle((run.requests - 1) / result.changes for run in runs), "requests"
        ),
    ]
    return section


def _sequence(result: PushRuns) -> str:
    """Say up to which time of an answer one request after the other fills the limit."""
    own = middle(one.beside_answers for one in result.rounds) or 0.0
    slowest = 60 / (LIMIT_A_MINUTE * WANTED_PERCENT / 100) - own
    slow = 60 / (SLOW_ANSWER + own) / LIMIT_A_MINUTE
    return (
        f"One request follows the other, and each takes {own * 1000:.0f} ms (median) beside its answer."
        f" So {WANTED_PERCENT:g} % are reached as long as Enerflo answers within"
        f" {slowest * 1000:.0f} ms; with answers of {SLOW_ANSWER * 1000:.0f} ms it would be"
        f" {slow:.0%}, and several records would have to be under way at once for more."
    )
