"""What is erased of a customer's rows: beside each row of theirs one of a stranger that differs in one thing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.retention.forget_former import erase_of_others
from enerflo_sync.retention.forget_rows import (
    CustomerRows,
    erase_mirror,
    erase_rows,
    open_writes,
    rows_of_customer,
    stored_values,
)
from tests.retention.rows import NOW, OLD, put

ACCOUNT = "one"
CONFIG = """
version: 1
accounts: {one: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {install: install_id}
    fields:
      customer: {enerflo: customer_name, type: text}
      agent: {enerflo: agent_name, type: text}
      panels: {enerflo: panel_count, type: integer}
  sites:
    of: installs
    crm_table: crm.sites
    key: [own]
    join: {install: install_id}
    fields:
      customer: {enerflo: customer_name, type: text}
      panels: {enerflo: panel_count, type: integer}
  stages:
    of: milestones
    crm_table: crm.stages
    key: {install: install_id, milestone: milestone_id}
    fields: {title: {enerflo: title, type: text}}
"""
WHO = Forgotten(frozenset({7}), frozenset({70}), frozenset({"d7"}))
HIDDEN, HARMLESS, FORMER = "customer", "panels", "former"
SECRET = "Ann"


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        opened.exec_driver_sql("create schema crm")
        opened.exec_driver_sql(
            "create table crm.installs (install bigint primary key, customer text, agent text, panels int)"
        )
        opened.exec_driver_sql(
            "create table crm.sites (own text primary key, install bigint, customer text, panels int)"
        )
        opened.exec_driver_sql(
            "create table crm.stages (install bigint, milestone bigint, title text,"
            " primary key (install, milestone))"
        )
        # By their number, by their customer, and a stranger's.
        for account, install, customer in (
            *((ACCOUNT, 70, None), (ACCOUNT, 71, 7), (ACCOUNT, 80, 8), (ACCOUNT, 90, None)),
            *(("other", 80, 7), ("other", 99, 7)),
        ):
            values = {"install_id": install, "customer_id": customer, "observed_at": NOW}
            put(opened, "enerflo.installs", account=account, **values)
        opened.exec_driver_sql(
            "insert into crm.sites (own, install)"
            " values ('theirs', 70), ('also theirs', 71), ('stranger', 80), ('nobody', 99), ('none', null)"
        )
        yield opened


@dataclass
class Found:
    installs: CustomerRows
    sites: CustomerRows


@pytest.fixture
def found(connection: sa.Connection, tmp_path: Path) -> Found:
    return rows_found(connection, tmp_path)


def rows_found(connection: sa.Connection, folder: Path) -> Found:
    path = folder / "sync.yaml"
    path.write_text(CONFIG)
    plans = live_comparisons(connection, load_config(path, {}), ACCOUNT, "", all_tables=True)
    made = {plan.name: rows_of_customer(connection, ACCOUNT, plan, WHO, ()) for plan in plans}
    installs, sites = made["installs"], made["sites"]
    assert installs is not None
    assert sites is not None
    return Found(installs, sites)


def test_which_keys_and_records_are_a_customers(connection: sa.Connection, tmp_path: Path) -> None:
    links = {"agreed_at": OLD, "agreed_by": "push", "field": "f"}
    for own, given in (
        ("agreed", {}),
        ("of another account", {"account": "other"}),
        ("of another table", {"table_name": "installs"}),
        ("of a stranger", {"enerflo_key": {"install_id": 80}}),
        ("of nobody", {"enerflo_key": None}),
    ):
        row = {"account": ACCOUNT, "table_name": "sites", "enerflo_key": {"install_id": 71}, **given}
        put(connection, "sync.agreed", **{**row, **links, "key": {"own": own}})
        change = {"op": "update", "direction": "to_crm", "state": "applied", "plan_hash": own}
        put(connection, "sync.plan_changes", **{**row, **change, "key": {"own": f"planned, {own}"}})
    rows = rows_found(connection, tmp_path)
    assert set(rows.sites.ids) == set(rows.installs.ids) == {"70", "71"}
    assert (rows.installs.in_key, rows.sites.in_key) == ("install", None)
    assert sorted(rows.sites.keys) == sorted(
        f'{{"own": "{own}"}}' for own in ("theirs", "also theirs", "agreed", "planned, agreed")
    )
    # Another table names the same records: its links are none of this one's, but for what it was said of.
    assert sorted(rows.installs.keys) == [
        '{"own": "of another table"}',
        '{"own": "planned, of another table"}',
    ]
    assert (rows.installs.harmless, rows.installs.hidden) == (
        ["agent", "install", "panels"],
        {"customer": "customer_name"},
    )
    assert (rows.sites.harmless, rows.sites.hidden) == (
        ["install", "own", "panels"],
        {"customer": "customer_name"},
    )


# Which rows are about the customer: the table, the CRM's key and the record's, whether the first says so, and
# whether both together do.
Whose = tuple[dict[str, Any], bool, bool]
STRANGER, THEIRS = {"install_id": 80}, {"install_id": 70}
WHOSE: dict[str, list[Whose]] = {
    "installs": [
        ({"key": {"install": 70}}, True, True),
        ({"key": {"install": "71"}, "enerflo_key": STRANGER}, True, False),
        ({"key": {"install": 80}, "enerflo_key": THEIRS}, False, True),
        ({"key": {"install": 80}, "enerflo_key": STRANGER}, False, False),
        ({"key": {"other": 70}, "enerflo_key": {"other": 70}}, False, False),
        ({"key": {"install": 70}, "enerflo_key": THEIRS, "account": "other"}, False, False),
        ({"key": {"install": 70}, "enerflo_key": THEIRS, "table_name": "stages"}, False, False),
    ],
    "sites": [
        ({"key": {"own": "theirs"}}, True, True),
        ({"key": {"own": "theirs"}, "enerflo_key": STRANGER}, True, False),
        ({"key": {"own": "stranger"}, "enerflo_key": THEIRS}, False, True),
        ({"key": {"own": "stranger"}, "enerflo_key": STRANGER}, False, False),
        ({"key": {"install": 70}}, False, False),
        ({"key": {"own": "theirs"}, "enerflo_key": THEIRS, "account": "other"}, False, False),
        ({"key": {"own": "theirs"}, "enerflo_key": THEIRS, "table_name": "stages"}, False, False),
    ],
}
DIRECTED = {"op": "update", "direction": "to_crm"}
VALUES: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "sync.ledger": ({**DIRECTED, "decision": "applied"}, "field", ("old_value", "new_value", "losing_value", "kept_value")),
    "sync.plan_changes": ({**DIRECTED, "state": "applied"}, "field", ("before", "after", "source_value")),
    "sync.plan_undecided": ({}, "field", ("enerflo_value", "crm_value")),
    "sync.refusals": (DIRECTED, "field", ("before", "after", "source_value")),
    "sync.crm_changes": (
        {"op": "update", "kind": "sync", "state": "open"},
        "column",
        ("before", "after", "copy_value"),
    ),
}  # fmt: skip
# Where a row's number is noted.
MARKED = {"sync.crm_changes": "approved_by", "sync.refusals": "decided_by"}
HAS_RECORD = {"sync.plan_changes", "sync.refusals", "sync.crm_changes"}
WHOLE = {HIDDEN: SECRET, HARMLESS: 4, FORMER: SECRET}
SAID: list[tuple[str | None, Any]] = [
    *((HIDDEN, SECRET), (HIDDEN, WHOLE), (FORMER, SECRET), (HARMLESS, 4), (HARMLESS, WHOLE)),
    *((None, WHOLE), (None, {HARMLESS: 5}), (None, {}), (None, SECRET)),
]


def cleaned(field: str | None, value: Any) -> Any:
    if field is not None:
        return value if field == HARMLESS else None
    return (
        {name: one for name, one in value.items() if name == HARMLESS} if isinstance(value, dict) else value
    )


def without_record(table: str, given: dict[str, Any]) -> dict[str, Any]:
    """Leave the record's key out where the table has no column for it."""
    return (
        given
        if table in HAS_RECORD | {"sync.agreed"}
        else {k: v for k, v in given.items() if k != "enerflo_key"}
    )


@pytest.mark.parametrize("name", ["installs", "sites"])
@pytest.mark.parametrize("table", VALUES)
def test_values_of_a_customers_rows_are_erased(
    connection: sa.Connection, found: Found, table: str, name: str
) -> None:
    needed, field_column, columns = VALUES[table]
    numbers, expected, changed = count(1), {}, 0
    for (given, by_key, by_record), (field, value), column in product(WHOSE[name], SAID, columns):
        number = next(numbers)
        row = {"account": ACCOUNT, "table_name": name, field_column: field, column: value}
        row |= needed | without_record(table, given) | {MARKED.get(table, "cause"): str(number)}
        if table in {"sync.plan_changes", "sync.plan_undecided"}:
            row["position"] = number
        if table == "sync.crm_changes":
            row["change_id"] = str(number)
        put(connection, table, **row)
        theirs = by_record if table in HAS_RECORD else by_key
        expected[number] = (column, cleaned(field, value) if theirs else value)
        changed += theirs and cleaned(field, value) != value
    rows = getattr(found, name)
    counted: Counter[str] = Counter()
    for one, hits in erase_rows(connection, ACCOUNT, rows):
        counted[one] += hits
    assert {one: hits for one, hits in counted.items() if hits} == {table: changed}
    mark = MARKED.get(table, "cause")
    shown = connection.execute(sa.text(f"select {mark}::int as number, t.* from {table} t")).mappings()
    left = {row["number"]: (expected[row["number"]][0], row[expected[row["number"]][0]]) for row in shown}
    assert left == expected
    # Done again, it finds nothing.
    assert sum(hits for _, hits in erase_rows(connection, ACCOUNT, rows)) == 0


@pytest.mark.parametrize("name", ["installs", "sites"])
def test_differences_agreements_and_deleted_rows_of_a_customer_are_erased(
    connection: sa.Connection, found: Found, name: str
) -> None:
    kept: dict[str, set[str]] = {"differences": set(), "agreed": set(), "plan_changes": set()}
    wanted: Counter[str] = Counter()
    seen: set[str] = set()
    sides = ({"enerflo_value": SECRET}, {"crm_value": SECRET}, {})
    for number, (given, by_key, by_record) in enumerate(WHOSE[name]):
        base = {"account": ACCOUNT, "table_name": name}
        for field, (place, values) in product((HIDDEN, HARMLESS, FORMER, None), enumerate(sides)):
            mark = f"{number} {field} {place}"
            row = base | without_record("sync.differences", given)
            put(connection, "sync.differences", **{**row, "field": field, "cause": mark, **values})
            erased = by_key and field in {HIDDEN, FORMER} and bool(values)
            wanted["sync.differences"] += erased
            kept["differences"] |= {mark} if values and not erased else set()
        for field in (HIDDEN, HARMLESS, FORMER):
            mark = f"{number} {field}"
            # What is agreed on has one row for a key and a field.
            row = {**base, **given, "field": field, "agreed_by": mark, "agreed_at": OLD}
            if not is_first(seen, row):
                continue
            put(connection, "sync.agreed", **row)
            erased = by_record and field != HARMLESS
            wanted["sync.agreed"] += erased
            kept["agreed"] |= set() if erased else {mark}
        for place, values in enumerate(({"deleted_row": {"a": SECRET}}, {})):
            mark = f"{number} {place}"
            row = {**base, **DIRECTED, "op": "delete", "state": "applied", "cause": mark, **given}
            put(connection, "sync.plan_changes", **{**row, "position": 2 * number + place, **values})
            wanted["sync.plan_changes"] += by_record and bool(values)
            kept["plan_changes"] |= {mark} if values and not by_record else set()
    counted: Counter[str] = Counter()
    for one, hits in erase_rows(connection, ACCOUNT, getattr(found, name)):
        counted[one] += hits
    assert +counted == +wanted
    left = {
        "differences": "select cause from sync.differences where num_nonnulls(enerflo_value, crm_value) > 0",
        "agreed": "select agreed_by from sync.agreed",
        "plan_changes": "select cause from sync.plan_changes where deleted_row is not null",
    }
    assert {one: set(connection.scalars(sa.text(sql))) for one, sql in left.items()} == kept


def is_first(seen: set[str], row: dict[str, Any]) -> bool:
    """Return whether no row of this key and field was put among what is agreed on."""
    key = repr([row[name] for name in ("account", "table_name", "key", "field")])
    first = key not in seen
    seen.add(key)
    return first


PLAN_STATES = ("open", "approved", "applied", "rejected", "expired", "superseded")
CHANGE_STATES = (
    *("planned", "sent", "applied", "handed_over", "moved", "parked", "refused", "left_out", "superseded"),
)


@pytest.mark.parametrize("name", ["installs", "sites"])
def test_a_write_is_open_while_its_plan_waits_or_it_is_on_its_way(
    connection: sa.Connection, found: Found, name: str
) -> None:
    wanted: dict[str, tuple[str, int, bool]] = {}
    later = NOW.replace(year=2400)
    worlds = [
        *product(WHOSE[name][:1], PLAN_STATES, (later, OLD), CHANGE_STATES),
        *product(WHOSE[name][1:], ("open",), (later,), ("planned", "sent")),
    ]
    for number, ((given, _, theirs), state, ends, change) in enumerate(worlds):
        plan = str(number)
        row = {"account": ACCOUNT, "table_name": name, **DIRECTED, **given, "plan_hash": plan}
        put(connection, "sync.plans", account=row["account"], plan_hash=plan, state=state, expires_at=ends)
        # A change that is over in any case, and two of that state.
        for position, one in enumerate(("applied", change, change)):
            put(connection, "sync.plan_changes", **{**row, "state": one, "position": position})
        on_its_way = change in {"sent", "handed_over"}
        waits = change == "planned" and state in {"open", "approved"} and ends == later
        if theirs and (on_its_way or waits):
            wanted[plan] = (state, 2, on_its_way)
    both = {"account": ACCOUNT, "table_name": name, **DIRECTED, **WHOSE[name][0][0], "plan_hash": "both"}
    put(connection, "sync.plans", account=ACCOUNT, plan_hash="both", state="open", expires_at=later)
    for position, state in enumerate(("planned", "sent")):
        put(connection, "sync.plan_changes", **{**both, "state": state, "position": position})
    wanted["both"] = ("open", 2, True)
    rows = open_writes(connection, ACCOUNT, getattr(found, name))
    assert {
        row["plan_hash"]: (row["plan_state"], row["changes"], row["on_its_way"]) for row in rows
    } == wanted


@pytest.mark.parametrize("name", ["installs", "sites"])
def test_by_which_values_a_customer_was_told_of(connection: sa.Connection, found: Found, name: str) -> None:
    wanted = set()
    places = {
        "sync.ledger": (DIRECTED | {"decision": "applied"}, ("old_value", "new_value", "losing_value", "kept_value")),
        "sync.plan_changes": (DIRECTED | {"state": "applied"}, ("before", "after", "source_value")),
        "sync.agreed": ({"agreed_at": OLD}, ("value", "crm_value")),
    }  # fmt: skip
    numbers, seen = count(1), set[str]()
    for table, (needed, columns) in places.items():
        for (number, (given, by_key, by_record)), field in product(
            enumerate(WHOSE[name]), (HIDDEN, HARMLESS, FORMER)
        ):
            texts = {column: f"{table} {number} {column} {field}" for column in columns}
            row = {"account": ACCOUNT, "table_name": name, "field": field, **needed}
            row |= without_record(table, given)
            if table == "sync.plan_changes":
                row |= {"position": next(numbers), "plan_hash": "of none of the ledger"}
            if table == "sync.agreed" and not is_first(seen, row):
                continue
            put(connection, table, **{**row, **texts})
            if field == HIDDEN and (by_key if table == "sync.ledger" else by_record):
                wanted |= {("customer_name", text) for text in texts.values()}
    # No text is none of them.
    row = {"account": ACCOUNT, "table_name": name, **DIRECTED, "decision": "applied", "field": HIDDEN}
    for value in (5, True, [SECRET], {"a": SECRET}):
        put(connection, "sync.ledger", **{**row, **WHOSE[name][0][0], "new_value": value})
    assert set(stored_values(connection, ACCOUNT, getattr(found, name))) == wanted


@pytest.mark.parametrize("record", [THEIRS, STRANGER, None])
@pytest.mark.parametrize(
    "planned", ["site", "another key", "another plan", "another table", "another account"]
)
def test_a_row_of_the_ledger_is_about_the_record_of_its_change(
    connection: sa.Connection, found: Found, record: dict[str, int] | None, planned: str
) -> None:
    row = {"account": ACCOUNT, "table_name": "sites", "key": {"own": "theirs"}, "plan_hash": "p", **DIRECTED}
    put(connection, "sync.ledger", **row, decision="applied", field=HIDDEN, new_value=SECRET, old_value="Bo")
    other = {
        "another key": {"key": {"own": "also theirs"}},
        "another plan": {"plan_hash": "q"},
        "another table": {"table_name": "installs"},
        "another account": {"account": "other"},
    }
    change = row | other.get(planned, {}) | {"state": "applied", "position": 1, "enerflo_key": record}
    put(connection, "sync.plan_changes", **change)
    list(erase_rows(connection, ACCOUNT, found.sites))
    value = sa.text("select old_value, new_value from sync.ledger")
    of_another = planned == "site" and record == STRANGER
    assert connection.execute(value).one() == (("Bo", SECRET) if of_another else (None, None))
    # Of another's row only the customer's texts go.
    list(erase_of_others(connection, ACCOUNT, found.sites, [SECRET]))
    assert connection.execute(value).one() == (("Bo", None) if of_another else (None, None))


def test_personal_columns_of_the_mirror_are_erased(connection: sa.Connection) -> None:
    connection.exec_driver_sql("delete from enerflo.installs")
    seen = {"observed_at": NOW}
    rows: dict[str, list[tuple[dict[str, Any], bool | None]]] = {
        "enerflo.customers": [
            ({"customer_id": 7, "email": "a"}, True),
            ({"customer_id": 8, "email": "a"}, False),
            ({"account": "other", "customer_id": 7, "email": "a"}, False),
        ],
        "enerflo.installs": [
            ({"install_id": 70, "customer_name": "a", "agent_name": "b"}, True),
            ({"install_id": 71, "customer_id": 7, "customer_name": "a"}, True),
            ({"install_id": 72, "deal_id": "d7", "customer_name": "a"}, True),
            ({"install_id": 80, "customer_id": 8, "deal_id": "d8", "customer_name": "a"}, False),
            ({"account": "other", "install_id": 70, "customer_name": "a"}, False),
            ({"install_id": 73, "customer_id": 7, "agent_name": "b"}, None),
        ],
        "enerflo.notes": [
            ({"note_id": 1, "install_id": 70, "body": "a"}, True),
            ({"note_id": 2, "install_id": 80, "body": "a"}, False),
        ],
        "enerflo.submissions": [
            ({"deal_id": "d7", "content_hash": "1", "street": "a"}, True),
            ({"deal_id": "d7", "content_hash": "2", "city": "a"}, True),
            ({"deal_id": "d8", "install_id": 70, "content_hash": "1", "postal_code": "a"}, True),
            ({"deal_id": "d9", "install_id": 80, "content_hash": "1", "street": "a"}, False),
            ({"deal_id": "d7", "content_hash": "3", "state": "TX"}, None),
        ],
        # These hold nothing of a person.
        "enerflo.milestones": [({"install_id": 70, "milestone_id": 1, "title": "a"}, None)],
    }  # fmt: skip
    for table, given in rows.items():
        for values, _ in given:
            needed = {} if table == "enerflo.submissions" else seen
            put(connection, table, **{"account": ACCOUNT, **needed, **values})
    hits = {name: n for name, n in erase_mirror(connection, ACCOUNT, WHO) if n}
    assert hits == {
        table: sum(erased is True for _, erased in given)
        for table, given in rows.items()
        if any(erased for _, erased in given)
    }
    named = {"email", "customer_name", "body", "street", "city", "postal_code"}
    for table, given in rows.items():
        for values, erased in given:
            keys = {k: v for k, v in values.items() if k not in named} | {
                "account": values.get("account", ACCOUNT)
            }
            where = " and ".join(f"{name} = :{name}" for name in keys)
            columns = ", ".join(sorted(named & values.keys())) or "1"
            (row,) = connection.execute(sa.text(f"select {columns} from {table} where {where}"), keys)
            assert all(one is None for one in row) == (erased is True), (table, values)


def test_columns_that_sync_yaml_adds_are_erased_too(connection: sa.Connection) -> None:
    connection.exec_driver_sql("alter table enerflo.milestones add lender text")
    connection.exec_driver_sql("alter table enerflo.notes add former text")
    for install in (70, 80):
        seen = {"account": ACCOUNT, "install_id": install, "observed_at": NOW}
        put(connection, "enerflo.milestones", **seen, milestone_id=1)
        put(connection, "enerflo.notes", **seen, note_id=install)
    connection.exec_driver_sql("update enerflo.milestones set lender = 'a'")
    connection.exec_driver_sql("update enerflo.notes set former = 'a'")
    added = {"table_name": "milestones", "column_name": "lender", "type": "text"}
    put(connection, "sync.declared_columns", account=ACCOUNT, **added)
    put(
        connection,
        "sync.declared_columns",
        account="other",
        **added | {"table_name": "notes", "column_name": "former"},
    )
    assert {name: n for name, n in erase_mirror(connection, ACCOUNT, WHO) if n} == {"enerflo.milestones": 1}
    left = connection.scalars(sa.text("select install_id from enerflo.milestones where lender is not null"))
    assert left.all() == [80]
