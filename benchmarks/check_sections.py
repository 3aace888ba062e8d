"""The section of the checks of change orders."""

from __future__ import annotations

from benchmarks.checks import ALL, COUNTED, FEW, NOTHING, ON_PANDAS, STEPS, ChecksRuns
from benchmarks.figures import cpu, memory_target, ratio, three, times
from benchmarks.measure import spread
from benchmarks.results import Section, at_least, at_most

MOST_MB = 300.0
MOST_SECONDS = 2.0


def check_section(result: ChecksRuns) -> Section:
    """Return the section of the checks."""
    section = Section(
        f"Checks: {result.orders.count:,} change orders of {result.orders.installs:,} installs",
        "Every check of change_orders.yaml. Ours derives the facts of each order in SQL, judges them, keeps"
        " what fails with all its keys, holds it, and has Great Expectations count the same rows by queries;"
        " the pandas batch gets the facts as they stand, of the columns that the suite names. Ours runs with"
        " what `enerflo-sync[quality]` installs, so without pyarrow, which pandas loads where it is there.",
        ("step", "seconds", "ours is", "whole process, s", "CPU client + server, s", "peak RSS, MB"),
    )
    for step in STEPS:
        if runs := result.of(step):
            peer = step is ON_PANDAS
            section.rows.append(
                [
                    step.name if peer else f"**{step.name}**",
                    three(spread(runs, "seconds")),
                    times(ratio(runs, result.of(COUNTED))) if peer else "",
                    three(spread(runs, "wall_seconds")),
                    cpu(runs),
                    f"{spread(runs, 'peak_rss_mb').high:.0f}",
                ]
            )
    idle = result.of(NOTHING)
    section.targets = [
        at_least("the pandas batch: times ours in SQL", 1.5, ratio(result.of(ON_PANDAS), result.of(COUNTED))),
        at_least("all orders: times 1 % new", 5, ratio(result.of(ALL), result.of(FEW))),
        at_most("nothing new", MOST_SECONDS, spread(idle, "seconds").median if idle else None, "s"),
        memory_target([run for step in (ALL, COUNTED, FEW) for run in result.of(step)], MOST_MB),
    ]
    return section
