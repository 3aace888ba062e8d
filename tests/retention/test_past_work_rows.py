"""Rows of past work: in each table which goes, and which stays though it is as old."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.retention import Kept
from enerflo_sync.retention import sweep
from enerflo_sync.retention.rows import LooksSweep, RunsSweep
from enerflo_sync.retention.sweep import Gone, note
from tests.retention.rows import (
    BEFORE,
    BOUND,
    DAY,
    MOMENT,
    NOW,
    OLD,
    RECENT,
    Row,
    noted,
    put_worlds,
    rows_of,
    scope_of,
    swept,
    total,
)

ACCOUNT = "one"
WEEK_BEFORE = BEFORE - timedelta(days=7)


def run(name: str, job: str = "poll", **values: Any) -> Row:
    row = {"run_id": name, "job": job, "started_at": OLD, "finished_at": OLD, "state": "ok"}
    return "sync.runs", {**row, **values}


def check(name: str, **values: Any) -> Row:
    return "sync.quality_runs", {"run_id": name, "started_at": OLD, **values}


def result(run_id: str, number: int) -> Row:
    return "sync.quality_results", {"run_id": run_id, "change_order_id": number}


def life_cycle(name: str, **values: Any) -> Row:
    return "sync.life_cycle_runs", {"run_id": name, "started_at": OLD, **values}


def finding(step: str, **values: Any) -> Row:
    return "sync.life_cycle_findings", {"step": step, "since": OLD, **values}


def backfill(name: str, **values: Any) -> Row:
    row = {"backfill_id": name, "state": "finished", "kind": "ids", "created_at": OLD, "touched_at": OLD}
    return "sync.backfills", {**row, **values}


def chunk(name: str, number: int) -> Row:
    return "sync.backfill_chunks", {"backfill_id": name, "chunk": number, "state": "done"}


def calls(endpoint: str, **values: Any) -> Row:
    return "sync.api_calls", {"endpoint": endpoint, "hour": OLD, **values}


def message(subject: str, **values: Any) -> Row:
    return "sync.notifications", {"subject": subject, "created_at": OLD, "state": "sent", **values}


LAST = {"started_at": RECENT, "finished_at": RECENT}
RUNS = [
    *(run("first", started_at=OLD - DAY), run("last", **LAST)),
    *(run(f"{state} goes", state=state) for state in ("ok", "partial", "failed")),
    run("just before goes", started_at=BEFORE - MOMENT),
    run("at the bound", started_at=BEFORE),
    run("unended goes", started_at=WEEK_BEFORE - MOMENT, finished_at=None),
    run("unended for a week", started_at=WEEK_BEFORE, finished_at=None),
    # The newest that did not fail, beside newer ones that did.
    run("failing: first", "ingest", started_at=OLD - DAY, state="failed"),
    run("failing: goes", "ingest", state="partial"),
    run("failing: newest", "ingest", started_at=OLD + DAY, state="partial"),
    run("failing: failed, goes", "ingest", started_at=OLD + 2 * DAY, state="failed"),
    run("failing: last", "ingest", started_at=OLD + 3 * DAY, state="failed"),
    run("only", "once"),
]
CHECKS = [
    *(check("checked goes"), check("ordered"), check("newest", started_at=OLD + DAY)),
    ("sync.change_order_facts", {"change_order_id": 1, "run_id": "ordered"}),
    *(result(name, n) for name in ("checked goes", "ordered", "newest") for n in (1, 2)),
]
LIFE_CYCLES = [life_cycle("life goes"), life_cycle("life newest", started_at=OLD + DAY)]
FINDINGS = [
    finding("open", resolved_at=None),
    finding("resolved goes", resolved_at=OLD),
    finding("just before goes", resolved_at=BEFORE - MOMENT),
    finding("at the bound", resolved_at=BEFORE),
]
BACKFILLS = [
    *(backfill(f"{state} goes", state=state) for state in ("finished", "superseded")),
    *(backfill(state, state=state) for state in ("reading", "estimated")),
    backfill("ended at the bound", finished_at=BEFORE, touched_at=OLD),
    backfill("touched at the bound", touched_at=BEFORE),
    backfill("ended and touched goes", finished_at=OLD, touched_at=RECENT),
    backfill("newest", created_at=OLD + DAY),
    *(chunk(name, n) for name in ("finished goes", "superseded goes", "newest", "reading") for n in (1, 2)),
]
CALLS = [calls("goes"), calls("just before goes", hour=BEFORE - MOMENT), calls("at the bound", hour=BEFORE)]
MESSAGES = [
    *(message(f"{state} goes", state=state) for state in ("sent", "failed")),
    *(message("pending", state="pending"), message("at the bound", created_at=BEFORE)),
]
ROWS = [*RUNS, *CHECKS, *LIFE_CYCLES, *FINDINGS, *BACKFILLS, *CALLS, *MESSAGES]
# What is needed here is not there, and the other way round.
OTHERS = [
    *(run("ok goes", started_at=OLD - DAY), run("partial goes", **LAST), run("first"), run("last")),
    *(run("failing: goes", "ingest", started_at=OLD + 9 * DAY), run("failing: newest", "ingest")),
    *(check("checked goes", started_at=OLD + DAY), check("ordered"), check("newest")),
    ("sync.change_order_facts", {"change_order_id": 1, "run_id": "newest"}),
    *(result(name, n) for name in ("checked goes", "newest") for n in (1, 2)),
    *(life_cycle("life goes", started_at=OLD + DAY), life_cycle("life newest")),
    *(backfill("finished goes", created_at=OLD + DAY), backfill("newest"), chunk("finished goes", 1)),
    *(*FINDINGS, *CALLS, *MESSAGES),
]
NAMES = {
    **{"runs": "run_id", "quality_runs": "run_id", "quality_results": "run_id", "life_cycle_runs": "run_id"},
    **{"life_cycle_findings": "step", "backfills": "backfill_id", "backfill_chunks": "backfill_id"},
    **{"api_calls": "endpoint", "notifications": "subject"},
}


def left(engine: sa.Engine, account: str) -> dict[str, list[str]]:
    """Return by table the names of the rows."""
    return {
        table: [
            str(row[0])
            for row in rows_of(
                engine, f"select {column} from sync.{table} where account = :a order by 1", a=account
            )
        ]
        for table, column in NAMES.items()
    }


def test_of_each_table_what_nothing_needs_goes(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {ACCOUNT: ROWS, "other": OTHERS})
    before, there = left(warehouse, ACCOUNT), left(warehouse, "other")
    size = sum(
        row[0]
        for table, column in NAMES.items()
        # What goes with a row is no row of the report.
        if table not in {"quality_results", "backfill_chunks"}
        for row in rows_of(
            warehouse,
            f"select pg_column_size(t.*) from sync.{table} t where account = :a and {column} like '%goes%'",
            a=ACCOUNT,
        )
    )
    looked = swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT, dry=True)
    assert left(warehouse, ACCOUNT) == before
    gone = swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT)
    assert gone == looked
    after = left(warehouse, ACCOUNT)
    assert after == {
        table: [name for name in names if not name.endswith("goes")] for table, names in before.items()
    }
    assert left(warehouse, "other") == there
    counted = sum(
        len(before[name]) - len(after[name])
        for name in NAMES
        if name not in {"quality_results", "backfill_chunks"}
    )
    assert total(gone) == (counted, size)
    assert noted(warehouse)[ACCOUNT, "runs"] == (
        *(counted, size, OLD, BEFORE - MOMENT),
        *(NOW, BOUND, BEFORE),
    )
    assert swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT) == []


def test_runs_of_checks_go_where_only_the_newest_is_left(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {ACCOUNT: [check("a"), check("b", started_at=OLD + MOMENT), check("c")]})
    assert total(swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT))[0] == 2
    assert left(warehouse, ACCOUNT)["quality_runs"] == ["b"]


@pytest.mark.parametrize("dry", [True, False])
def test_rows_of_one_moment_go_in_batches_each_once(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch, dry: bool
) -> None:
    monkeypatch.setattr(sweep, "BATCH", 2)
    rows = [calls(name) for name in "edcba"] + [calls("f", hour=OLD + DAY), calls("0", hour=OLD - DAY)]
    put_worlds(warehouse, {ACCOUNT: rows})
    found = swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT, dry=dry)
    assert [(one.rows, one.oldest, one.newest) for one in found] == [
        (2, OLD - DAY, OLD),
        (2, OLD, OLD),
        (2, OLD, OLD),
        (1, OLD + DAY, OLD + DAY),
    ]


def test_a_row_that_somebody_changes_at_the_moment_is_left_to_the_next_run(warehouse: sa.Engine) -> None:
    put_worlds(warehouse, {ACCOUNT: [calls("a"), calls("b")]})
    with warehouse.connect() as other:
        other.execute(sa.text("select from sync.api_calls where endpoint = 'a' for update"))
        assert total(swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT, dry=True))[0] == 2
        assert total(swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT))[0] == 1
        assert left(warehouse, ACCOUNT)["api_calls"] == ["a"]
    assert total(swept(warehouse, RunsSweep(), Kept.RUNS, ACCOUNT))[0] == 1


def test_looks_at_tables_go_that_are_not_mapped_any_more(warehouse: sa.Engine) -> None:
    rows = [
        *(
            ("sync.crm_looks", {"table_name": table, "looker": looker, "seen_until": at})
            for table in ("mapped", "gone")
            for looker, at in (("old", OLD), ("bound", BEFORE))
        ),
        *(
            ("sync.crm_rows", {"table_name": table, "identity": identity, "seen_at": at})
            for table in ("mapped", "gone")
            for identity, at in ((1, OLD), (2, BEFORE))
        ),
    ]
    put_worlds(warehouse, {ACCOUNT: rows, "other": rows})
    mapped = LooksSweep(["mapped", "another"])
    assert total(swept(warehouse, mapped, Kept.LOOKS, ACCOUNT, dry=True))[0] == 2
    assert total(swept(warehouse, mapped, Kept.LOOKS, ACCOUNT))[0] == 2
    seen = "select table_name, looker from sync.crm_looks where account = :a order by 1, 2"
    kept = "select table_name, identity from sync.crm_rows where account = :a order by 1, 2"
    assert rows_of(warehouse, seen, a=ACCOUNT) == [("gone", "bound"), ("mapped", "bound"), ("mapped", "old")]
    assert rows_of(warehouse, kept, a=ACCOUNT) == [("gone", 2), ("mapped", 1), ("mapped", 2)]
    assert len(rows_of(warehouse, seen, a="other")) == len(rows_of(warehouse, kept, a="other")) == 4


def test_what_the_batches_of_a_run_deleted_is_noted_as_one(warehouse: sa.Engine) -> None:
    first, second = Gone(2, 20, OLD, OLD + DAY), Gone(3, 30, OLD - DAY, OLD)
    third = Gone(1, 5, OLD + 2 * DAY, OLD + 3 * DAY)
    with warehouse.begin() as connection:
        for gone in (first, second, third):
            note(connection, scope_of(Kept.RUNS, ACCOUNT), gone)
        note(connection, scope_of(Kept.LOOKS, ACCOUNT), first)
    assert noted(warehouse) == {
        (ACCOUNT, "runs"): (6, 55, OLD - DAY, OLD + 3 * DAY, NOW, BOUND, BEFORE),
        (ACCOUNT, "looks"): (2, 20, OLD, OLD + DAY, NOW, BOUND, BEFORE),
    }
