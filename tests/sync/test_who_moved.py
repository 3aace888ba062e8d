"""Which side moved since both agreed, in every form of a pair: by facts, as plan and explanation name them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.run import reconcile
from enerflo_sync.sync.plan import make_plan

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
"""
NOW = datetime.now(UTC).replace(microsecond=0)
MOVED = ("enerflo_moved", "crm_moved", "base_known", "base_kept")
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


def same(field: str, left: Any, right: Any) -> bool:
    if field == "size":
        return left == right if None in (left, right) else abs(left - right) <= 1
    return ((left or "").strip().lower()) == ((right or "").strip().lower())


def facts(field: str, pair: Any, mine: Any, theirs: Any, by: str) -> dict[str, bool]:
    """Return what holds: a side moved where it says something else than in the pair, as it is declared."""
    if pair is None:
        return dict.fromkeys(MOVED, False)
    value, crm = pair[0], pair[0] if pair[1] is None else None if pair[1] == "null" else pair[1]
    moved = [not same(field, mine, value), not same(field, theirs, crm)]
    if by == "comparison" and not any(moved):
        # The halves were equal when they were compared, and drifted apart within the tolerance.
        moved = [mine != value, theirs != crm]
    return dict(zip(MOVED, (*moved, True, by != "comparison"), strict=True))


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
    cases = [(field, *case) for field, found in (("size", SIZES), ("agent", AGENTS)) for case in found]
    mirror, crm, agreed = [], [], []
    for number, (field, pair, mine, theirs, by) in enumerate(cases, 1):
        size = field == "size"
        seen = {"account": "default", "observed_by": "poll", "observed_at": NOW - timedelta(hours=3)}
        mirror.append(
            seen
            | {
                "install_id": number,
                "system_size_kw": mine if size else None,
                "agent_name": None if size else mine,
            }
        )
        row = {
            "enerflo_install_id": number,
            "size": theirs if size else None,
            "agent": None if size else theirs,
        }
        crm.append(row | {"updated_at": NOW - timedelta(hours=2)})
        if pair is not None:
            half = (
                pair[1]
                if pair[1] == "null"
                else None
                if pair[1] is None
                else json.dumps(str(pair[1]) if size else pair[1])
            )
            value = None if pair[0] is None else json.dumps(str(pair[0]) if size else pair[0])
            key = json.dumps({"enerflo_install_id": number})
            named = {"account": "default", "table_name": "installs", "key": key, "field": field}
            agreed.append(
                named
                | {"value": value, "crm_value": half, "agreed_at": NOW - timedelta(days=1), "agreed_by": by}
            )
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (enerflo_install_id bigint primary key, size numeric, agent text,"
            " updated_at timestamptz)"
        )
        for table, rows in (("enerflo.installs", mirror), ("crm.installs", crm), ("sync.agreed", agreed)):
            insert(connection, table, rows)
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        rows = connection.execute(
            sa.text("select (key ->> 'enerflo_install_id')::int as number, facts from sync.plan_changes")
        )
        held = {row.number: {name: name in row.facts for name in MOVED} for row in rows}
    assert plan.change_count == len(held)
    for number, case in enumerate(cases, 1):
        wanted = facts(*case)
        apart = wanted["base_kept"] and not wanted["enerflo_moved"] and not wanted["crm_moved"]
        if same(*case[:1], *case[2:4]) or apart:
            assert number not in held, case
        else:
            assert held.get(number) == wanted, case
