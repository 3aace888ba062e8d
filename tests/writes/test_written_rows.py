"""Which pairs a write leaves behind: every change beside every two values of the sides, and what is no such change."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.agree_column import agree_column, column_agreed
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  milestones:
    crm_table: crm.rows
    %s
    updated_at: updated_at
    fields:
      title: {enerflo: title, type: text, trim: true, fold_case: true, source_of_truth: enerflo}
"""
# The CRM's key is the record's, or one of its own that no index keeps from being there twice.
KEYS = {
    "the record's": "key: {install: install_id, milestone: milestone_id}",
    "its own": "key: [own]\n    join: {install: install_id, milestone: milestone_id}",
}
READ_AT = datetime(2026, 3, 1, tzinfo=UTC)
LONG_AGO = READ_AT - timedelta(days=30)
AFTER, BEFORE = READ_AT + timedelta(seconds=1), READ_AT - timedelta(days=1)
NULL = "null"
# A pair that stands nowhere else; whatever is not written over is this.
KNOWN = ("Known", "Also")


def as_json(value: Any) -> str | None:
    return value if value in (None, NULL) else json.dumps(value)


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    jsons = {"key", "enerflo_key", "source_value", "value", "crm_value"}
    places = [f"cast(:{name} as jsonb)" if name in jsons else f":{name}" for name in row]
    connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({', '.join(places)})"), row)


class Rows:
    """One table, whose rows are numbered alike on both sides."""

    def __init__(self, connection: sa.Connection, comparison: Comparison, own: bool) -> None:
        self.connection, self.comparison, self.own = connection, comparison, own
        self.now: datetime = connection.scalar(sa.text("select now()"))
        self.position = 0

    def key(self, number: int) -> str:
        return json.dumps({"own": f"k{number}"} if self.own else {"install": 1, "milestone": number})

    def record(self, number: int) -> str:
        return json.dumps({"install_id": 1, "milestone_id": number})

    def mirror(self, number: int, title: Any, observed_at: datetime = BEFORE, **other: Any) -> None:
        row = {"account": "default", "install_id": 1, "milestone_id": number, "title": title}
        insert(
            self.connection,
            "enerflo.milestones",
            **row | {"observed_at": observed_at, "observed_by": "poll"} | other,
        )

    def crm(self, number: int, title: Any, milestone: int | None = None) -> None:
        row = {"own": f"k{number}", "install": 1, "milestone": number if milestone is None else milestone}
        insert(self.connection, "crm.rows", **row, title=title)

    def change(self, number: int, **other: Any) -> int:
        """Put a change of a plan that was applied now, but for ``other``, and return its position."""
        self.position += 1
        row = {
            **{"account": "default", "plan_hash": "p", "position": self.position, "table_name": "milestones"},
            **{"key": self.key(number), "enerflo_key": self.record(number), "op": "update", "field": "title"},
            **{"source_value": as_json("New"), "direction": "to_crm", "policy": "-", "cause": "-"},
            **{"rule": "-", "state": "applied", "done_at": self.now},
        }
        insert(self.connection, "sync.plan_changes", **row | other)
        return int((row | other)["position"])

    def agree(self, number: int, **other: Any) -> None:
        """Put a pair, and a stranger's under the same key for each thing that makes a pair another one."""
        row = {
            **{"account": "default", "table_name": "milestones", "key": self.key(number), "field": "title"},
            **{"value": as_json(KNOWN[0]), "crm_value": as_json(KNOWN[1]), "agreed_at": LONG_AGO},
            **{"agreed_by": "comparison", "enerflo_key": self.record(number) if self.own else None},
        }
        insert(self.connection, "sync.agreed", **row | other)

    def strangers(self, number: int) -> None:
        for other in ({"account": "other"}, {"table_name": "notes"}, {"field": "other"}):
            self.agree(number, **other)

    def pairs(self) -> dict[int, tuple[Any, ...]]:
        """Return the pairs by number: both values, by what, and whether it is news; strangers stand as they were."""
        rows = self.connection.execute(sa.text("select * from sync.agreed")).mappings()
        found = {}
        for row in rows:
            number = int(row["key"]["own"][1:] if self.own else row["key"]["milestone"])
            pair = (row["value"], row["crm_value"], row["agreed_by"], row["agreed_at"] == self.now)
            if (row["account"], row["table_name"], row["field"]) == ("default", "milestones", "title"):
                found[number] = pair
                assert row["enerflo_key"] == (json.loads(self.record(number)) if self.own else None)
            elif row["field"] == "title" or row["account"] == "other" or row["table_name"] == "notes":
                assert pair == (*KNOWN, "comparison", False), row
        return found

    def links(self) -> set[tuple[str, Any, bool]]:
        """Return what is stored of the columns that name a record: the column, its value, whether it is one."""
        rows = self.connection.execute(sa.text("select field, value, is_link from sync.agreed"))
        return {tuple(row) for row in rows if row.field in ("install", "milestone")}


@pytest.fixture(params=sorted(KEYS))
def table(request: pytest.FixtureRequest, warehouse: sa.Engine, tmp_path: Path) -> Any:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % KEYS[request.param])
    config = load_config(path, {})
    own = request.param == "its own"
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.rows (own text, install bigint, milestone bigint, title text,"
            f" updated_at timestamptz{'' if own else ', primary key (install, milestone)'})"
        )
        (comparison,) = live_comparisons(connection, config, "default", "", all_tables=True)
        yield Rows(connection, comparison, own)


def plain(value: str | None) -> str | None:
    return None if value is None else value.strip().lower()


def stored(mine: Any, theirs: Any) -> tuple[Any, Any]:
    """Return a pair as it is stored: what the CRM says only where it differs."""
    return mine, None if theirs == mine else NULL if theirs is None else theirs


WRITTEN = list(
    product(
        ("update", "insert"),
        ("title", "other"),
        ("Roof", "ROOF", None),
        ("Roof", "roof ", None),
        ("Roof", "Old", None, NULL),
        (BEFORE, READ_AT, AFTER),
    )
)


@pytest.mark.parametrize("direction", ["to_crm", "to_enerflo"])
@pytest.mark.parametrize("by", [AgreedBy.PUSH, AgreedBy.UNDO])
def test_what_changes_leave_behind(table: Rows, direction: str, by: AgreedBy) -> None:
    positions, wanted = [], {}
    for number, (op, field, mine, theirs, source, observed_at) in enumerate(WRITTEN, 1):
        table.mirror(number, mine, observed_at)
        table.crm(number, theirs)
        table.agree(number)
        positions.append(
            table.change(number, op=op, field=field, source_value=as_json(source), direction=direction)
        )
        wanted[number] = (*KNOWN, "comparison", False)
        equal = plain(mine) == plain(theirs)
        pinned, written = by is AgreedBy.PUSH, field == "title"
        counts = direction == "to_crm" or not pinned or observed_at <= READ_AT or equal
        if (written or (op == "insert" and equal)) and counts:
            saw = None if source == NULL else source
            # An undo restores one side: the other one's half stays where the two differ.
            kept = dict(zip(("to_crm", "to_enerflo"), (saw, saw) if pinned else KNOWN, strict=True))
            chosen = written and (pinned or not equal)
            sides = [kept[d] if chosen and direction == d else now for d, now in
                     (("to_crm", mine), ("to_enerflo", theirs))]  # fmt: skip
            pair = stored(*sides)
            wanted[number] = (pair[0], None if pair[1] == NULL else pair[1], str(by), True)
    if table.own:
        # Two rows of one key leave one pair.
        table.crm(1, WRITTEN[0][3])
    agree_written(table.connection, table.comparison, "default", "p", positions, by, READ_AT)
    found = table.pairs()
    for number, case in enumerate(WRITTEN, 1):
        assert found[number] == wanted[number], case
    made = [number for number, case in enumerate(WRITTEN, 1) if case[0] == "insert"] if table.own else []
    links = {("milestone", number, True) for number in made} | {("install", 1, True) for _ in made}
    assert table.links() == links


def test_what_is_no_change_that_was_made(table: Rows) -> None:
    others: list[dict[str, Any]] = [
        *[{"account": "other"}, {"plan_hash": "q"}, {"table_name": "notes"}],
        *[{"account": "other", "op": "delete"}, {"plan_hash": "q", "op": "delete"}],
        {"table_name": "notes", "op": "delete"},
    ]
    positions = []
    for number, other in enumerate(others, 1):
        table.mirror(number, "Roof")
        table.crm(number, "Roof")
        table.agree(number)
        table.strangers(number)
        positions.append(table.change(number, **other))
    # No position of those that were made: at first an update, then a deletion.
    for number, op in ((11, "update"), (12, "delete")):
        table.mirror(number, "Roof")
        table.crm(number, "Roof")
        table.agree(number)
        table.change(number, op=op)
    # A record that is deleted, one that was never there, a row that is gone, one that names another record.
    table.mirror(13, "Roof", deleted_at=BEFORE)
    table.crm(13, "Roof")
    table.crm(14, "Roof")
    table.mirror(15, "Roof")
    table.mirror(16, "Roof")
    if table.own:
        table.crm(16, "Roof", milestone=12)
    for number in (13, 14, 15, 16):
        table.agree(number)
        positions.append(table.change(number))
    # What was deleted.
    table.agree(17)
    table.strangers(17)
    positions.append(table.change(17, op="delete", field=None))
    agree_written(table.connection, table.comparison, "default", "p", positions, AgreedBy.PUSH, READ_AT)
    numbers = [*range(1, len(others) + 1), *range(11, 17)]
    found = table.pairs()
    assert found == dict.fromkeys(numbers, (*KNOWN, "comparison", False))


# What makes of a change another one than those of the column that were made now.
OTHERS: list[dict[str, Any]] = [
    *[{"account": "other"}, {"plan_hash": "q"}, {"table_name": "notes"}, {"op": "insert"}],
    *[{"field": "other"}, {"direction": "to_enerflo"}, {"state": "moved"}, {"done_at": BEFORE}],
]


def test_what_came_of_one_column(table: Rows) -> None:
    wanted: dict[int, tuple[Any, ...]] = {}
    number = 0
    # The first and the last position belong to it, those before and after do not.
    before, first = (table.change(number) for number in (90, 91))
    table.crm(90, "Now")
    table.crm(91, "Now")
    table.agree(90)
    pairs: list[dict[str, Any] | None] = [
        *[None, {}, {"agreed_at": table.now}, {"agreed_by": "push"}],
        {"agreed_at": table.now, "agreed_by": "push"},
    ]
    for pair, source, theirs in product(pairs, ("New", None, NULL), ("New", "Kept", None)):
        number += 1
        table.crm(number, theirs)
        table.strangers(number)
        table.change(number, source_value=as_json(source))
        saw = None if source == NULL else source
        left = stored(saw, theirs)
        wanted[number] = (left[0], None if left[1] == NULL else left[1], "push", True)
        if pair is not None:
            table.agree(number, **pair)
        # Remembered at once, when it was written.
        if pair == pairs[-1]:
            wanted[number] = (*KNOWN, "push", True)
    for other in OTHERS:
        for known in (False, True):
            number += 1
            table.crm(number, "Now")
            table.change(number, **other)
            if known:
                table.agree(number)
                wanted[number] = (*KNOWN, "comparison", False)
    last = table.change(92)
    table.crm(92, "Now")
    after = table.change(93)
    table.crm(93, "Now")
    wanted |= {90: (*KNOWN, "comparison", False)}
    wanted |= dict.fromkeys((91, 92), ("New", "Now", "push", True))
    if table.own:
        # Two rows of one key leave one pair.
        table.crm(92, "Now")
    values = {"account": "default", "plan_hash": "p", "now": table.now}
    assert before < first < last < after
    agree_column(table.connection, table.comparison, "title", (first, last), values)
    found = table.pairs()
    for one in sorted({*found, *wanted}):
        assert found.get(one) == wanted.get(one), one


def test_what_is_remembered_with_the_write_itself(table: Rows) -> None:
    numbers = range(1, 6)
    for number in numbers:
        table.agree(number)
        table.strangers(number)
    # Each names the place of its pair, or of what is another one's.
    places = [
        "account = 'default' and table_name = 'milestones' and field = 'title'",
        *["account = 'other'", "table_name = 'notes'", "field = 'other'"],
    ]
    made = " union all ".join(
        f"select key, ctid::text as agreed_row, '\"New\"'::jsonb as source_value, '\"Now\"'::jsonb as theirs,"
        f" enerflo_key from sync.agreed where {place} and key = '{table.key(number)}'"
        for number, place in zip(numbers, places, strict=False)
    )
    other = f"select '{table.key(9)}'::jsonb, ctid::text, null, null, null from sync.agreed where key = '{table.key(5)}'"
    statement = f"with made as ({made} union all {other}), {column_agreed(table.comparison, 'title')}"
    written = table.connection.exec_driver_sql(
        f"{statement} select count(*) from agreed", {"account": "default", "now": table.now}
    )
    assert written.scalar_one() == 1
    assert table.pairs() == {
        1: ("New", "Now", "push", True),
        **dict.fromkeys(range(2, 6), (*KNOWN, "comparison", False)),
    }
