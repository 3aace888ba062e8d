"""Which differences and reports go: each reason to keep them beside a world in which it is none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.retention import Kept
from enerflo_sync.retention import reports
from enerflo_sync.retention.reports import DifferencesSweep, ReportsSweep
from enerflo_sync.retention.sweep import Gone, Sweep
from tests.retention.rows import (
    BEFORE,
    DAY,
    MOMENT,
    OLD,
    RECENT,
    Row,
    noted,
    put_worlds,
    rows_of,
    swept,
    total,
)


def report(name: str = "target", **values: Any) -> Row:
    row = {"reconciliation_id": name, "scope": "full", "started_at": OLD, "finished_at": OLD}
    return "sync.reconciliations", {**row, "compared_until": OLD, **values}


RECENTLY = {"started_at": RECENT, "finished_at": RECENT, "compared_until": RECENT}


def latest(**values: Any) -> Row:
    return report("latest", **{**RECENTLY, **values})


def plan(**values: Any) -> Row:
    row = {"plan_hash": "p", "kind": "sync", "state": "open", "stands_on": "target", "mode": "both"}
    return "sync.plans", {**row, **values}


ENDED = ("applied", "rejected", "expired", "superseded")
# In these worlds both the differences and the report stay.
STAYS: dict[str, list[Row]] = {
    "compared at the bound": [report(compared_until=BEFORE)],
    "the newest that ended": [report(), latest(finished_at=None)],
    "of two of one moment the one that began later": [
        report(started_at=OLD + MOMENT, scope="incremental"),
        report("other", scope="incremental"),
        latest(finished_at=None),
    ],
    "the newest full one": [report(), latest(scope="incremental")],
    "the newest full one that ended": [
        report(),
        latest(finished_at=None),
        report("other", scope="incremental", **RECENTLY),
    ],
    "of two full ones of one moment the one that began later": [
        report(started_at=OLD + MOMENT),
        report("other"),
        latest(scope="incremental"),
    ],
    "it began earlier than another one, and compared more": [
        report(compared_until=OLD + DAY),
        report("other", started_at=OLD + DAY),
        latest(finished_at=None),
    ],
    **{
        f"a plan that is {state} stands on it": [report(), plan(state=state)]
        for state in ("open", "approved")
    },
}
GOES: dict[str, list[Row]] = {
    "it is old": [report()],
    "it did not end": [report(finished_at=None)],
    "it was incremental, and so was the next": [
        report(scope="incremental"),
        report("other", scope="incremental", compared_until=OLD + DAY),
        latest(finished_at=None),
        report("full"),
    ],
    "there was a newer full one that ended": [report(), report("other", compared_until=OLD + DAY), latest(finished_at=None)],
    "a newer full one is none of these": [report(), latest()],
    "it compared until just before the bound": [report(compared_until=BEFORE - MOMENT)],
    "an open plan stands on another one": [report(), plan(stands_on="latest")],
    "an open plan stands on nothing": [report(), plan(stands_on=None)],
}  # fmt: skip
# The differences go, and the report stays with its plan.
HALF: dict[str, list[Row]] = {
    **{f"a plan that is {state} stands on it": [report(), plan(state=state)] for state in ENDED},
    "an undo names it": [report(), plan(kind="undo")],
}
WORLDS = {
    **{f"stays: {name}": rows for name, rows in STAYS.items()},
    **{f"goes: {name}": rows for name, rows in GOES.items()},
    **{f"half: {name}": rows for name, rows in HALF.items()},
}


def world(rows: Iterable[Row]) -> list[Row]:
    rows = list(rows)
    names = [values["reconciliation_id"] for table, values in rows if table == "sync.reconciliations"]
    if "latest" not in names:
        rows.append(latest())
        names.append("latest")
    return [*rows, *(difference(name, n) for name in names for n in range(2))]


def difference(name: str, number: int) -> Row:
    return "sync.differences", {"reconciliation_id": name, "enerflo_value": "x" * number}


def left(engine: sa.Engine, table: str) -> dict[str, list[str]]:
    found = rows_of(engine, f"select account, reconciliation_id from sync.{table} order by 1, 2")
    return {name: [one for account, one in found if account == name] for name in WORLDS}


def went(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, bool]:
    """Return by world whether the target went whole; of others the newest stays, whatever else goes."""
    for name in WORLDS:
        assert after[name].count("latest") == before[name].count("latest"), name
        assert after[name].count("target") in {0, before[name].count("target")}, name
    return {name: "target" not in after[name] for name in WORLDS}


def about(batches: list[Gone]) -> list[tuple[Any, ...]]:
    """Return what batches say, with sizes to 100 bytes: a row is some bytes larger where it is deleted."""
    return [(one.rows, round(one.size, -2), one.oldest, one.newest) for one in batches]


def compared(engine: sa.Engine, sweep: Sweep, kind: Kept) -> None:
    """Look and then sweep in every world: both find the same, and what was deleted is noted."""
    looked = {name: swept(engine, sweep, kind, name, dry=True) for name in WORLDS}
    assert [one for _, one in noted(engine) if one == str(kind)] == []
    gone = {name: swept(engine, sweep, kind, name) for name in WORLDS}
    assert {name: about(one) for name, one in gone.items()} == {
        name: about(one) for name, one in looked.items()
    }
    told = noted(engine)
    for name, batches in gone.items():
        assert told.get((name, str(kind)), (0, 0))[:2] == total(batches), name


def test_differences_go_unless_something_stands_on_them(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {name: world(rows) for name, rows in WORLDS.items()})
    had, reports_had = left(warehouse, "differences"), left(warehouse, "reconciliations")
    sizes = rows_of(warehouse, "select sum(pg_column_size(d.*))::int from sync.differences d")[0][0]
    compared(warehouse, DifferencesSweep(), Kept.DIFFERENCES)
    gone = went(had, left(warehouse, "differences"))
    assert gone == {name: not name.startswith("stays") for name in WORLDS}
    assert left(warehouse, "reconciliations") == reports_had
    assert noted(warehouse)["goes: it is old", "differences"][0] == 2
    assert noted(warehouse)["goes: it is old", "differences"][2:4] == (OLD, OLD)
    rest = rows_of(warehouse, "select sum(pg_column_size(d.*))::int from sync.differences d")[0][0]
    deleted = sum(row[0] for row in noted(warehouse).values())
    assert abs(sum(row[1] for row in noted(warehouse).values()) - (sizes - rest)) < 10 * deleted


def test_reports_go_unless_something_stands_on_them(warehouse: sa.Engine) -> None:
    began_late = {"stays: it began at the bound": [report(started_at=BEFORE)]}
    worlds = WORLDS | began_late
    put_worlds(warehouse, {name: world(rows) for name, rows in worlds.items()})
    assert total(swept(warehouse, ReportsSweep(), Kept.REPORTS, "stays: it began at the bound")) == (0, 0)
    had = left(warehouse, "reconciliations")
    compared(warehouse, ReportsSweep(), Kept.REPORTS)
    gone = went(had, left(warehouse, "reconciliations"))
    assert gone == {name: name.startswith("goes") for name in WORLDS}
    # No difference is left without its report, and each other one is.
    reports_left = left(warehouse, "reconciliations")
    assert left(warehouse, "differences") == {
        name: [one for one in names for _ in range(2)] for name, names in reports_left.items()
    }
    assert noted(warehouse)["goes: it is old", "reports"][2:4] == (OLD, OLD)


def test_the_size_of_a_report_is_that_of_its_texts(warehouse: sa.Engine) -> None:
    bare = [latest(), report("a", report={}), report("b", summary=None)]
    put_worlds(warehouse, {"one": [*bare, report("c", report={"a": "x" * 50}, summary={"b": "y" * 90})]})
    sizes = rows_of(
        warehouse,
        "select sum(pg_column_size(report))::int, sum(pg_column_size(summary))::int from sync.reconciliations"
        " where reconciliation_id <> 'latest'",
    )
    assert total(swept(warehouse, ReportsSweep(), Kept.REPORTS, "one")) == (3, sum(sizes[0]))


@pytest.mark.parametrize(("count", "batches"), [(4, [2, 2]), (5, [2, 2, 1]), (1, [1])])
def test_differences_go_in_batches(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch, count: int, batches: list[int]
) -> None:
    monkeypatch.setattr(reports, "BATCH", 2)
    rows = [difference("target", n) for n in range(count)]
    others = [latest(), difference("latest", 1), report("without")]
    put_worlds(warehouse, {"one": [report(), *rows, *others], "two": [report(), latest(), *rows]})
    one = swept(warehouse, DifferencesSweep(), Kept.DIFFERENCES, "one", dry=True)
    assert [gone.rows for gone in one] == [count]
    found = swept(warehouse, DifferencesSweep(), Kept.DIFFERENCES, "one")
    assert [gone.rows for gone in found] == batches
    assert abs(total(found)[1] - total(one)[1]) < 10 * count
    left_in = rows_of(warehouse, "select account, count(*)::int from sync.differences group by 1 order by 1")
    assert left_in == [("one", 1), ("two", count)]


def test_reports_go_in_batches(warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "BATCH", 20)
    put_worlds(warehouse, {"one": [latest(), *(report(name) for name in "abcde")]})
    for dry in (True, False):
        found = swept(warehouse, ReportsSweep(), Kept.REPORTS, "one", dry=dry)
        assert [gone.rows for gone in found] == [2, 2, 1]
    assert rows_of(warehouse, "select reconciliation_id from sync.reconciliations") == [("latest",)]
