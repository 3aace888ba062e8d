"""The processes that find nothing to do, as a section of the report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.figures import figure, three
from benchmarks.measure import Spread
from benchmarks.results import Section, Target, at_most
from benchmarks.starts import AIRFLOW, POLL_TASK, RECONCILE_TASK, STARTS, Process, Start, StartRuns

# What a task of ours may add to Airflow's own imports.
MOST_ADDED_SECONDS = 0.8


def start_section(result: StartRuns, installs: int) -> Section:
    """Return the section of start-up."""
    section = Section(
        f"Start-up: whole processes that find nothing new among {installs:,} installs",
        "From the start of the interpreter to the end of the process, with the shipped configuration, in a"
        " company whose lists were all read and reconciled hours ago: the poll reads all pages of installs"
        " again, the reconciliation looks for rows that changed. A task's imports are"
        " those of a process that begins with none; Airflow's workers fork one that has Airflow's.",
        ("process", "whole process, s", "CPU, s"),
    )
    for start in STARTS:
        if runs := result.of(start):
            section.rows.append(
                [
                    start.name,
                    three(Spread.of(run.seconds for run in runs)),
                    figure(statistics.median(run.cpu_seconds for run in runs)),
                ]
            )
    section.targets = [
        at_most(start.name, start.most_seconds, _median(result.of(start)), "s")
        for start in STARTS
        if start.most_seconds is not None
    ]
    section.targets += [_added(result, task) for task in (POLL_TASK, RECONCILE_TASK)]
    return section


def _added(result: StartRuns, task: Start) -> Target:
    ours, airflow = _median(result.of(task)), _median(result.of(AIRFLOW))
    added = None if ours is None or airflow is None else ours - airflow
    return at_most(f"{task.name}: above Airflow's", MOST_ADDED_SECONDS, added, "s")


def _median(runs: Sequence[Process]) -> float | None:
    return statistics.median(run.seconds for run in runs) if runs else None
