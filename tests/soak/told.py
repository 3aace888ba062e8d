"""The figures of a soak as tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.soak.judge import KEPT
from tests.soak.meter import Took
from tests.soak.years import Measured


def tables(measured: Sequence[Measured], parts: int) -> str:
    """Return everything that was measured, by year."""
    years = measured[parts - 1 :: parts]
    parts = (
        _sizes(years),
        _took("job, a run on average", _by_year(measured, parts)),
        _probes(years),
        _pages(years),
    )
    return "\n\n".join("\n".join(part) for part in parts)


def _head(first: str, years: int) -> Iterator[str]:
    yield "| " + " | ".join([first, *(f"year {n + 1}" for n in range(years))]) + " |"
    yield "|---" * (years + 1) + "|"


def _sizes(years: Sequence[Measured]) -> Iterator[str]:
    yield from _head("table: rows, kB", len(years))
    names = sorted(years[-1].sizes, key=lambda name: -years[-1].sizes[name][1])
    for name in names:
        if years[-1].sizes[name][0] or any(year.sizes.get(name, (0, 0))[0] for year in years):
            cells = [
                f"{rows:,}, {size / 1024:,.0f}" for rows, size in (y.sizes.get(name, (0, 0)) for y in years)
            ]
            mark = "" if name in KEPT else " *"
            yield f"| {name}{mark} | " + " | ".join(cells) + " |"
    yield "| **all, MB** | " + " | ".join(f"**{year.size / 1e6:.1f}**" for year in years) + " |"


def _by_year(measured: Sequence[Measured], parts: int) -> list[dict[str, Took]]:
    years = [measured[at : at + parts] for at in range(0, len(measured), parts)]
    found = []
    for year in years:
        of_year: dict[str, Took] = {}
        for name in {name for part in year for name in part.ran}:
            runs = [part.ran[name] for part in year if name in part.ran]
            of_year[name] = Took(
                len(runs),
                sum(run.statements for run in runs),
                sum(run.requests for run in runs),
                0,
                sum(run.seconds for run in runs),
            ).each()
        found.append(of_year)
    return found


def _took(first: str, years: Sequence[dict[str, Took]]) -> Iterator[str]:
    yield from _head(f"{first}: statements (requests), ms", len(years))
    for name in sorted(years[-1]):
        yield f"| {name} | " + " | ".join(_cell(year.get(name)) for year in years) + " |"


def _cell(took: Took | None) -> str:
    if took is None:
        return ""
    requests = f" ({took.requests})" if took.requests else ""
    return f"{took.statements}{requests}, {took.seconds * 1000:.0f}"


def _probes(years: Sequence[Measured]) -> Iterator[str]:
    yield from _head("job, nothing new: statements (requests), blocks, ms", len(years))
    yield from _blocks([year.probes for year in years])


def _pages(years: Sequence[Measured]) -> Iterator[str]:
    yield from _head("page: statements, blocks, ms", len(years))
    yield from _blocks([year.pages for year in years])


def _blocks(years: Sequence[dict[str, Took]]) -> Iterator[str]:
    for name in years[-1]:
        cells = []
        for year in years:
            took = year[name]
            requests = f" ({took.requests})" if took.requests else ""
            cells.append(f"{took.statements}{requests}, {took.blocks:,}, {took.seconds * 1000:.1f}")
        yield f"| {name} | " + " | ".join(cells) + " |"
