"""The section of backfills."""

from __future__ import annotations

import statistics

from benchmarks.backfills import BackfillRuns, share_of_limit
from benchmarks.figures import MOST_MB, figure
from benchmarks.measure import Measurement
from benchmarks.plan_sections import WANTED_PERCENT
from benchmarks.pushes import LIMIT_A_MINUTE
from benchmarks.results import Section, at_least_percent, at_most

MOST_REQUESTS = 40
# "Live polling never waits for a backfill": what its slot may take longer at worst, of a busy machine.
MOST_WAIT_MS = 250.0


def backfill_section(result: BackfillRuns) -> Section:
    """Return the section of a company's backfills."""
    plan = result.plan
    section = Section(
        f"Backfill: {plan.installs:,} installs in {LIMIT_A_MINUTE} requests a minute",
        f"Every install, {plan.per_page} a page, into an empty database; then again beside live polls, killed"
        f" and gone on with. The months are looked for among {plan.many:,} installs.",
        (
            "live polls",
            "wait of a request, median, ms",
            "longest, ms",
            "a poll, median, ms",
            "polls",
        ),
    )
    names = {"alone": "without a backfill", "beside": "beside a backfill"}
    section.rows += [_live_row(names[key], run) for key, run in result.lives.items()]
    alone, beside = result.alone, result.lives.get("beside")
    sent = [one.sent for one in result.reads]
    section.targets = [
        at_least_percent("share of the limit, alone", WANTED_PERCENT, share_of_limit(sent)),
        at_most("requests in any minute beside live polls", LIMIT_A_MINUTE / 2, result.beside, "requests"),
        at_most("longest wait of a live request", MOST_WAIT_MS, _worst_ms(beside), "ms"),
        at_most("requests answered 429", 0, result.refused, "requests"),
        at_most("requests to find a month", MOST_REQUESTS, max(result.searches, default=None), "requests"),
        at_most("pages read twice, a part under way at the kill", 1, _repeated(result), "pages"),
        at_most("peak memory of ours", MOST_MB, alone.peak_rss_mb if alone else None, "MB"),
    ]
    if alone is not None and sent:
        section.notes = [_note(result, alone)]
    return section


def _live_row(name: str, run: Measurement) -> list[str]:
    waits, polls = run.counts["waits"], run.counts["polls"]
    shown = (statistics.median(waits), max(waits), statistics.median(polls))
    return [name, *(figure(value * 1000) for value in shown), str(len(polls))]


def _worst_ms(run: Measurement | None) -> float | None:
    return None if run is None else max(run.counts["waits"]) * 1000


def _repeated(result: BackfillRuns) -> float | None:
    if result.repeated is None or not result.under_way:
        return None
    return result.repeated / result.under_way


def _note(result: BackfillRuns, alone: Measurement) -> str:
    answer = statistics.median(one.seconds for one in result.reads)
    return (
        f"At the kill {result.under_way} parts were read, and {result.in_vain} requests on their way."
        f" Alone: {len(result.reads):,} pages, {alone.seconds:.0f} s with its search, an answer"
        f" {answer * 1000:.0f} ms (median), CPU client + server {figure(alone.cpu_seconds)} +"
        f" {figure(alone.server_cpu_seconds)} s. Requests until each month was found:"
        f" {', '.join(map(str, result.searches))}."
    )
