"""Five years of a company in steps of a quarter: nothing grows that is not kept, and nothing gets slower.

``make soak`` runs the same with a round of jobs each day.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak.company import EDITS, Pace
from tests.soak.judge import KEPT, problems
from tests.soak.meter import Took
from tests.soak.told import tables
from tests.soak.years import ARCHIVE, Measured, company_of, live

# Four rounds of jobs a year.
QUARTERS = 4
SHORT = Pace(installs=60, step=90.0, events=0.12, edits=0.08, turnover=0.02)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(600)
def test_five_years_in_steps_of_a_quarter(warehouse_url: str, tmp_path: Path) -> None:
    with company_of(warehouse_url, tmp_path, SHORT) as company:
        measured = list(live(company, 5, QUARTERS))
    found = problems(measured, QUARTERS)
    assert not found, "\n".join([*found, tables(measured, QUARTERS)])
    last = measured[-1]
    assert {"poll", "ingest", "plan", "apply", "prune"} <= last.ran.keys()
    assert {"sync.webhook_events", "sync.ledger", "enerflo.install_versions"} <= last.sizes.keys()
    assert last.sizes["sync.prunings"][0] > 0
    assert last.sizes[ARCHIVE][0] > 0
    assert "| sync.ledger |" in tables(measured, QUARTERS)


@pytest.mark.timeout(600)
def test_a_table_that_nothing_prunes_is_found(warehouse_url: str, tmp_path: Path) -> None:
    edits = (*EDITS, ("runs_days: 365", "runs_days: null"), ("plans_days: 365", "plans_days: null"))
    pace = replace(SHORT, step=120.0)
    with company_of(warehouse_url, tmp_path, pace, edits) as company:
        found = problems(list(live(company, 3, 3)), 3)
    assert [one for one in found if re.match("sync.(plan_changes|runs): [0-9]+ rows after year 3", one)]


# -- what is judged ---------------------------------------------------------------------------------------------


def of_quarter(number: int, *, rows: int = 100, size: int = 10**6, statements: int = 10) -> Measured:
    took = Took(1, statements, 0, 100, 0.01)
    return Measured(
        years=number / QUARTERS,
        machine=0.0,
        sizes={"sync.runs": (rows, size)},
        ran={"poll": took},
        pages={"overview": took},
        probes={"poll, nothing new": took} if number % QUARTERS == 0 else {},
    )


def years(**growing: int) -> list[Measured]:
    """Five years of which the last one has other figures."""
    even = [of_quarter(number) for number in range(1, 4 * QUARTERS + 1)]
    return even + [of_quarter(number, **growing) for number in range(4 * QUARTERS + 1, 5 * QUARTERS + 1)]


def test_even_years_are_well() -> None:
    assert problems(years(), QUARTERS) == []


def test_a_disk_that_grows_faster_than_in_the_second_year_is_found() -> None:
    (found,) = problems(years(size=10**7), QUARTERS)
    assert found == "disk: year 5 grew by 9.0 MB, more than 1.3 x the 0.0 MB of year 2"


def test_a_table_that_grows_without_being_kept_is_found() -> None:
    faster, unnamed = problems(years(rows=1_000), QUARTERS)
    assert faster == "sync.runs: year 5 brought 900 rows, year 2 brought 0"
    assert unnamed.startswith("sync.runs: 1000 rows after year 5, 100 after year 2, and nothing says")


def test_statements_that_grow_with_the_years_are_found() -> None:
    found = problems(years(statements=25), QUARTERS)
    assert [one.partition(":")[0] for one in found] == ["overview", "poll, nothing new", "poll"]


def test_a_longer_list_may_take_more_statements() -> None:
    measured = years()
    longer = Took(1, 25, 1, 100, 0.01)
    measured[-1] = replace(measured[-1], probes={"poll, nothing new": longer})
    assert problems(measured, QUARTERS) == []


def test_what_is_kept_is_said_where_people_read_it() -> None:
    page = (Path(__file__).parents[2] / "docs" / "retention.md").read_text()
    own = [name for name in KEPT if name.startswith("sync.")]
    assert [name for name in own if not re.search(rf"`(sync\.)?{name.removeprefix('sync.')}\b", page)] == []
