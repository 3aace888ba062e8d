"""What becomes of a change that was handed over: every change beside every state of copy and mirror."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.arrivals import SEEN, record_arrivals
from tests.writes.handed_rows import LONG_AGO, HandedRows

AFTER, SAW, ELSE = "New", "Old", "Else"
# What the copy has: nothing, a row with this text, a row that names another record (with the text of before, or
# with the one that was handed over), or two rows of one key.
OTHERS = {"other record": SAW, "other record, new": AFTER}
COPIES = ["nothing", AFTER, SAW, ELSE, *OTHERS, "twice"]
GONE = "its row is gone from the CRM's copy"
DELETED = "Enerflo deleted the record meanwhile"
AGAIN = "Enerflo says again what the CRM's copy shows"
ANOTHER = "the CRM's copy shows another value"
NEW_ROW = "the CRM's copy has the row, and shows another value"
OTHER_RECORD = "its row names another record of Enerflo by now"
HAS_AGAIN = "Enerflo has the record again"


@pytest.fixture(params=[True, False], ids=["its own", "the record's"])
def rows(request: pytest.FixtureRequest, warehouse: sa.Engine, tmp_path: Path) -> Iterator[HandedRows]:
    with warehouse.begin() as connection:
        yield HandedRows(connection, tmp_path, request.param)


def settle(rows: HandedRows) -> dict[int, Any]:
    record_arrivals(rows.connection, [rows.plan()], "default")
    return rows.changes()


def seen(op: str, state: str, kind: str, lives: bool | None, copy: str, mirrored: str) -> str | None:
    """Return what is seen of a change, in the words of the module's docstring."""
    is_open = state == "open"
    if copy == "twice":
        return None
    if op == "delete":
        if copy == "nothing":
            return "arrived"
        return HAS_AGAIN if is_open and kind != "undo" and lives else None
    if copy == "nothing":
        if is_open and op == "update":
            return GONE
        return DELETED if is_open and kind != "undo" and not lives else None
    # Where the mirror has no record, nothing tells that a row names another one.
    if op == "update" and copy in OTHERS and lives is not None:
        return OTHER_RECORD if is_open else None
    text = OTHERS.get(copy, copy)
    if text.lower() == AFTER.lower():
        return "arrived"
    if not is_open:
        return None
    if op == "insert":
        return NEW_ROW
    if text != SAW:
        return ANOTHER
    if kind == "sync" and not lives:
        return DELETED
    return AGAIN if kind == "sync" and mirrored == text else None


CASES = list(
    product(
        ("update", "insert", "delete"),
        ("open", "superseded", "withdrawn"),
        ("sync", "undo"),
        (True, False, None),
        COPIES,
        (AFTER, SAW),
    )
)


def test_what_the_copy_shows_of_each_change(rows: HandedRows) -> None:
    wanted = {}
    for n, (op, state, kind, lives, copy, mirrored) in enumerate(CASES, 1):
        # A table whose key is the record's has one row for it, which names no other record.
        if not rows.own and (copy in OTHERS or copy == "twice"):
            continue
        # A new row is looked for by the record that it names.
        if op == "insert" and rows.own and (lives is None or copy in OTHERS):
            continue
        if lives is not None:
            rows.mirror(n, title=mirrored, deleted_at=None if lives else LONG_AGO)
        for _ in range(2 if copy == "twice" else 0 if copy == "nothing" else 1):
            text = SAW if copy == "twice" else OTHERS.get(copy, copy)
            # Case counts for nothing in this field.
            text = text.upper() if text == AFTER and n % 2 else text
            rows.copy(n, title=text, **{"milestone": 10_000 + n} if copy in OTHERS else {})
        column = None if op == "delete" else "title"
        number = rows.change(n, op=op, state=state, kind=kind, column=column)
        wanted[number] = (state, seen(op, state, kind, lives, copy, mirrored))
    found = settle(rows)
    told = {}
    for number, (state, what) in wanted.items():
        if what == "arrived":
            told[number] = ("arrived", None, rows.now, rows.now, "applied", SEEN)
        elif what is not None:
            told[number] = ("superseded", what, rows.now, None, "superseded", what)
        else:
            told[number] = (state, None, LONG_AGO, None, "handed_over", None)
    names = ("state", "reason", "state_at", "ended_at", "planned", "planned_reason")
    assert {number: tuple(found[number][name] for name in names) for number in wanted} == told


# What three changes of one column, one after the other, are to say, and what the copy says then.
SEQUENCES = list(product(("A", "B"), ("A", "B", "C"), ("A", "C", "D"), ("A", "B", "C", "D", "Old")))


def test_of_changes_of_one_column_the_newest_that_the_copy_shows_ends_the_older_ones(
    rows: HandedRows,
) -> None:
    wanted = {}
    for n, (*values, shown) in enumerate(SEQUENCES, 1):
        rows.mirror(n, title="Mirror", sequence=7)
        rows.copy(n, title=shown)
        states = ["superseded", "superseded", "open"] if n % 2 else ["withdrawn", "open", "open"]
        some = [
            rows.change(n, after=value, state=state, reason=None if state == "open" else "before")
            for value, state in zip(values, states, strict=True)
        ]
        # Another column, and another kind of change, are no older changes of it.
        aside = [
            rows.change(n, column="sequence", after=7, copy_value=None),
            rows.change(n, op="delete", column=None),
        ]
        arrived = max((i for i, value in enumerate(values) if value == shown), default=None)
        for i, (number, state) in enumerate(zip(some, states, strict=True)):
            before = (state, None if state == "open" else "before", None, "Old")
            if arrived is None:
                late = shown != "Old" and state == "open"
                wanted[number] = ("superseded", ANOTHER, None, "Old") if late else before
            elif i == arrived:
                wanted[number] = ("arrived", None, rows.now, "Old")
            elif i < arrived:
                later = ("superseded", "a later change arrived", rows.now, "Old")
                wanted[number] = later if state == "open" else (*before[:2], rows.now, "Old")
            else:
                # It is on its way from there.
                wanted[number] = (*before[:3], shown)
        wanted[aside[0]] = ("open", None, None, None)
        wanted[aside[1]] = ("superseded", HAS_AGAIN, None, "Old")
    found = settle(rows)
    names = ("state", "reason", "ended_at", "copy_value")
    assert {number: tuple(found[number][name] for name in names) for number in wanted} == wanted


def test_what_is_no_change_of_this_table_or_ended_is_left_alone(rows: HandedRows) -> None:
    rows.mirror(1, title=AFTER)
    rows.copy(1, title=AFTER)
    others: list[dict[str, Any]] = [
        *({"account": "other"}, {"table_name": "notes"}, {"ended_at": LONG_AGO}),
        {"account": "other", "state": "superseded", "made_at": LONG_AGO},
        {"table_name": "notes", "state": "superseded", "made_at": LONG_AGO},
    ]
    # Before ours and after it, of a change and of a new row.
    strangers = [rows.change(1, **other) for other in others]
    ours = rows.change(1)
    strangers += [rows.change(1, **other) for other in others]
    strangers += [rows.change(1, **{"op": "insert"} | other) for other in others]
    made = rows.change(1, op="insert")
    strangers += [rows.change(1, **{"op": "insert"} | other) for other in others]
    before = rows.changes()
    found = settle(rows)
    assert {number: found[number] for number in strangers} == {number: before[number] for number in strangers}
    assert (found[ours]["state"], found[made]["state"]) == ("arrived", "arrived")


@pytest.mark.parametrize(("write_to", "hours"), [("changes", 24), ("{late_hours: 2}", 2), ("table", 24)])
def test_what_ended_otherwise_is_looked_for_as_long_as_it_is_not_late(
    warehouse: sa.Engine, tmp_path: Path, write_to: str, hours: int
) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True, write_to)
        late = timedelta(hours=hours)
        wanted = {}
        times = (rows.now - late, rows.now - late + timedelta(seconds=1))
        for n, (state, state_at, made_at, taken_at) in enumerate(
            product(("open", "superseded", "withdrawn"), times, times, (None, *times)), 1
        ):
            rows.mirror(n, title=ELSE)
            rows.copy(n, title=SAW)
            number = rows.change(n, state=state, state_at=state_at, made_at=made_at, acknowledged_at=taken_at)
            latest = max(state_at, taken_at or made_at)
            wanted[number] = rows.now if state != "open" and latest <= rows.now - late else None
        found = settle(rows)
        assert {number: found[number]["ended_at"] for number in wanted} == wanted


@pytest.mark.parametrize(
    ("kind", "rounded"),
    [
        ("bigint", {2.4: 2, "2.4": 2, 2.5: 3, None: None}),
        ("numeric(6, 0)", {2.4: 2, "2.4": 2, 2.5: 3, None: None}),
        ("numeric(6, 1)", {2.4: 2.4, "2.4": 2.4, 2.5: 2.5, None: None}),
        ("numeric", {2.4: 2.4, "2.4": 2.4, 2.5: 2.5, None: None}),
    ],
)
def test_a_value_counts_as_shown_as_the_columns_type_rounds_it(
    rows: HandedRows, kind: str, rounded: dict[Any, float | None]
) -> None:
    rows.sql(f"alter table crm.rows alter sequence type {kind}")
    wanted = {}
    cases = product((2, 3, 2.4, None), (2.4, 2.5, "2.4", "n/a", None), (1, 2, None))
    for n, (shown, after, saw) in enumerate(cases, 1):
        if shown == 2.4 and kind == "bigint":
            continue
        rows.mirror(n, sequence=9)
        rows.copy(n, sequence=shown)
        stands = 2 if shown == 2.4 and rounded[2.4] == 2 else shown
        number = rows.change(n, column="sequence", after=after, copy_value=saw)
        arrived = stands == rounded.get(after, "n/a")
        wanted[number] = "arrived" if arrived else "open" if stands == saw else "superseded"
    found = settle(rows)
    assert {number: found[number]["state"] for number in wanted} == wanted


def test_a_new_rows_column_that_is_not_compared_arrives_with_the_row(rows: HandedRows) -> None:
    for n in (1, 2):
        rows.mirror(n, title=AFTER)
    rows.copy(1, title=ELSE)
    some = [rows.change(n, op="insert", column="own", after=f"k{n}", copy_value=None) for n in (1, 2)]
    found = settle(rows)
    assert [found[number]["state"] for number in some] == ["arrived", "open"]


def test_an_id_arrives_with_the_row_that_names_the_record(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True)
        wanted, agreed = {}, set()
        # Two of each kind: a plan may have many.
        for n, (named, lives, created, _) in enumerate(
            product(("nothing", "it", "another"), (True, False), (True, False), (1, 2)), 1
        ):
            rows.mirror(n, title="T", deleted_at=None if lives else LONG_AGO)
            milestone = {"nothing": None, "it": n, "another": 10_000 + n}[named]
            rows.copy(n, title="T", milestone=milestone)
            other = {} if created else {"state": "parked"}
            rows.planned(n, op="insert", direction="to_enerflo", **{"state": "applied"} | other)
            number = rows.change(n, column="milestone", after=n, copy_value=None, kind="link", position=None)
            wanted[number] = {"nothing": "open", "it": "arrived", "another": "superseded"}[named]
            if named == "it" and created and lives:
                agreed.add(f"k{n}")
        # A plan of one such record.
        rows.mirror(99, title="T")
        rows.copy(99, title="T")
        rows.planned(99, op="insert", direction="to_enerflo", state="applied", plan_hash="q")
        link = {"column": "milestone", "after": 99, "copy_value": None, "kind": "link", "position": None}
        wanted[rows.change(99, plan_hash="q", **link)] = "arrived"
        agreed.add("k99")
        found = settle(rows)
        assert {number: found[number]["state"] for number in wanted} == wanted
        told = rows.sql("select distinct key ->> 'own' as own from sync.agreed")
        assert {row["own"] for row in told} == agreed


def test_what_arrived_is_agreed_on_and_in_the_ledger(rows: HandedRows) -> None:
    for n, kind in ((1, "sync"), (2, "undo")):
        rows.mirror(n, title=AFTER, sequence=n)
        rows.copy(n, title=AFTER, sequence=n)
        for plan_hash in ("p", "q"):
            rows.change(
                n,
                kind=kind,
                plan_hash=plan_hash,
                column="title" if plan_hash == "p" else "sequence",
                after=AFTER if plan_hash == "p" else n,
            )
    rows.mirror(3, title=AFTER)
    rows.copy(3, title=AFTER)
    made = rows.change(3, op="insert", copy_value=None)
    found = settle(rows)
    # An undo of the new row compares it with what arrived.
    (digest,) = rows.sql(
        "select row_digest as d from sync.plan_changes where plan_hash = 'p' and position = :position",
        position=found[made]["position"],
    )
    assert digest["d"] is not None
    ledger = rows.sql(
        "select plan_hash, field, decision, reason, evidence, decided_by, run_id from sync.ledger"
    )
    assert len(ledger) == 5
    assert {tuple(row.values())[2:] for row in ledger} == {("applied", SEEN, "copy:crm.rows", "Pat", "copy")}
    pairs = rows.sql("select key, field, agreed_by from sync.agreed where field in ('title', 'sequence')")
    by = {(list(row["key"].values())[-1], row["field"]): row["agreed_by"] for row in pairs}
    name = (lambda n: f"k{n}") if rows.own else (lambda n: n)
    assert {key: by[key] for key in by if key[0] != name(3)} == {
        **{(name(1), field): "push" for field in ("title", "sequence")},
        **{(name(2), field): "undo" for field in ("title", "sequence")},
    }
    assert by[name(3), "title"] == "push"
