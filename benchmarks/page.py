"""The report as Markdown, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.results import Report, Section, Target

VERSIONS = (
    "dlt",
    "apache-airflow",
    "pandas",
    "datacompy",
    "great-expectations",
    "reladiff",
    "sqlalchemy",
    "psycopg",
    "requests",
    "msgspec",
)
_GIBIBYTE = 2**30


def render(report: Report) -> str:
    """Return every section, its targets, and what failed."""
    parts = [_section(section) for section in report.sections]
    if report.failures:
        parts.append(
            "## Not measured, or not to be believed\n\n"
            + "\n".join(f"- {_line(one)}" for one in report.failures)
        )
    return "\n\n".join(parts) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def _section(section: Section) -> str:
    parts = [f"## {section.title}", section.about]
    if section.rows:
        parts.append(_table(section.headers, section.rows))
    if section.targets:
        parts.append(
            _table(("target", "wanted", "measured", "reached"), [_target(one) for one in section.targets])
        )
    parts += section.notes
    return "\n\n".join(parts)


def _target(target: Target) -> list[str]:
    reached = {True: "yes", False: "**no**", None: "not measured"}[target.reached]
    return [target.what, target.wanted, target.measured, reached]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (headers, ["---"] * len(headers), *rows)]
    return "\n".join(lines)


def machine() -> str:
    """Return the machine in one line, without its name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIBIBYTE
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB of memory, {platform.system()} {platform.machine()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "unknown processor",
    )


def versions() -> str:
    """Return the versions that matter to the figures."""
    found = [f"Python {platform.python_version()}"]
    for name in VERSIONS:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def document(
    report: Report,
    *,
    command: str,
    server: Mapping[str, str],
    load: tuple[float, float],
    facts: Sequence[str],
) -> str:
    """Return docs/benchmarks.md.

    :param command: what was typed.
    :param server: PostgreSQL's settings.
    :param load: the machine's load average when the run began and when it ended.
    :param facts: further sentences about this run.
    """
    settings = ", ".join(f"{name} {value}" for name, value in server.items())
    lines = [
        "# Benchmarks",
        "One run of `make bench BENCH=--write`, which writes this page; it is never edited by hand."
        " Compare ratios, not seconds: machines differ, ratios hardly do.",
        f"- Run: `{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- Machine: {machine()}; load average {load[0]:.1f} at the beginning and {load[1]:.1f} at the end"
        " (the run itself makes about 2)",
        f"- Versions: {versions()}",
        f"- PostgreSQL: the embedded server over its unix socket; {settings}",
        *(f"- {fact}" for fact in facts),
    ]
    head = lines[0] + "\n\n" + lines[1] + "\n\n" + "\n".join(lines[2:])
    return head + "\n\n" + READING.strip() + "\n\n" + render(report)


READING = """
## How to read it

- Every measurement is a fresh process, and all ways do one stage before any does the next, so that
  whatever else the machine does falls on all of them. Figures are min / **median** / max; ratios are of
  medians.
- **seconds** is the work alone: the clock starts after the imports. **whole process** begins with the
  interpreter.
- **CPU client + server** is the way's own process tree while it worked, and PostgreSQL meanwhile, in
  seconds. The simulated company runs on the same cores and is in neither; the line *floor* shows what its
  pages cost.
- **peak RSS** is the highest sum over the process tree, sampled every 30 ms, and the process's own
  high-water mark.
- **requests** are counted by the simulated company. The vendor allows 300 a minute, so in production
  they, and not the seconds, are the limit: ours asks for pages of 500 by default, halved when an answer
  is slow.
- After each run the tables are checked: number of rows, sum of ids, sum of statuses, and for ours
  milestones, raw versions and the run's own counts; each comparison must find exactly what was planted. A
  way that fails this is not shown, and the command ends with exit code 1.
- Ours runs what the command line runs: `poll` of installs with the shipped configuration, `EnerfloClient`
  over `requests`, the request budget kept in the warehouse with the vendor's limit of 300 (lifted to
  5,000 only for the 200,000 installs of the memory section); `reconcile` with a mapping that trims, folds
  case and tolerates. Migrations are not measured.
- Before a plan is measured, an earlier one over the same rows was carried out and vacuumed, so that
  `sync.agreed` holds a pair of values for every field. `plan` is what comes after the reconciliation in
  `enerflo-sync plan`. Ours and the loops apply the very same changes, one after the other; the first loop
  leaves no ledger. Afterwards the rows, the ledger and `sync.agreed` are counted.
- The push has one process, the vendor's limit of 300 a minute, and no network: its requests are counted by
  the company and timed where they are sent. The share of the limit is the lesser of two: that of the run's
  whole minutes, and that of the time in which whole limits of requests were sent, as a long run would.
- The backfill has the vendor's limit of 300 a minute too, and pages that Enerflo takes 0.2 s to answer; it
  runs as the command line runs it by default. The share of the limit is that from its first page to its
  last. Beside it, statuses are polled one poll after the other, and each request's wait for its slot of the
  shared budget is timed, with no backfill and with one; the kill is a SIGKILL when the polls end. What a
  month's search takes is all that the estimate of such a window asks for, its sample included.
- A CRM in another database is a table of the same rows in a MariaDB server of the run's own (a buffer pool
  of 1 GB), or in a DuckDB file, which the client itself opens. The bulk read fetches the same columns through
  SQLAlchemy and keeps nothing. After each second look, rows and a sum of the copy are compared with those.
- The inbox's files are hard links to files written once, in cache, so that each way begins with the same;
  afterwards events, copies, ids and bodies in the table, the drop and the archive are counted. A wake-up is
  an `ingest` of an empty drop that also looks for days to delete from the archive.
- Start-up is measured by the command line itself, whose output is checked: interpreter, imports, reading
  the configuration, the work, and the end of the process.
- The way from a file to the mirror is measured by the clock on the wall, from the rename that puts the
  file into the drop: it is mostly Airflow's own time.
- The peers get what is best for them: the faster of 100 and 500 a page, byte code kept, dlt without its
  import of Airflow, and for comparisons a narrow copy of the mirror's side with a primary key, and the
  session settings of ours (`jit=off`, `random_page_cost=1.1`) by `PGOPTIONS`. Ours compares a copy, which is
  read once before, so that it lies in shared buffers as their tables do.
"""
