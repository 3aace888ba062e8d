"""What the two witnesses, poll and webhooks, saw: in words and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from enerflo_sync.counted import count_of, number
from enerflo_sync.mirror.witness_report import WitnessFigures, WitnessReport

HEAD: Final = (
    *("changes", "told", "late", "missed", "unconf.", "replaced", "waiting"),
    *("median", "95 %", "longest"),
)
ALL_EVENTS: Final = "all events"


def witness_sentence(report: WitnessReport) -> str:
    """Return a summary of the figures in one or two sentences."""
    if report.webhooks_since is None:
        return "No webhook was ever received for this account, so nothing can be said of them."
    total = report.total
    if not total.changes:
        return "No change was seen in this time, by poll or webhook."
    told = f"{number(total.told)} {'was' if total.told == 1 else 'were'} told by a webhook"
    missed = f"{number(total.missed)} {'was' if total.missed == 1 else 'were'} missed"
    speed = "" if total.delay_p50 is None else f"; half of them within {span(total.delay_p50)}"
    sentence = f"Of {count_of(total.changes, 'change')} {told}, {missed}{speed}."
    if total.unconfirmed:
        sentence += (
            f" {count_of(total.unconfirmed, 'change')} that a webhook told of"
            f" {'was' if total.unconfirmed == 1 else 'were'} not confirmed by a poll."
        )
    return sentence


def witness_cells(figures: WitnessFigures) -> Sequence[str]:
    """Return one row under :data:`HEAD`."""
    counts = (
        *(figures.changes, figures.told, figures.late, figures.missed),
        *(figures.unconfirmed, figures.replaced, figures.waiting),
    )
    delays = (figures.delay_p50, figures.delay_p95, figures.delay_max)
    return [*map(number, counts), *("" if delay is None else span(delay) for delay in delays)]


def event_rows(report: WitnessReport) -> list[tuple[str, Sequence[str]]]:
    """Return one row per event with its name, and the sum if there are several."""
    rows = [(figures.event or "", witness_cells(figures)) for figures in report.by_event]
    return [*rows, (ALL_EVENTS, witness_cells(report.total))] if len(rows) > 1 else rows


def span(seconds: float) -> str:
    """Return a delay as one number: ``4 s``, ``12 min``, ``3.5 h``; below ten seconds with a tenth."""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = timedelta(seconds=seconds) / timedelta(minutes=1)
    return f"{minutes:.0f} min" if minutes < 119.5 else f"{minutes / 60:.1f} h"
