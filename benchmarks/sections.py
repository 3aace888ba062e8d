"""Measurements as sections of the report: a table with ratios, and the issue's targets beside them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.compares import (
    DATACOMPY,
    INCREMENTAL,
    OURS_FULL,
    OURS_LATER,
    OURS_SOON,
    RELADIFF,
    CompareRuns,
)
from benchmarks.figures import cpu, cpu_ratio, figure, memory_target, ratio, three, times, whole
from benchmarks.inbox import NAIVE, TAKERS, WAKE_UPS, InboxRuns, Taker
from benchmarks.inbox import OURS as OUR_INBOX
from benchmarks.latency import LatencyRuns, percentile
from benchmarks.loads import DLT, FLOOR, HTTP_HOOK, LOADERS, OURS, Loader, LoadRuns, Stage
from benchmarks.measure import Measurement, Spread, spread
from benchmarks.memory import MemoryRuns
from benchmarks.results import Section, at_least, at_most
from benchmarks.ways import Way
from enerflo_demo.story import RHYTHM_SECONDS

# "The same" at any number of installs: what the allocator keeps may differ by a few pages of records.
SAME_WITHIN = 1.2
# The names of the files that wait are in memory, and nothing else of them.
MANY_FILES = 1.5
MOST_SECONDS, MOST_SECONDS_TO_CRM = 20.0, 15.0

_LOAD_WANTED = {
    Stage.FIRST: ((DLT, 8), (HTTP_HOOK, 2)),
    Stage.UNCHANGED: ((DLT, 30), (HTTP_HOOK, 8)),
    Stage.CHANGED: ((DLT, 30), (HTTP_HOOK, 8)),
}
# What changes in an hour is nearer to the first. Of the second, looking up 10,000 keys on both sides and to
# store 22,000 differences is most of the work.
_INCREMENTAL_WANTED = {OURS_SOON: 5, OURS_LATER: 2}
_COMPARE_WANTED = ((DATACOMPY, 15), (RELADIFF, 1))

_LOAD_HEADERS = (
    "way",
    "installs/s",
    "seconds",
    "ours is",
    "whole process, s",
    "CPU client + server, s",
    "CPU: ours is",
    "peak RSS, MB",
    "requests",
)
_COMPARE_HEADERS = (
    "way",
    "seconds",
    "ours is",
    "whole process, s",
    "CPU client + server, s",
    "peak RSS, MB",
)


def load_section(stage: Stage, result: LoadRuns, installs: int) -> Section:
    """Return the section of one stage of loading."""
    section = Section(
        f"{stage.capitalize()}: {installs:,} installs",
        _ABOUT_LOAD[stage],
        _LOAD_HEADERS,
    )
    ours = result.of(stage, OURS)
    for loader in LOADERS:
        runs = result.of(stage, loader)
        if runs:
            section.rows.append(_load_row(loader, runs, ours, installs, result.page_size.get(loader.key)))
    section.targets = [
        at_least(f"{loader.name}: times our seconds", wanted, ratio(result.of(stage, loader), ours))
        for loader, wanted in _LOAD_WANTED[stage]
    ]
    section.targets.append(memory_target(ours))
    if stage is Stage.FIRST and result.tried:
        section.notes.append(
            "Page sizes, tried once each to take the faster one: " + "; ".join(result.tried) + "."
        )
    if stage is Stage.CHANGED and result.changed:
        section.notes.append(f"Distinct installs changed per round: {', '.join(map(str, result.changed))}.")
    return section


_ABOUT_LOAD = {
    Stage.FIRST: "Into an empty database. Ours keeps every raw version, fills installs and milestones, and"
    " records the run; dlt makes its normalized tables; `to_sql` writes one table with lists as JSON text.",
    Stage.UNCHANGED: "The same again, with nothing changed but signatures and session marks, which are new"
    " in every answer.",
    Stage.CHANGED: "The same again after one install in a hundred got another status.",
}


def _load_row(
    loader: Loader, runs: list[Measurement], ours: list[Measurement], installs: int, size: int | None
) -> list[str]:
    seconds = spread(runs, "seconds")
    rate = Spread.of(installs / run.seconds for run in runs)
    is_peer = loader not in (OURS, FLOOR)
    return [
        f"**{loader.name}**" if loader is OURS else loader.name + (f", {size} a page" if size else ""),
        whole(rate),
        three(seconds),
        times(ratio(runs, ours)) if is_peer else "",
        three(spread(runs, "wall_seconds")),
        cpu(runs),
        times(cpu_ratio(runs, ours)) if is_peer else "",
        f"{spread(runs, 'peak_rss_mb').high:.0f}",
        f"{statistics.median(run.requests for run in runs):.0f}",
    ]


def compare_section(result: CompareRuns, rows: int) -> Section:
    """Return the section of the reconciliation."""
    section = Section(
        f"Reconcile: {rows:,} rows x 12 columns",
        "1 % of the rows differ, 0.1 % stand on one side only, on each side. Ours finds them, gives each its"
        " cause, stores a row per difference and builds the report; the peers only find and count them."
        " Incremental: after CRM rows were edited, each in a page of its own; it stores all differences, old"
        " and new. The mapping says that updated_at is set at commit; without that a row's hash is kept and"
        " compared (docs/decisions/0014).",
        _COMPARE_HEADERS,
    )
    full = result.of(OURS_FULL)
    incremental = [run for way in INCREMENTAL for run in result.of(way)]
    for way in (OURS_FULL, *INCREMENTAL, DATACOMPY, RELADIFF):
        runs = result.of(way)
        if runs:
            section.rows.append(_compare_row(way, runs, full))
    section.targets = [
        at_least(f"{peer.name}: times our full seconds", wanted, ratio(result.of(peer), full))
        for peer, wanted in _COMPARE_WANTED
    ]
    section.targets += [
        at_least(f"our full run: times {way.name}", wanted, ratio(full, result.of(way)))
        for way, wanted in _INCREMENTAL_WANTED.items()
    ]
    section.targets.append(memory_target(full + incremental))
    return section


def _compare_row(way: Way, runs: list[Measurement], full: list[Measurement]) -> list[str]:
    ours = way in (OURS_FULL, *INCREMENTAL)
    return [
        f"**{way.name}**" if ours else way.name,
        three(spread(runs, "seconds")),
        "" if ours else times(ratio(runs, full)),
        three(spread(runs, "wall_seconds")),
        cpu(runs),
        f"{spread(runs, 'peak_rss_mb').high:.0f}",
    ]


def inbox_section(result: InboxRuns, files: int, few: int) -> Section:
    """Return the section of the inbox.

    :param few: files of the smaller folder by which the memory is judged.
    """
    section = Section(
        f"Inbox: {files:,} files of {result.file_bytes / 1000:.1f} KB",
        "One `update_install` a file, one in a hundred a re-delivery, all in one local folder: each event"
        " stored once, each file moved to a dated archive. Ours is the whole `ingest`, its run record"
        " included, but for the reads of the API; both write the same table with the same indexes.",
        ("way", "files/s", "seconds", "ours is", "CPU client + server, s", "CPU: ours is", "peak RSS, MB"),
    )
    ours = result.of(OUR_INBOX)
    for taker in TAKERS:
        if runs := result.of(taker):
            section.rows.append(_inbox_row(taker, runs, ours, files))
    section.targets = [at_least("the loop: times our seconds", 7, ratio(result.of(NAIVE), ours))]
    section.targets.append(memory_target([*ours, *result.few]))
    if ours and result.few:
        factor = spread(ours, "peak_rss_mb").median / spread(result.few, "peak_rss_mb").median
        section.targets.append(
            at_most(f"{files:,} files: times the memory of {few:,}", MANY_FILES, factor, "x")
        )
    section.notes = [_looks(result)] if result.looks else []
    return section


def _inbox_row(taker: Taker, runs: list[Measurement], ours: list[Measurement], files: int) -> list[str]:
    rate = Spread.of(files / run.seconds for run in runs)
    is_peer = taker is not OUR_INBOX
    return [
        taker.name if is_peer else f"**{taker.name}**",
        whole(rate),
        three(spread(runs, "seconds")),
        times(ratio(runs, ours)) if is_peer else "",
        cpu(runs),
        times(cpu_ratio(runs, ours)) if is_peer else "",
        f"{spread(runs, 'peak_rss_mb').high:.0f}",
    ]


def _looks(result: InboxRuns) -> str:
    looks = "; ".join(
        f"{archived:,} files in the archive: {_milliseconds(seconds)} ms"
        for archived, seconds in sorted(result.looks.items())
    )
    return f"A wake-up that finds nothing (each figure the median of {WAKE_UPS}): {looks}."


def _milliseconds(seconds: Sequence[float]) -> str:
    found = Spread.of(one * 1000 for one in seconds)
    return f"{found.low:.1f} / **{found.median:.1f}** / {found.high:.1f}"


def latency_section(result: LatencyRuns) -> Section:
    """Return the section of the way from a file to the mirror."""
    section = Section(
        f"From a file to the CRM's row, with a running Airflow: {len(result.applied)} files, one by one",
        "The demo's parts on this machine: `airflow standalone`, the shipped DAGs, the simulated company, in"
        " the mode that writes without asking. Each file is dropped once the former one was written, at a"
        " random moment between two looks of the triggerer, and says that an install's status changed, which"
        f" the mirror does not know yet. `rhythm.reconcile_seconds` is {RHYTHM_SECONDS} there, and 60 where"
        " nobody says otherwise: a change that comes within so many seconds of the former run waits for the"
        " rest of them.",
        ("until", "least, s", "median, s", "95th percentile, s", "most, s"),
    )
    for name, values in (
        ("the event is applied", result.applied),
        ("the mirror's row says it", result.mirrored),
        ("the CRM's row says it", result.written),
    ):
        if values:
            found = Spread.of(values)
            shown = (found.low, found.median, percentile(values, 95), found.high)
            section.rows.append([name, *map(figure, shown)])
    section.targets = [
        at_most(f"95th percentile, file to {place}", most, percentile(found, 95) if found else None, "s")
        for place, most, found in (
            ("mirror", MOST_SECONDS, result.mirrored),
            ("CRM", MOST_SECONDS_TO_CRM, result.written),
        )
    ]
    return section


def memory_section(result: MemoryRuns) -> Section:
    """Return the section of our own peak memory."""
    section = Section(
        "Memory of ours",
        "Peak resident memory of the whole process tree, interpreter and imports included. What other work"
        " takes stands in its own part.",
        ("work", "records", "peak RSS, MB", "seconds", "requests"),
    )
    for (installs, stage), runs in result.polls.items():
        section.rows.append(
            [
                f"poll, {stage}",
                f"{installs:,}",
                whole(spread(runs, "peak_rss_mb")),
                three(spread(runs, "seconds")),
                whole(spread(runs, "requests")),
            ]
        )
    section.targets.append(memory_target([run for runs in result.polls.values() for run in runs]))
    sizes = sorted({installs for installs, _ in result.polls})
    if len(sizes) > 1:
        few, many = (result.polls.get((size, "first load"), []) for size in (sizes[0], sizes[-1]))
        # The worst: the most of many by the least of few.
        factor = spread(many, "peak_rss_mb").high / spread(few, "peak_rss_mb").low if few and many else None
        what = f"first load of {sizes[-1]:,}: times the memory of {sizes[0]:,}"
        section.targets.append(at_most(what, SAME_WITHIN, factor, "x"))
    return section
