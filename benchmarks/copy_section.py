"""Copies of a CRM's table in another database as a section of the report."""

from __future__ import annotations

from benchmarks.copies import BULK, OURS_AGAIN, OURS_FIRST, RELADIFF, WAYS, CopyRuns
from benchmarks.figures import cpu, memory_target, ratio, three
from benchmarks.measure import spread
from benchmarks.results import Section, at_least, at_most

_MOST_TIMES = 3
_MOST_PERCENT = 2
_MOST_MB = 200
_TIMES_RELADIFF = 20


def copy_section(result: CopyRuns, rows: int) -> Section:
    """Return the section of the copies."""
    section = Section(
        f"A CRM in another database: {rows:,} rows x 13 columns",
        "The first copy of the table, and a second look after one row in a thousand was edited there without"
        " another `updated_at`. reladiff compares the mirror's side in the warehouse with the table there, in"
        " which 1 % of the rows differ; it finds the keys, ours brings the rows. The servers are on the same"
        " two cores.",
        (
            "database",
            "way",
            "seconds",
            "whole process, s",
            "CPU client + servers, s",
            "peak RSS, MB",
            "rows moved",
        ),
    )
    ours = []
    for shop in sorted({shop for shop, _ in result.runs}):
        for way in WAYS:
            runs = result.of(shop, way)
            if runs:
                mine = way in (OURS_FIRST, OURS_AGAIN)
                ours += runs if mine else []
                section.rows.append(
                    [
                        shop,
                        f"**{way.name}**" if mine else way.name,
                        three(spread(runs, "seconds")),
                        three(spread(runs, "wall_seconds")),
                        cpu(runs),
                        f"{spread(runs, 'peak_rss_mb').high:.0f}",
                        f"{max(run.counts['rows_read'] for run in runs):,}" if mine else "",
                    ]
                )
        first, again = result.of(shop, OURS_FIRST), result.of(shop, OURS_AGAIN)
        moved = max((run.counts["rows_read"] * 100 / rows for run in again), default=None)
        section.targets += [
            at_most(
                f"{shop}, first copy: times the bulk read",
                _MOST_TIMES,
                ratio(first, result.of(shop, BULK)),
                "x",
            ),
            at_least(
                f"{shop}, reladiff: times our re-check",
                _TIMES_RELADIFF,
                ratio(result.of(shop, RELADIFF), again),
            ),
            at_most(f"{shop}, re-check: rows moved", _MOST_PERCENT, moved, "%"),
        ]
    section.targets.append(memory_target(ours, _MOST_MB))
    return section
