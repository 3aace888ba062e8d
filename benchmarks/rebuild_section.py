"""The section of the rebuild."""

from __future__ import annotations

import statistics

from benchmarks.figures import cpu, memory_target, three
from benchmarks.measure import spread
from benchmarks.rebuilds import STEPS, RebuildRuns, Step
from benchmarks.results import Section, at_least_rate

LEAST_RATE = 10_000


def rebuild_section(result: RebuildRuns) -> Section:
    """Return the section of the rebuild."""
    section = Section(
        f"Rebuild: {result.installs:,} installs with their milestones, from raw versions",
        "Each version is read by the poll's own reader and compared with the mirror's rows; what differs is"
        " written. Client and PostgreSQL share one core, so the rate is that of both together; by their CPU"
        " seconds it is the same where nobody else uses the core.",
        ("mirror", "installs/s", "per CPU second", "seconds", "CPU client + server, s", "peak RSS, MB"),
    )
    for step in STEPS:
        if runs := result.of(step):
            seconds = spread(runs, "seconds")
            section.rows.append(
                [
                    step.name,
                    f"{result.installs / seconds.median:,.0f}",
                    f"**{_rate(result, step):,.0f}**",
                    three(seconds),
                    cpu(runs),
                    f"{spread(runs, 'peak_rss_mb').high:.0f}",
                ]
            )
    for step in STEPS:
        what = f"{step.name}: installs a second of one core"
        section.targets.append(at_least_rate(what, LEAST_RATE, _rate(result, step)))
    section.targets.append(memory_target([run for runs in result.runs.values() for run in runs]))
    return section


def _rate(result: RebuildRuns, step: Step) -> float | None:
    """Return how many installs a second of CPU is good for, the client's and the server's together."""
    runs = result.of(step)
    if not runs:
        return None
    return result.installs / statistics.median(run.cpu_seconds + run.server_cpu_seconds for run in runs)
