"""The geometry of the report's two charts; the templates draw it as SVG beside HTML labels.

Lengths are per cent of the plot, since the drawing stretches to the width of the page and text must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enerflo_sync.reconcile.render.cause_texts import CAUSE_ORDER
from enerflo_sync.reconcile.render.summary import FieldLine, field_lines
from enerflo_sync.reconcile.report import Cause, ReconciliationReport, TrendPoint

# One difference among a million must still be a visible line that a pointer can hit.
MINIMUM_WIDTH: Final = 0.8
MOST_BARS: Final = 14
MOST_RUNS: Final = 40
FEWEST_SLOTS: Final = 12


@dataclass(frozen=True, slots=True)
class Segment:
    """One cause's part of a bar, from ``start`` over ``length``."""

    cause: Cause
    count: int
    start: float
    length: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One field's differences, stacked by cause."""

    line: FieldLine
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True)
class FieldChart:
    """Bars of the fields with the most differences, all on one scale, and how many were left out."""

    bars: Sequence[Bar]
    causes: Sequence[Cause]
    other_fields: int
    other_differences: int


def field_chart(report: ReconciliationReport) -> FieldChart:
    """Return the ``MOST_BARS`` fields with the most differences over all tables, most first."""
    lines = sorted(
        (line for table in report.tables for line in field_lines(table)),
        key=lambda line: (-line.differences, line.table_name, line.label),
    )
    shown, rest = lines[:MOST_BARS], lines[MOST_BARS:]
    present = {cause for line in shown for cause in line.by_cause}
    return FieldChart(
        bars=field_bars(shown),
        causes=[cause for cause in CAUSE_ORDER if cause in present],
        other_fields=len(rest),
        other_differences=sum(line.differences for line in rest),
    )


def field_bars(lines: Iterable[FieldLine]) -> list[Bar]:
    """Return the lines as bars; the longest bar fills the plot."""
    kept = list(lines)
    most = max((line.differences for line in kept), default=0)
    return [Bar(line, _segments(line.by_cause, line.differences, most)) for line in kept]


def _segments(by_cause: Mapping[Cause, int], total: int, most: int) -> list[Segment]:
    """Return stacked segments; small ones are widened at the expense of other segments of the bar."""
    if not total or not most:
        return []
    full = max(100 * total / most, MINIMUM_WIDTH * len(by_cause))
    widths = [max(100 * count / most, MINIMUM_WIDTH) for count in by_cause.values()]
    excess = sum(widths) - full
    spare = sum(width - MINIMUM_WIDTH for width in widths)
    segments, start = [], 0.0
    for (cause, count), width in zip(by_cause.items(), widths, strict=True):
        length = width - excess * (width - MINIMUM_WIDTH) / spare if spare > 0 else width
        segments.append(Segment(cause, count, round(start, 3), round(length, 3)))
        start += length
    return segments


@dataclass(frozen=True, slots=True)
class Column:
    """One run's count: ``height`` of the plot, at ``start`` over ``width``."""

    point: TrendPoint
    count: int
    start: float
    width: float
    height: float
    latest: bool


@dataclass(frozen=True, slots=True)
class TrendPanel:
    """One count over the runs, with its own scale from 0 to ``top``; ``limit`` is a line to stay under."""

    title: str
    columns: Sequence[Column]
    top: int
    limit: int | None
    limit_height: float | None


@dataclass(frozen=True, slots=True)
class TrendChart:
    """Differences and unexplained ones over the runs, oldest first; ``span`` is the part that has runs."""

    points: Sequence[TrendPoint]
    differences: TrendPanel
    unexplained: TrendPanel
    span: float
    earlier: int


def trend_points(report: ReconciliationReport) -> list[TrendPoint]:
    """Return the earlier runs and this one, oldest first, each once."""
    this = TrendPoint(
        reconciliation_id=report.reconciliation_id,
        finished_at=report.finished_at,
        scope=report.scope,
        differences=report.differences,
        unexplained=report.unexplained,
    )
    earlier = [p for p in report.trend if p.reconciliation_id != report.reconciliation_id]
    return sorted([*earlier, this], key=lambda point: point.finished_at)


def trend_chart(points: Sequence[TrendPoint], budget: int | None = None) -> TrendChart | None:
    """Return the last ``MOST_RUNS`` of the points (oldest first) as columns; None for no points."""
    shown = points[-MOST_RUNS:]
    if not shown:
        return None
    slots = max(len(shown), FEWEST_SLOTS)
    return TrendChart(
        points=shown,
        differences=_panel("Differences", shown, [p.differences for p in shown], slots, None),
        unexplained=_panel("Unexplained", shown, [p.unexplained for p in shown], slots, budget),
        span=round(100 * len(shown) / slots, 3),
        earlier=len(points) - len(shown),
    )


def _panel(
    title: str, points: Sequence[TrendPoint], counts: Sequence[int], slots: int, limit: int | None
) -> TrendPanel:
    top = round_up(max([*counts, limit or 0, 1]))
    slot = 100 / slots
    columns = [
        Column(
            point=point,
            count=count,
            start=round(index * slot + slot * 0.14, 3),
            width=round(slot * 0.72, 3),
            # A run without differences leaves a mark, too, which shows that it ran.
            height=round(max(100 * count / top, 1.5 if count else 1), 3),
            latest=index == len(points) - 1,
        )
        for index, (point, count) in enumerate(zip(points, counts, strict=True))
    ]
    height = None if limit is None else round(100 * limit / top, 3)
    return TrendPanel(title, columns, top, limit, height)


def round_up(value: int) -> int:
    """Return a round number at or a little above ``value``, which is at least 1, for the top of an axis."""
    if value <= 10:
        return value
    power = int(10 ** (len(str(value - 1)) - 2))
    return next(step * power for step in _ROUND_STEPS if step * power >= value)


_ROUND_STEPS: Final[tuple[int, ...]] = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
