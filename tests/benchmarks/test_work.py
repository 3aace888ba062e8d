"""How many rows the statements of a plan go through: it grows with the changes, whatever PostgreSQL expects.

Right after an apply PostgreSQL knows nothing of the changes' new state, and takes thousands of rows for one. A
statement that then compares each change with all others takes minutes where a plan is large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks import rows
from benchmarks.warehouse import Warehouse
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.plan import run_plan

ROWS = 10_000
# Of five rows one is edited in the CRM, and one at Enerflo: 4,000.
EDITED = (
    f"update {rows.RIGHT} set panel_count = panel_count + 1, updated_at = now() where {rows.KEY} % 5 = 1",
    "update enerflo.installs set panel_count = panel_count + 1, updated_at = now(), observed_at = now()"
    f" where {rows.KEY} % 5 = 2",
)
# Each row, and each of twelve fields, several times. To compare each of 2,000 changes with each other one is
# three times as much.
MOST = 130 * ROWS
_NAMED = re.compile(
    r"\s*/\* enerflo-sync (.*?) \*/\s*(?:with|select|insert|update|delete|create temporary table \S+ on)"
)


def _work(node: dict[str, Any]) -> float:
    """Return how many rows a plan's node and all below it gave or dropped, over all their loops."""
    dropped = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    own = (node.get("Actual Rows", 0) + dropped) * node.get("Actual Loops", 0)
    return float(own) + sum(map(_work, node.get("Plans", ())))


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Collect the work of each named statement, by its name: the most of its executions."""
    found: dict[str, float] = {}

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        named = _NAMED.match(statement)
        if named is None:
            return
        cursor.execute("savepoint explained")
        cursor.execute(f"explain (analyze, format json) {statement}", parameters)
        (plan,) = cursor.fetchone()[0]
        found[named[1]] = max(found.get(named[1], 0.0), _work(plan["Plan"]))
        cursor.execute("rollback to savepoint explained")
        cursor.execute("release savepoint explained")

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", explain)


TRUTHS = ["enerflo", "crm", "newest"]


def planned_again(postgres_url: str, folder: Path, truth: str, *settings: str) -> dict[str, float]:
    """Return the work of the statements of a plan of edits, after another plan of as many was applied.

    :param settings: of the database, such as ``name = 1``.
    """
    server, path = Warehouse(postgres_url), folder / "sync.yaml"
    path.write_text(rows.WRITING_CONFIG.replace("source_of_truth: enerflo", f"source_of_truth: {truth}"))
    rows.plant(server, ROWS)
    server.execute(rows.DATABASE, *(f"alter database {rows.DATABASE} set {one}" for one in settings))
    context = open_account("default", {"WAREHOUSE_URL": server.database_url(rows.DATABASE)}, path)
    try:
        for _ in range(2):
            for plan in run_plan(context):
                run_apply(context, plan.plan_hash, approved_by="the test")
            server.execute(rows.DATABASE, *EDITED)
        with measured() as found:
            run_plan(context)
    finally:
        context.close()
        server.drop(rows.DATABASE)
    assert len(found) > 40, sorted(found)
    return found


@pytest.mark.parametrize("truth", TRUTHS)
def test_no_statement_of_a_plan_compares_each_change_with_all_others(
    postgres_url: str, tmp_path: Path, truth: str
) -> None:
    found = planned_again(postgres_url, tmp_path, truth)
    assert {name: work for name, work in found.items() if work > MOST} == {}


@pytest.mark.parametrize("truth", TRUTHS)
def test_what_is_known_of_a_difference_is_looked_up_however_large_the_table_is(
    postgres_url: str, tmp_path: Path, truth: str
) -> None:
    """Beside the cost of reading a table of a million rows, every way to join costs the same to PostgreSQL."""
    found = planned_again(postgres_url, tmp_path, truth, "seq_page_cost = 1000")
    assert found["reconcile installs: differing fields with their causes"] < MOST
