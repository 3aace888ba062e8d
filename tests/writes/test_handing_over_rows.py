"""Which changes of a plan are handed over, take back an earlier one, or moved: every change beside every row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.agreed.handing_over import end_unmade, hand_over_link, note_taken
from enerflo_sync.agreed.outcomes import Applying, Decision
from enerflo_sync.agreed.whole_rows import row_digest
from enerflo_sync.apply.handed_over import hand_over
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.undoing import UNDO, WITHDRAW
from tests.writes.handed_rows import LONG_AGO, HandedRows

APPLYING = Applying("default", "new", "a-run", "Pat")
MOVED = "the CRM's copy says something else than when the plan was made"
TAKEN_OVER = "it arrived, or a tool took it over, since its undo was planned: undo it again"
LATER = "a later change took its place"


@pytest.fixture(params=[True, False], ids=["its own", "the record's"])
def rows(request: pytest.FixtureRequest, warehouse: sa.Engine, tmp_path: Path) -> Iterator[HandedRows]:
    with warehouse.begin() as connection:
        yield HandedRows(connection, tmp_path, request.param)


def handed_over(rows: HandedRows, undone: str | None = None) -> dict[str, int]:
    plan = rows.plan()
    # As an apply does before it hands anything over.
    record_arrivals(rows.connection, [plan], "default")
    counts = hand_over(
        rows.connection, APPLYING, {"milestones": plan}, undone=undone, evidence="a-look", file="sync.yaml"
    )
    return {str(name): number for name, number in counts.items()}


def due(rows: HandedRows, number: int, **other: Any) -> int:
    """Put a change of the plan that is handed over now, and return its position."""
    row = {"plan_hash": "new", "state": "planned", "done_at": None} | other
    return int(rows.planned(number, **row)["position"])


def ended(rows: HandedRows) -> dict[int, tuple[str, str | None]]:
    found = rows.sql("select position, state, reason from sync.plan_changes where plan_hash = 'new'")
    return {row["position"]: (row["state"], row["reason"]) for row in found}


def digest(rows: HandedRows, number: int) -> str | None:
    query = f"select {row_digest(rows.plan())} as d from crm.rows t where own = :own"
    return next((row["d"] for row in rows.sql(query, own=f"k{number}")), None)


HANDED = ("handed_over", None)
# The copy's row: none, as the plan saw it, another value, of another record, or twice.
COPIES = ["nothing", "Old", "Else", None, "other record", "twice"]


@pytest.mark.parametrize("undone", [None, "p"])
def test_what_is_handed_over_and_what_moved(rows: HandedRows, undone: str | None) -> None:
    wanted: dict[int, tuple[str, str | None]] = {}
    before: dict[str, Any] = {"title": "Old", "note": None, "sequence": "1"}
    cases = product(COPIES, (True, False, None), ("update", "insert", "delete"), ("Old", None), (True, False))
    for n, (copy, lives, op, saw, same) in enumerate(cases, 1):
        if not rows.own and copy in ("other record", "twice"):
            continue
        if lives is not None:
            rows.mirror(n, title="New", deleted_at=None if lives else LONG_AGO)
        text = "Old" if copy in ("other record", "twice") else copy
        for _ in range(2 if copy == "twice" else 0 if copy == "nothing" else 1):
            rows.copy(
                n, title=text, sequence=1, **{"milestone": 10_000 + n} if copy == "other record" else {}
            )
        there, alone = copy != "nothing", copy not in ("nothing", "twice")
        # Of a record that the mirror does not know nothing is handed over.
        names = copy != "other record" and (lives is not None or not rows.own)
        if op == "update":
            fits = alone and names and text == saw
            position = due(rows, n, before=saw, rule=UNDO if undone else "-")
        elif op == "insert":
            fits = not there and (undone is not None or lives is True)
            position = due(rows, n, op="insert", before=None)
        else:
            fits = alone and names and text == saw and same and (undone is not None or not lives)
            other = {"row_digest": digest(rows, n) if same else "another"}
            position = due(
                rows, n, op="delete", field=None, after=None, before={**before, "title": saw}, **other
            )
        wanted[position] = HANDED if fits else ("moved", MOVED)
    counts = handed_over(rows, undone)
    assert ended(rows) == wanted
    states = [state for state, _ in wanted.values()]
    assert counts == {"handed_over": states.count("handed_over"), "moved": states.count("moved")}
    found = {row["position"]: row for row in rows.changes().values()}
    assert found.keys() == {position for position, end in wanted.items() if end == HANDED}
    for row in found.values():
        assert (row["crm_table"], row["plan_hash"], row["kind"]) == (
            "crm.rows",
            "new",
            "undo" if undone else "sync",
        )
        assert (row["approved_by"], row["state"], row["made_at"], row["state_at"]) == (
            *("Pat", "open", rows.now, rows.now),
        )
        assert row["copy_value"] == (row["before"] if row["op"] == "update" else None)
        assert (row["enerflo_key"], row["ended_at"]) == (
            rows.record(row["enerflo_key"]["milestone_id"]),
            None,
        )
    assert len({row["change_id"] for row in found.values()}) == len(found)


def test_a_new_row_is_not_made_beside_one_that_names_its_record(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True)
        for n in (1, 2):
            rows.mirror(n, title="New")
        rows.copy(50, milestone=1, title="Made by hand")
        first, second = due(rows, 1, op="insert", before=None), due(rows, 2, op="insert", before=None)
        handed_over(rows)
        assert ended(rows) == {first: ("moved", MOVED), second: HANDED}


def test_only_what_is_planned_for_this_table_is_handed_over(rows: HandedRows) -> None:
    rows.mirror(1, title="New")
    rows.copy(1, title="Old")
    strangers: list[dict[str, Any]] = [
        {"account": "other"},
        {"plan_hash": "another"},
        {"table_name": "notes"},
        {"direction": "to_enerflo"},
        *({"state": state} for state in ("applied", "refused", "left_out")),
    ]
    some = [due(rows, 1, **other) for other in strangers]
    ours = due(rows, 1)
    assert handed_over(rows) == {"handed_over": 1}
    query = "select position, state from sync.plan_changes"
    found = {row["position"]: row["state"] for row in rows.sql(query)}
    assert found.pop(ours) == "handed_over"
    assert found == {n: other.get("state", "planned") for n, other in zip(some, strangers, strict=True)}


def test_a_later_change_takes_the_place_of_the_open_ones_of_its_column(rows: HandedRows) -> None:
    wanted: dict[int, tuple[str, str | None]] = {}
    for n, op in enumerate(("update", "delete", "moved"), 1):
        rows.mirror(n, title="Elsewhere", deleted_at=LONG_AGO if op == "delete" else None, sequence=8)
        rows.copy(n, title="Old")
        # An undo: whether Enerflo has the record makes no difference to it.
        undo = {"kind": "undo"}
        some = {
            **{
                rows.change(n, **undo): True,
                rows.change(n, column="sequence", after=8, copy_value=None, **undo): op == "delete",
            },
            **{rows.change(n, state="withdrawn", reason="-"): None, rows.change(n, account="other"): False},
            **{rows.change(n, table_name="notes"): False, rows.change(99, table_name="notes"): False},
            **{rows.change(n, ended_at=LONG_AGO): False},
        }
        for number, takes in some.items():
            later = takes and op != "moved"
            wanted[number] = ("superseded", LATER) if later else ("open", None)
            if takes is None:
                wanted[number] = ("withdrawn", "-")
        if op == "delete":
            before = {"title": "Old", "note": None, "sequence": None}
            due(rows, n, op=op, field=None, after=None, before=before, row_digest=digest(rows, n))
        else:
            due(rows, n, before="Old" if op == "update" else "Else")
    handed_over(rows)
    found = rows.changes()
    assert {number: (found[number]["state"], found[number]["reason"]) for number in wanted} == wanted
    planned = {number: found[number]["planned"] for number in wanted}
    assert planned == {
        number: "superseded" if reason == LATER else "handed_over" for number, (_, reason) in wanted.items()
    }


# An undo's change, what it takes back, and how that stands.
UNDOES = {"update": "update", "delete": "insert", "insert": "delete"}


def test_an_undo_takes_back_what_nobody_took_over(rows: HandedRows) -> None:
    taken: dict[str, Any] = {"acknowledged_at": LONG_AGO}
    cases: dict[str, tuple[dict[str, Any], bool]] = {
        "open": ({}, True),
        "taken over": (taken, False),
        "sent by us": ({"sent_as_of": LONG_AGO}, False),
        "superseded": ({"state": "superseded", "reason": "-"}, False),
        "of another plan": ({"plan_hash": "q"}, False),
        "of another table": ({"table_name": "notes"}, False),
        "of another account": ({"account": "other"}, False),
        "of another rule": ({}, False),
        "of another row": ({}, False),
    }
    wanted, states = {}, {}
    for n, ((op, of), (why, (other, back))) in enumerate(product(UNDOES.items(), cases.items()), 1):
        row = n + 1000 if why == "of another row" else n
        # What is to be made or changed is not there yet, and what is to be deleted still is.
        rows.mirror(row, title="Else", deleted_at=LONG_AGO if of == "delete" else None)
        if of != "insert":
            rows.copy(row, title="Old")
        number = rows.change(row, op=of, column=None if of == "delete" else "title", **other)
        rule = UNDO if why == "of another rule" else WITHDRAW
        position = due(rows, n, op=op, field=None if op == "delete" else "title", rule=rule)
        if why != "of another rule":
            wanted[position] = ("applied", None) if back else ("moved", TAKEN_OVER)
            states[number] = "withdrawn" if back else other.get("state", "open")
    counts = handed_over(rows, "p")
    found = ended(rows)
    assert {position: found[position] for position in wanted} == wanted
    changes = rows.changes()
    assert {number: changes[number]["state"] for number in states} == states
    assert counts["applied"] == 3
    # Both sides are apart where a change was taken back, until one moves. Enerflo has: it says something else
    # than what was planned.
    agreed = rows.sql("select agreed_by, value, crm_value from sync.agreed where field = 'title'")
    assert ("undo", "New", "Old") in [tuple(row.values()) for row in agreed]
    gone = [changes[number] for number, state in states.items() if state == "withdrawn"]
    assert {(row["planned"], row["planned_reason"], row["state_at"]) for row in gone} == {
        ("superseded", "it was undone before a tool took it over", rows.now)
    }


@pytest.mark.parametrize(
    "second",
    [
        {},
        {"acknowledged_at": LONG_AGO},
        {"sent_as_of": LONG_AGO},
        {"state": "superseded", "reason": "-"},
    ],
)
def test_of_a_new_row_all_columns_are_taken_back_or_none(rows: HandedRows, second: dict[str, Any]) -> None:
    rows.mirror(1, title="New")
    rows.mirror(2, title="New")
    some = [rows.change(1, op="insert"), rows.change(1, op="insert", column="sequence", after=1, **second)]
    # What is no column of this new row says nothing about it.
    for other in ({"account": "other"}, {"plan_hash": "q"}, {"table_name": "notes"}, {"key": rows.key(2)}):
        rows.change(1, **{"op": "insert", "acknowledged_at": LONG_AGO} | other)
    rows.change(1, op="delete", column=None, state="superseded", reason="-")
    due(rows, 1, op="delete", field=None, rule=WITHDRAW)
    handed_over(rows, "p")
    found = rows.changes()
    back = not second
    expected = ["withdrawn", "withdrawn"] if back else ["open", second.get("state", "open")]
    assert [found[number]["state"] for number in some] == expected


def test_changes_that_we_carry_ourselves_are_acknowledged_and_ended_once(rows: HandedRows) -> None:
    cases: list[dict[str, Any]] = [
        *({}, {"plan_hash": "q"}, {"kind": "link", "position": None}, {"acknowledged_at": LONG_AGO}),
        *({"account": "other"}, {"ended_at": LONG_AGO}, {"state": "withdrawn", "reason": "-"}),
    ]
    some = [rows.change(n, **other) for n, other in enumerate(cases, 1)]
    aside = rows.change(99)
    before = rows.changes()
    note_taken(rows.connection, "default", some)
    found = rows.changes()
    taken = [found[number]["acknowledged_at"] for number in some]
    assert taken == [rows.now, rows.now, rows.now, LONG_AGO, None, rows.now, rows.now]
    assert found[aside] == before[aside]
    end_unmade(rows.connection, "default", "a-run", [], Decision.PARKED, "Because")
    assert rows.changes() == found
    end_unmade(rows.connection, "default", "a-run", some, Decision.PARKED, "Because")
    found = rows.changes()
    assert found[aside] == before[aside]
    names = ("state", "reason", "state_at", "ended_at", "planned")
    made = {number: tuple(found[number][name] for name in names) for number in some}
    unmade = ("superseded", "Because", rows.now, rows.now)
    assert made == {
        **{some[n]: (*unmade, "parked") for n in (0, 1, 3)},
        some[2]: (*unmade, None),
        some[4]: ("open", None, LONG_AGO, None, "handed_over"),
        some[5]: ("open", None, LONG_AGO, LONG_AGO, "handed_over"),
        some[6]: ("withdrawn", "-", LONG_AGO, None, "handed_over"),
    }
    ledger = rows.sql("select plan_hash, decision, reason, decided_by, run_id from sync.ledger")
    assert sorted(tuple(row.values()) for row in ledger) == [
        *[("p", "parked", "Because", "Pat", "a-run")] * 2,
        ("q", "parked", "Because", "Pat", "a-run"),
    ]


def test_an_id_is_handed_over_once_for_each_column_that_takes_it(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True)
        for _ in range(2):
            texts = ('{"own": "k1"}', '{"install_id": 1, "milestone_id": 7}')
            hand_over_link(connection, rows.plan(), APPLYING, texts, {"install": "1", "milestone": "7"})
        found = sorted(rows.changes().values(), key=lambda row: str(row["column"]))
        assert [(row["column"], row["after"], row["copy_value"]) for row in found] == [
            *(("install", 1, None), ("milestone", 7, None)),
        ]
        for row in found:
            assert (row["key"], row["enerflo_key"]) == ({"own": "k1"}, {"install_id": 1, "milestone_id": 7})
            assert (row["op"], row["kind"], row["state"], row["position"]) == ("update", "link", "open", None)
            assert (row["plan_hash"], row["approved_by"], row["crm_table"]) == ("new", "Pat", "crm.rows")


OUTLET = """create table crm.outbox (
  change_id text primary key, key text not null, op text not null, "column" text, before text, after jsonb,
  account text, position text generated always as ('-') stored, team text default 'ours', state text,
  acknowledged_at timestamptz, ended_at timestamptz)"""


def test_a_table_of_the_teams_own_has_what_is_handed_over_now_and_how_it_stands(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True, "{changes: crm.outbox}")
        rows.sql(OUTLET)
        for n in (1, 2, 3, 4):
            rows.mirror(n, title="Other")
            rows.copy(n, title="Old")
        first = rows.change(1, made_at=LONG_AGO)
        put = "insert into crm.outbox (change_id, key, op, state, acknowledged_at) values (:id, '-', '-', :state, :at)"
        strangers = [
            rows.change(4, made_at=LONG_AGO, **other)
            for other in (
                *({"account": "other"}, {"table_name": "notes"}, {"ended_at": LONG_AGO}),
                {"acknowledged_at": LONG_AGO},
            )
        ]
        for number in (first, *strangers):
            change = rows.changes()[number]
            rows.sql(put, id=change["change_id"], state="open", at=rows.now)
        rows.sql(put, id="theirs", state="open", at=rows.now)
        untold = rows.change(3, made_at=LONG_AGO)
        rows.sql(put, id=rows.changes()[untold]["change_id"], state="open", at=None)
        due(rows, 1, before="Old", after="Newer")
        due(rows, 2, before=None)
        due(rows, 2, field="note", before=None, after="Note")
        handed_over(rows)
        found = rows.changes()
        # What the team's table acknowledged is taken over, once, of changes that are looked for.
        assert found[first]["acknowledged_at"] == rows.now
        taken = [found[number]["acknowledged_at"] for number in (*strangers, untold)]
        assert taken == [None, None, None, LONG_AGO, None]
        told = {row["change_id"]: row for row in rows.sql("select * from crm.outbox")}
        news = {row["change_id"] for row in found.values() if row["plan_hash"] == "new"}
        assert len(news) == 2
        assert news <= told.keys()
        assert {row["state"] for row in told.values() if row["change_id"] != found[first]["change_id"]} == {
            "open"
        }
        assert told[found[first]["change_id"]]["state"] == "superseded"
        of_first = next(told[one] for one in news if told[one]["column"] == "title")
        assert (of_first["before"], of_first["after"], of_first["key"]) == ("Old", "Newer", '{"own": "k1"}')
        assert (of_first["account"], of_first["team"], of_first["ended_at"]) == ("default", "ours", None)
        assert of_first["acknowledged_at"] is None


def test_a_table_of_the_teams_own_needs_no_more_than_what_tells_a_change(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True, "{changes: crm.outbox}")
        rows.sql('create table crm.outbox (change_id text, key text, op text, "column" text, after text)')
        for n in (1, 2):
            rows.mirror(n, title="New")
            rows.copy(n, title="Old")
        # One that is looked for, of which nobody can tell here that it was taken over.
        rows.change(2, made_at=LONG_AGO)
        due(rows, 1)
        assert handed_over(rows) == {"handed_over": 1}
        told = rows.sql('select key, op, "column", after from crm.outbox')
        assert [tuple(row.values()) for row in told] == [('{"own": "k1"}', "update", "title", "New")]


@pytest.mark.parametrize(
    ("outlet", "found"),
    [
        ("", "it does not exist"),
        ("create table crm.outbox (change_id text, op text)", "it has no column key, column, after"),
    ],
)
def test_a_table_of_the_teams_own_that_lacks_something_is_said(
    warehouse: sa.Engine, tmp_path: Path, outlet: str, found: str
) -> None:
    with warehouse.begin() as connection:
        rows = HandedRows(connection, tmp_path, True, "{changes: crm.outbox}")
        if outlet:
            rows.sql(outlet)
        with pytest.raises(ConfigurationError, match=found):
            handed_over(rows)
