"""The section of backfills."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.backfills import BackfillRuns, ReadRound, share_of_limit
from benchmarks.figures import highest, memory_target, middle, three, whole
from benchmarks.measure import Measurement, Spread, spread
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
    rounds = result.rounds
    for key, name in (("alone", "without a backfill"), ("beside", "beside a backfill")):
        if lives := [one.lives[key] for one in rounds if key in one.lives]:
            section.rows.append(_live_row(name, lives))
    shares = [share_of_limit([read.sent for read in one.reads]) for one in rounds]
    waits = [_longest_ms(one.lives.get("beside")) for one in rounds]
    section.targets = [
        at_least_percent("share of the limit, alone", WANTED_PERCENT, middle(shares)),
        at_most(
            "requests in any minute beside live polls",
            LIMIT_A_MINUTE / 2,
            highest(one.beside for one in rounds),
            "requests",
        ),
        at_most("longest wait of a live request", MOST_WAIT_MS, middle(waits), "ms"),
        at_most("requests answered 429", 0, highest(one.refused for one in rounds), "requests"),
        at_most("requests to find a month", MOST_REQUESTS, highest(result.searches), "requests"),
        at_most(
            "pages read twice, a part under way at the kill", 1, highest(map(_repeated, rounds)), "pages"
        ),
        memory_target([one.alone for one in rounds if one.alone]),
    ]
    section.notes = _notes(result)
    return section


def _live_row(name: str, runs: list[Measurement]) -> list[str]:
    waits = [run.counts["waits"] for run in runs]
    polls = [run.counts["polls"] for run in runs]
    shown = (
        [statistics.median(one) for one in waits],
        [max(one) for one in waits],
        [statistics.median(one) for one in polls],
    )
    milliseconds = [three(Spread.of(value * 1000 for value in values)) for values in shown]
    return [name, *milliseconds, whole(Spread.of(len(one) for one in polls))]


def _longest_ms(run: Measurement | None) -> float | None:
    return None if run is None else max(run.counts["waits"]) * 1000


def _repeated(one: ReadRound) -> float | None:
    if one.repeated is None or not one.under_way:
        return None
    return one.repeated / one.under_way


def _notes(result: BackfillRuns) -> list[str]:
    notes = []
    if killed := [one for one in result.rounds if one.under_way is not None]:
        parts, in_vain = ([getattr(one, name) for one in killed] for name in ("under_way", "in_vain"))
        notes.append(
            f"At the kill of each round {_list(parts)} parts were read, and {_list(in_vain)} requests on"
            " their way."
        )
    rounds = [one for one in result.rounds if one.alone and one.reads]
    if alone := [one.alone for one in rounds if one.alone]:
        answers = Spread.of(statistics.median(read.seconds for read in one.reads) * 1000 for one in rounds)
        notes.append(
            f"Alone: {whole(Spread.of(len(one.reads) for one in rounds))} pages,"
            f" {three(spread(alone, 'seconds'))} s with its search, an answer {whole(answers)} ms (the median"
            f" of each round), CPU client {three(spread(alone, 'cpu_seconds'))} s, server"
            f" {three(spread(alone, 'server_cpu_seconds'))} s, peak RSS {whole(spread(alone, 'peak_rss_mb'))}"
            " MB."
        )
    if result.searches:
        notes.append(f"Requests until each month was found, in each round: {_list(result.searches)}.")
    return notes


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
