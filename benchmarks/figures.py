"""Figures of several runs as the tables show them: spreads, ratios of medians, peak memory."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from benchmarks.measure import Measurement, Spread, spread
from benchmarks.results import Target, at_most

MOST_MB = 150.0


def memory_target(runs: Sequence[Measurement], most_mb: float = MOST_MB) -> Target:
    """Return the target for the highest peak of all runs."""
    peak = max((run.peak_rss_mb for run in runs), default=None)
    return at_most("peak memory of ours", most_mb, peak, "MB")


def ratio(peer: Sequence[Measurement], ours: Sequence[Measurement]) -> float | None:
    """Return how many times longer the peer's median run took."""
    if not peer or not ours:
        return None
    return spread(peer, "seconds").median / spread(ours, "seconds").median


def cpu_ratio(peer: Sequence[Measurement], ours: Sequence[Measurement]) -> float | None:
    """Return how many times more CPU seconds the peer's median run took, the server's included."""
    if not peer or not ours:
        return None
    mine, theirs = (
        statistics.median(run.cpu_seconds + run.server_cpu_seconds for run in runs) for runs in (ours, peer)
    )
    return theirs / mine


def three(values: Spread) -> str:
    """Return least, median and most, the median in bold."""
    return f"{figure(values.low)} / **{figure(values.median)}** / {figure(values.high)}"


def whole(values: Spread) -> str:
    """Return the same of numbers of which only the whole part matters."""
    return f"{values.low:,.0f} / **{values.median:,.0f}** / {values.high:,.0f}"


def middle(values: Iterable[float | None]) -> float | None:
    """Return the median of those that were measured; None where none was."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def highest(values: Iterable[float | None]) -> float | None:
    """Return the highest of those that were measured; None where none was."""
    return max((value for value in values if value is not None), default=None)


def figure(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def times(factor: float | None) -> str:
    """Return a factor in words."""
    if factor is None:
        return "-"
    return f"{factor:.1f} x faster" if factor >= 1 else f"{1 / factor:.1f} x slower"


def cpu(runs: Sequence[Measurement]) -> str:
    """Return the median CPU seconds of the client and of PostgreSQL."""
    client, server = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("cpu_seconds", "server_cpu_seconds")
    )
    return f"{figure(client)} + {figure(server)}"
