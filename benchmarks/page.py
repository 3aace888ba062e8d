"""The report as Markdown, for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.results import Report, Section, Target
from benchmarks.runs import Run, Told

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
FAILED_TITLE = "### Not measured, or not to be believed"


class PageError(Exception):
    """The page is not as this program writes it."""


def render(report: Report) -> str:
    """Return every section, its targets, and what failed."""
    parts = [_section(section) for section in report.sections]
    if report.failures:
        parts.append(f"{FAILED_TITLE}\n\n" + "\n".join(f"- {_line(one)}" for one in report.failures))
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


def part(report: Report, run: Run) -> str:
    """Return what a section writes into the page: its tables, what failed, and the run that they are of."""
    return f"{render(report)}\n{run.line()}\n"


def parts_of(page: str) -> dict[str, str]:
    """Return the parts of a page by section, each from its first heading to its line ``Run:``.

    :raises PageError: a part has no such line.
    """
    found: dict[str, str] = {}
    pending = ""
    for chunk in re.split(r"(?m)^(?=## )", page)[1:]:
        if chunk.startswith(READING_TITLE):
            continue
        pending += chunk
        told = Told.of(chunk)
        if told is not None:
            found[told.section] = pending.strip() + "\n"
            pending = ""
    if pending:
        title = pending.partition("\n")[0]
        raise PageError(
            f"the page's part {title!r} does not end with the line 'Run:' of a run: take the page from git"
            " again, or remove that part and measure it anew"
        )
    return found


def document(parts: Mapping[str, str], sections: Sequence[str]) -> str:
    """Return docs/benchmarks.md.

    :param parts: by section, as they were measured or as the page had them.
    :param sections: all that can be measured, in the order of the page.
    """
    # A part of a section that is gone stays until somebody removes it.
    order = [*sections, *(name for name in parts if name not in sections)]
    rows = [_overview(name, parts.get(name)) for name in order]
    blocks = [INTRODUCTION.strip(), _table(_OVERVIEW, rows), READING.strip()]
    blocks += [parts[name].strip() for name in order if name in parts]
    return "\n\n".join(blocks) + "\n"


_OVERVIEW = ("part", "ended, UTC", "samples of a line", "processor", "run", "targets reached")


def _overview(name: str, text: str | None) -> list[str]:
    told = Told.of(text or "")
    if text is None or told is None:
        return [f"`{name}`", "not measured", "", "", "", ""]
    reached, of_all = targets(text)
    failed = ", with failures" if FAILED_TITLE in text else ""
    shown = f"{reached} of {of_all}{failed}"
    return [f"`{name}`", told.ended, told.samples, told.processor, told.size, shown]


def targets(text: str) -> tuple[int, int]:
    """Return how many targets a part reached, and how many it has."""
    judged = [line.rpartition(" | ")[2] for line in text.splitlines() if _JUDGED.search(line)]
    return judged.count("yes |"), len(judged)


_JUDGED = re.compile(r"^\| .* \| (yes|\*\*no\*\*|not measured) \|$")

INTRODUCTION = """
# Benchmarks

Written by `make bench BENCH="SECTION --write"`, which replaces that section's part, or by
`make bench BENCH=--write`, which replaces all; it is never edited by hand. `make bench BENCH=--list` says
what each section measures and how long it takes.

Each part ends with the line *Run:*, which names the run that it is of: the command, the machine and its
load, versions and settings. **The parts may be of different runs**, so compare figures within one part only.
Compare ratios, not seconds: machines differ, ratios hardly do.
"""

READING_TITLE = "## How to read it"
READING = """
## How to read it

- Every measurement is a fresh process, and all ways do one stage before any does the next, so that
  whatever else the machine does falls on all of them. Figures are min / **median** / max of the rounds;
  ratios are of medians. A target judges the median. Those of memory, and of what must never happen (a refused
  request, a page read twice, more requests in a minute than live polls leave), judge the worst round.
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
