"""Which changes that wait are ended by another mapping: every kind of change beside every way to map it otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.mapped_otherwise import FORBIDDEN, OTHERWISE, UNMAPPED, end_mapped_otherwise
from enerflo_sync.crm.mapping import Direction, Side
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import OF_ROWS
from tests.writes.handed_rows import LONG_AGO, HandedRows

# title gets another meaning, sequence stays as it is, note is not written any more, and former is not mapped.
COLUMNS = ("title", "sequence", "note", "former")


@pytest.fixture(params=[True, False], ids=["its own", "the record's"])
def rows(request: pytest.FixtureRequest, warehouse: sa.Engine, tmp_path: Path) -> Iterator[HandedRows]:
    with warehouse.begin() as connection:
        yield HandedRows(connection, tmp_path, request.param)


def mapped(rows: HandedRows, remeant: frozenset[str], makes: bool) -> Comparison:
    plan = rows.plan()
    sides = (Side.CRM,) if makes else ()
    fields = [
        replace(one, mapping=one.mapping.model_copy(update={"direction": Direction.TO_ENERFLO}))
        if one.name == "note"
        else one
        for one in plan.fields
    ]
    mapping = plan.mapping.model_copy(update={"create_in": sides, "delete_in": sides})
    return replace(plan, fields=fields, mapping=mapping, remeant=remeant)


def ended_by(change: dict[str, Any], remeant: frozenset[str], makes: bool) -> str | None:
    """Return why a change of the mapped table is ended by itself, as the promise says it."""
    op, column = change["op"], change["column"]
    waits = change["state"] == "open" and change["ended_at"] is None and change["kind"] != "link"
    # What a tool took over of a new row may be in the CRM by now.
    if not waits or (op == "insert" and change["acknowledged_at"] is not None):
        return None
    if OF_ROWS in remeant or column in remeant:
        return OTHERWISE
    known = COLUMNS[:2] if op == "update" else COLUMNS[:3]
    if op != "delete" and column not in known:
        return FORBIDDEN
    return FORBIDDEN if op != "update" and change["kind"] == "sync" and not makes else None


def found(rows: HandedRows) -> dict[int, tuple[Any, ...]]:
    return {
        number: (row["state"], row["reason"], row["ended_at"], row["planned"])
        for number, row in rows.changes().items()
    }


@pytest.mark.parametrize("makes", [True, False], ids=["rows are made", "none are"])
@pytest.mark.parametrize("remeant", [(), ("title",), (OF_ROWS,)], ids=["none", "a field", "the rows"])
def test_what_waits_and_is_mapped_otherwise(rows: HandedRows, remeant: tuple[str, ...], makes: bool) -> None:
    meanings = frozenset(remeant)
    made: dict[int, dict[str, Any]] = {}
    cases = product(
        ("default", "west"),
        ("update", "insert", "delete"),
        COLUMNS,
        ("sync", "undo", "link"),
        (("open", None), ("open", LONG_AGO), ("superseded", None)),
        (None, LONG_AGO),
    )
    for n, (account, op, column, kind, (state, ended), taken) in enumerate(cases, 1):
        if op == "delete" and column != "title":
            continue
        change = {
            **{"account": account, "op": op, "column": None if op == "delete" else column, "kind": kind},
            **{"state": state, "ended_at": ended, "acknowledged_at": taken},
        }
        made[rows.change(n, **change)] = change
    before = found(rows)
    end_mapped_otherwise(rows.connection, [mapped(rows, meanings, makes)], "default")
    wanted = dict(before)
    for number, change in made.items():
        reason = ended_by(change, meanings, makes) if change["account"] == "default" else None
        if reason is not None:
            end = rows.now if OF_ROWS in meanings else None
            wanted[number] = ("superseded", reason, end, "superseded")
    assert found(rows) == wanted
    assert (makes and not remeant) or wanted != before


def test_a_new_row_is_ended_whole_and_nothing_beside_it(rows: HandedRows) -> None:
    """Of one plan and one key; what a row's columns are ended by is told by the word that comes last."""
    whole = [rows.change(1, op="insert", column=name) for name in ("sequence", "title", "former")]
    beside = [
        rows.change(1, op="update", column="sequence"),
        rows.change(1, op="insert", column="sequence", plan_hash="q"),
        rows.change(2, op="insert", column="sequence"),
    ]
    # An edit that is ended takes no new row along.
    edit, row = rows.change(3, op="update", column="title"), rows.change(3, op="insert", column="sequence")
    end_mapped_otherwise(rows.connection, [mapped(rows, frozenset({"title"}), True)], "default")
    after = found(rows)
    last = max(OTHERWISE, FORBIDDEN)
    assert [after[number][:2] for number in whole] == [("superseded", last)] * 3
    assert [after[number][0] for number in (*beside, row)] == ["open"] * 4
    assert after[edit][:2] == ("superseded", OTHERWISE)


@pytest.mark.parametrize("all_tables", [True, False])
def test_changes_of_a_table_that_is_mapped_no_more(rows: HandedRows, all_tables: bool) -> None:
    made: dict[int, bool] = {}
    cases = product(
        ("default", "west"),
        ("gone", "milestones"),
        ("sync", "undo", "link"),
        (("open", None), ("open", LONG_AGO), ("superseded", None)),
    )
    for n, (account, table, kind, (state, ended)) in enumerate(cases, 1):
        number = rows.change(
            n, account=account, table_name=table, kind=kind, state=state, ended_at=ended, column="sequence"
        )
        waits = state == "open" and ended is None and kind != "link"
        made[number] = account == "default" and table == "gone" and waits and all_tables
    before = found(rows)
    plans = [mapped(rows, frozenset(), True)]
    if all_tables:
        end_mapped_otherwise(rows.connection, plans, "default", all_tables=True)
    else:
        end_mapped_otherwise(rows.connection, plans, "default")
    ended_now = ("superseded", UNMAPPED, rows.now, "superseded")
    assert found(rows) == {number: ended_now if made[number] else before[number] for number in made}
