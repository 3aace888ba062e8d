"""Which side moved since both agreed, in every form of a pair: by facts, as plan and explanation name them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      size: {enerflo: system_size_kw, type: number, tolerance: 1, source_of_truth: enerflo, null_overwrites: true}
      agent: {enerflo: agent_name, type: text, trim: true, fold_case: true, null: empty_is_null,
        source_of_truth: enerflo, null_overwrites: true}
      office: {enerflo: office_name, type: text, values: {N: North}, source_of_truth: enerflo}
"""
NOW = datetime.now(UTC).replace(microsecond=0)
MOVED = ("enerflo_moved", "crm_moved", "base_known", "base_kept")
NULL = ("enerflo_null", "crm_null")
KINDS = ("comparison", "push", "undo")
# Both halves of a pair, of which the CRM's is stored only where it differs, and both sides now.
SIZES = list(
    product([(10, None), (10, 11), (10, 30), None], [10, 10.6, 12, 20, None], [10, 11, 12.5, 30, None], KINDS)
)
AGENTS = list(
    product(
        [("Ann", None), ("Ann", "ann "), ("Ann", "null"), (None, ""), (None, "Ann")],
        ["Ann", "ANN", "Bob", None],
        ["Ann", "ann ", "Eve", "", None],
        KINDS,
    )
)


# A name of Enerflo's is another one in the CRM.
OFFICES = list(product([("N", "North"), ("N", "South")], ["N", "S", "North"], ["North", "N", "S"], KINDS))
COLUMNS = {"size": "system_size_kw", "agent": "agent_name", "office": "office_name"}


def in_crm(field: str, value: Any) -> Any:
    """Return a value of Enerflo as the CRM writes it."""
    return "North" if (field, value) == ("office", "N") else value


def same(field: str, left: Any, right: Any) -> bool:
    """Return whether two values, as the CRM writes them, are equal as declared."""
    if field == "size":
        return left == right if None in (left, right) else abs(left - right) <= 1
    if field == "office":
        return bool(left == right)
    return ((left or "").strip().lower()) == ((right or "").strip().lower())


def facts(field: str, pair: Any, mine: Any, theirs: Any, by: str) -> dict[str, bool]:
    """Return what holds: a side moved where it says something else than in the pair, as it is declared.

    A side is null where it says nothing: of a name that is empty, too.
    """
    nulls = dict(
        zip(NULL, (one is None or (field == "agent" and one == "") for one in (mine, theirs)), strict=True)
    )
    if pair is None:
        return dict.fromkeys(MOVED, False) | nulls
    value, crm = pair[0], pair[0] if pair[1] is None else None if pair[1] == "null" else pair[1]
    moved = [not same(field, in_crm(field, mine), in_crm(field, value)), not same(field, theirs, crm)]
    if by == "comparison" and not any(moved):
        # The halves were equal when they were compared, and drifted apart within the tolerance.
        moved = [mine != value, theirs != crm]
    return dict(zip(MOVED, (*moved, True, by != "comparison"), strict=True)) | nulls


def as_json(field: str, value: Any) -> str | None:
    if value is None or value == "null":
        return value
    return json.dumps(str(value) if field == "size" else value)


def insert(connection: sa.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    places = [
        f"cast(:{name} as jsonb)" if name in ("key", "value", "crm_value") else f":{name}" for name in names
    ]
    connection.execute(
        sa.text(f"insert into {table} ({', '.join(names)}) values ({', '.join(places)})"), rows
    )


def test_a_side_moved_where_it_says_something_else_as_declared(warehouse: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    config = load_config(path, {})
    every = {"size": SIZES, "agent": AGENTS, "office": OFFICES}
    cases = [(field, *case) for field, found in every.items() for case in found]
    mirror, crm, agreed = [], [], []
    for number, (field, pair, mine, theirs, by) in enumerate(cases, 1):
        seen = {"account": "default", "observed_by": "poll", "observed_at": NOW - timedelta(hours=3)}
        values = {column: mine if name == field else None for name, column in COLUMNS.items()}
        mirror.append({**seen, "install_id": number, **values})
        values = {name: theirs if name == field else None for name in COLUMNS}
        crm.append({"enerflo_install_id": number, **values, "updated_at": NOW - timedelta(hours=2)})
        if pair is not None:
            key = json.dumps({"enerflo_install_id": number})
            named = {"account": "default", "table_name": "installs", "key": key, "field": field}
            halves = {"value": as_json(field, pair[0]), "crm_value": as_json(field, pair[1])}
            agreed.append({**named, **halves, "agreed_at": NOW - timedelta(days=1), "agreed_by": by})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (enerflo_install_id bigint primary key, size numeric, agent text, office text,"
            " updated_at timestamptz)"
        )
        for table, rows in (("enerflo.installs", mirror), ("crm.installs", crm), ("sync.agreed", agreed)):
            insert(connection, table, rows)
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        rows = connection.execute(
            sa.text("select (key ->> 'enerflo_install_id')::int as number, facts from sync.plan_changes")
        )
        held = {row.number: {name: name in row.facts for name in MOVED + NULL} for row in rows}
    assert plan.change_count == len(held)
    for number, case in enumerate(cases, 1):
        wanted = facts(*case)
        apart = wanted["base_kept"] and not wanted["enerflo_moved"] and not wanted["crm_moved"]
        if same(case[0], in_crm(case[0], case[2]), case[3]) or apart:
            assert number not in held, case
        else:
            assert held.get(number) == wanted, case
