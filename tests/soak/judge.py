"""Says what of the measured years must not be: what grows without being kept, and what gets slower."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.soak.years import ARCHIVE, Measured

# The last year may grow by so many times the growth of the second one, in which retention has begun.
MOST_GROWTH = 1.3
# What may grow beside that: a table's first pages, a round number of rows.
_ROWS, _BYTES = 40, 256 * 1024
# Rows by which a table that is pruned may differ from one year's end to another.
_ABOUT = 10
# Statements of a page or job without news: each table that differs costs a reconciliation up to seven more, and
# a year may end with two such tables more than another. All else varies by less than a tenth.
_VARY, _STATEMENTS = 1.1, 10
# A further request, for a list that got longer, comes with so many statements.
_A_REQUEST = 12
# A job with news, of which one year brings it more than another.
_WITH_NEWS = 1.3

# Tables that grow as long as there is news, and why; docs/retention.md has the same under "Never deleted".
KEPT = {
    **dict.fromkeys(
        (
            *("enerflo.installs", "enerflo.milestones", "enerflo.notes", "enerflo.customers"),
            *("enerflo.change_orders", "enerflo.change_order_adders", "enerflo.submissions"),
        ),
        "the mirror's own rows: of each record that there ever was",
    ),
    "enerflo.install_versions": "of each record the first, the last and what a decision cites",
    "enerflo.appointment_versions": "of each record the first, the last and what a decision cites",
    "sync.webhook_events": "each event, without its body: so that a copy counts as one",
    "sync.quarantine": "what could not be used, and what people decided about it",
    "sync.life_cycle_findings": "findings that stand, as long as nobody mends what they name",
    "sync.plan_undecided": "questions of the kept plans: as many as people leave without an answer",
    "sync.ledger": "every decision: it replays",
    "sync.ledger_seals": "the ledger's hash chain",
    "sync.agreed": "the agreed value of each mapped field of each record",
    "sync.agreed_keys": "the key of each record",
    "sync.own_writes": "when each field of each record was last written by us",
    "sync.crm_rows": "what was last seen of each row of the CRM",
    "sync.change_order_facts": "what the checks know of each change order",
    "sync.life_cycle_installs": "what the checks know of each install",
    "sync.prunings": "a row a run and kind of which anything was deleted",
    "sync.pruned_versions": "a row a record of which versions were deleted",
}


def problems(measured: Sequence[Measured], parts: int) -> list[str]:
    """Return what must not be, in sentences; none where all is well.

    :param measured: whole years, three at least: the second and the last one are compared.
    :param parts: that were measured of each year.
    """
    years = measured[parts - 1 :: parts]
    if len(years) < 3:
        raise ValueError("the second year is compared with a later one: 3 years at least")
    return [*_of_disk(years), *_of_tables(years), *_of_statements(years), *_of_jobs(measured, parts)]


def _of_disk(years: Sequence[Measured]) -> Iterator[str]:
    second, last = (years[1].size - years[0].size, years[-1].size - years[-2].size)
    if last > MOST_GROWTH * second + _BYTES:
        yield (
            f"disk: year {len(years)} grew by {last / 1e6:.1f} MB, more than {MOST_GROWTH} x the"
            f" {second / 1e6:.1f} MB of year 2"
        )


def _of_tables(years: Sequence[Measured]) -> Iterator[str]:
    for name in years[-1].sizes:
        rows = [year.sizes.get(name, (0, 0))[0] for year in years]
        second, last = rows[1] - rows[0], rows[-1] - rows[-2]
        if last > MOST_GROWTH * second + max(_ROWS, rows[-2] // 20):
            yield f"{name}: year {len(years)} brought {last} rows, year 2 brought {second}"
        if name not in KEPT and name != ARCHIVE and rows[-1] > MOST_GROWTH * rows[1] + _ABOUT:
            yield (
                f"{name}: {rows[-1]} rows after year {len(years)}, {rows[1]} after year 2, and nothing says"
                " that they are kept"
            )


def _of_statements(years: Sequence[Measured]) -> Iterator[str]:
    second, last = (years[1].pages | years[1].probes, years[-1].pages | years[-1].probes)
    for name, took in last.items():
        more = took.requests - second[name].requests
        most = _VARY * second[name].statements + _STATEMENTS + _A_REQUEST * max(0, more)
        if took.statements > most:
            yield (
                f"{name}: {took.statements} statements at the end of year {len(years)},"
                f" {second[name].statements} at the end of year 2"
            )


def _of_jobs(measured: Sequence[Measured], parts: int) -> Iterator[str]:
    second, last = (measured[parts : 2 * parts], measured[-parts:])
    for name in last[-1].ran:
        before, after = (
            sum(part.ran[name].statements for part in year if name in part.ran) / parts
            for year in (second, last)
        )
        if after > _WITH_NEWS * before + _STATEMENTS:
            yield f"{name}: {after:.0f} statements a run in the last year, {before:.0f} in year 2"
