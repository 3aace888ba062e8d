"""Which rows are written in the other database: every change beside every value that the copy may have."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest

from enerflo_sync.copies.due import RowWrite, due_writes, numbers_of
from tests.copies.rows import COPY, MARKED, Rows

# The statements are the warehouse's own: which other database it is makes no difference.
pytestmark = pytest.mark.parametrize("elsewhere", ["duckdb"], indirect=True)

# Texts that the row of a change has: none where no row has its key, several where more have it.
ROWS: list[list[str | None]] = [[], ["Old"], ["New"], ["Else"], [None], ["Old", "Old"]]
# What is handed over, and what makes it no business of this run.
STRANGERS: list[dict[str, Any]] = [
    {"account": "other"},
    {"table_name": "notes"},
    {"state": "superseded"},
    {"ended_at": datetime(2026, 1, 1, tzinfo=UTC)},
    {"field": "no_such_column"},
]


def written(writes: list[RowWrite]) -> dict[tuple[str, str], tuple[list[int], tuple[Any, ...], Any]]:
    return {(one.op, one.key[0]): (sorted(one.numbers), one.key, one.values) for one in writes}


def test_a_column_is_written_where_the_copy_says_what_the_plan_saw(rows: Rows) -> None:
    wanted: dict[tuple[str, str], Any] = {}
    moved = []
    cases = product(ROWS, ("Old", None), ("New", None), ("in", "out"), (False, True))
    for n, (texts, saw, after, kind, gone) in enumerate(cases):
        own = f"k{n}"
        for text in texts:
            rows.row(own, title=text, kind=kind, gone=gone)
        # Of one row two columns, of which one may be written and the other not.
        title = rows.change(own, copy_value=saw, after=after)
        sequence = rows.change(own, field="sequence", copy_value=1, after=n)
        if len(texts) != 1 or kind == "out" or gone:
            continue
        (now,) = texts
        numbers, values = [sequence], {"sequence": n}
        if now == saw:
            numbers, values = [title, sequence], {"title": after, "sequence": n}
        elif now != after:
            moved.append(title)
        wanted["update", own] = (numbers, (own,), values)
    rows.refresh()
    with rows.engine.begin() as connection:
        writes, elsewhere = due_writes(connection, rows.plan(connection), "default")
    assert written(writes) == wanted
    assert sorted(elsewhere) == sorted(moved)
    assert sorted(numbers_of(writes)) == sorted(n for numbers, _, _ in wanted.values() for n in numbers)
    hashes = {row["own"]: (row["r"], row["k"]) for row in rows.sql(_HASHES)}
    assert {one.key[0]: (one.row_hash, one.key_hash) for one in writes} == {
        own: hashes[own] for _, own in wanted
    }


_HASHES = f"select own, _enerflo_row_hash as r, _enerflo_key_hash as k from {COPY}"


@pytest.mark.parametrize("marked", [True, False])
def test_rows_are_made_marked_and_changed_and_strangers_are_left_alone(rows: Rows, marked: bool) -> None:
    if not marked:
        rows.configured((MARKED, ""))
    wanted: dict[tuple[str, str], Any] = {}
    for own in ("both", "new"):
        made = [
            rows.change(own, op="insert", field=field, before=None, copy_value=None, after=value)
            for field, value in (("own", own), ("title", "New"), ("sequence", 7))
            # The key is written, too, where it is no column that the plan fills.
            if (own, field) != ("new", "own")
        ]
        wanted["insert", own] = (made, (own,), {"own": own, "title": "New", "sequence": 7})
    for own in ("both", "gone"):
        rows.row(own, title="Old")
        deletion = rows.change(own, op="delete", field=None, before={"title": "Old"}, after=None)
        if marked:
            wanted["delete", own] = ([deletion], (own,), {"gone": True})
    rows.change("nowhere", op="delete", field=None, after=None)
    rows.row("edited", title="Old")
    for other, op in product(STRANGERS, ("update", "insert", "delete")):
        if op != "delete":
            rows.change("edited", **{"op": op} | other)
        elif "field" not in other:
            rows.change("edited", **{"op": op, "field": None} | other)
    wanted["update", "edited"] = ([rows.change("edited")], ("edited",), {"title": "New"})
    rows.refresh()
    with rows.engine.begin() as connection:
        writes, moved = due_writes(connection, rows.plan(connection), "default")
    assert written(writes) == wanted
    assert moved == []
    assert {one.key[0] for one in writes if one.row_hash is None} == {"both", "new"}
    assert {one.op for one in writes if one.row_hash is None} == {"insert"}
