"""The pages in Airflow as a section of the report."""

from __future__ import annotations

import statistics

from benchmarks.pages import A_DAY, ACCOUNTS, AIRFLOW, DAYS, DIFFERENCES, FIELDS, PageRuns, percentile
from benchmarks.results import Section, at_most

_MEDIAN, _P95, _BYTES = 100, 300, 60_000
_XLSX_SECONDS, _XLSX_MB = 10, 150


def page_section(result: PageRuns, installs: int) -> Section:
    """Return the section of the pages."""
    section = Section(
        f"Pages in Airflow: {installs:,} installs, {DIFFERENCES:,} differences",
        f"{FIELDS} fields, {DAYS:,} days with {A_DAY} reconciliations each, {ACCOUNTS} accounts in the"
        " warehouse. Each request is answered by Airflow's API server in one process, with its check of who"
        " asks: what the server takes, without a network. Airflow's own are what its page of a DAG asks for:"
        " the DAG's structure, and 25 runs.",
        ("page", "median, ms", "p95, ms", "bytes", "statements"),
    )
    for path, took in result.milliseconds.items():
        own = path in AIRFLOW
        section.rows.append(
            [
                f"Airflow: `{path}`" if own else f"`{path.removeprefix('/enerflo')}`",
                f"**{statistics.median(took):.0f}**",
                f"{percentile(took, 0.95):.0f}",
                f"{result.bytes[path]:,}",
                "" if own else str(result.statements[path]),
            ]
        )
    ours = {path: took for path, took in result.milliseconds.items() if path not in AIRFLOW}
    slowest = max((statistics.median(took) for took in ours.values()), default=None)
    rare = max((percentile(took, 0.95) for took in ours.values()), default=None)
    largest = max((result.bytes[path] for path in ours if not path.endswith("/latest")), default=None)
    section.targets = [
        at_most("the slowest page: median", _MEDIAN, slowest, "ms"),
        at_most("the slowest page: p95", _P95, rare, "ms"),
        at_most(
            "the largest page, but for the stored report", _BYTES / 1000, largest and largest / 1000, "kB"
        ),
        at_most(f"XLSX of {DIFFERENCES:,} differences", _XLSX_SECONDS, _middle(result, "seconds"), "s"),
        at_most("what it adds to the server's memory", _XLSX_MB, _middle(result, "megabytes"), "MB"),
    ]
    return section


def _middle(result: PageRuns, what: str) -> float | None:
    return statistics.median(one[what] for one in result.exports) if result.exports else None
