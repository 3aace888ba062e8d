"""What is read and written of the levels of tables: of this account's runs, and of no stranger's rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.levels import Level, LevelLook, hold_back, read_levels, tables_in_doubt
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.report import Cause, GoneAtOnce
from tests.reconcile.conftest import NOW

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.rows
    key: {id: install_id}
    %s
    fields:
      status: {enerflo: status_name, type: text}
"""
MARKED = "deleted_when: {gone: true}"


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        opened.exec_driver_sql("create schema crm")
        opened.exec_driver_sql("create table crm.rows (id bigint primary key, status text, gone boolean)")
        yield opened


def comparison(connection: sa.Connection, folder: Path, option: str = MARKED) -> Comparison:
    path = folder / "sync.yaml"
    path.write_text(CONFIG % option)
    (plan,) = live_comparisons(connection, load_config(path, {}), "default", "", all_tables=True)
    return plan


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    jsons = {"report", "key", "enerflo_value", "crm_value"}
    places = ", ".join(f"cast(:{name} as jsonb)" if name in jsons else f":{name}" for name in row)
    given = {k: json.dumps(v, default=str) if k in jsons and v is not None else v for k, v in row.items()}
    connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({places})"), given)


def a_run(connection: sa.Connection, name: str, minutes: int, **other: Any) -> None:
    """Store a reconciliation whose levels and doubts are told by its name's number."""
    number = int(name[1:])
    level = Level("s", number, number, NOW)
    gone = GoneAtOnce(table_name="installs", crm_table="crm.rows", gone=number, rows=1, since=NOW)
    report = {"levels": {"installs": msgspec.to_builtins(level)}, "gone_at_once": [msgspec.to_builtins(gone)]}
    at = NOW + timedelta(minutes=minutes)
    row = {
        "account": "default",
        "reconciliation_id": name,
        "started_at": at,
        "finished_at": at,
        "scope": "full",
    }
    row |= {"config_hash": "c", "compared_until": at, "report": report}
    insert(connection, "sync.reconciliations", **row | other)


def test_the_levels_are_those_of_the_last_run_that_ended(connection: sa.Connection) -> None:
    a_run(connection, "r1", 1)
    a_run(connection, "r2", 2)
    # It compared further, although it began before.
    a_run(connection, "r3", 0, compared_until=NOW + timedelta(minutes=3))
    a_run(connection, "r4", -1, compared_until=NOW + timedelta(minutes=3))
    a_run(connection, "r5", 5, finished_at=None)
    a_run(connection, "r6", 6, account="other")
    a_run(connection, "r7", 7)
    (level,) = read_levels(connection, "default", "r7").values()
    (doubt,) = tables_in_doubt(connection, "default", None).values()
    assert (level.rows, doubt.gone) == (3, 7)
    for name, gone in (("r7", 7), ("r2", 2), ("r6", None), ("r5", None)):
        found = tables_in_doubt(connection, "default", name)
        assert (found["installs"].gone if found else None) == gone
    assert read_levels(connection, "new", "r1") == {}
    assert tables_in_doubt(connection, "new", None) == {}


def test_rows_that_our_own_plans_deleted_are_no_fall(connection: sa.Connection, tmp_path: Path) -> None:
    plan = comparison(connection, tmp_path)
    since = NOW - timedelta(minutes=30)
    ours = {
        **{"account": "default", "table_name": "installs", "op": "delete", "direction": "to_crm"},
        **{"decision": "applied", "recorded_at": since + timedelta(seconds=1)},
    }
    strangers = [
        *({"account": "other"}, {"table_name": "notes"}, {"op": "update"}, {"direction": "to_enerflo"}),
        *({"decision": "moved"}, {"recorded_at": since}, {"recorded_at": since - timedelta(seconds=1)}),
    ]
    for other in (*[{}] * 4, *strangers * 3):
        row = dict.fromkeys(("policy", "cause", "rule", "plan_hash", "decided_by", "run_id"), "-")
        insert(connection, "sync.ledger", key={"id": 1}, **row | ours | other)
    for number in range(1, 6):
        insert(connection, "crm.rows", id=number, gone=(True, True, True, False, None)[number - 1])
    look = LevelLook(connection, "default", {}, NOW, 20)
    assert look.look(plan, 100) is None
    signature = look.levels["installs"].signature
    before = {"installs": Level(signature, 100, 100, since)}
    # Four of the thirty are ours.
    look = LevelLook(connection, "default", before, NOW, 20)
    found = look.look(plan, 70)
    assert found == GoneAtOnce(
        table_name="installs", crm_table="crm.rows", gone=26, rows=70, since=since, marked=3
    )
    assert look.gone == [found]
    assert look.levels["installs"].in_doubt
    # Without the four the rest is no fall.
    look = LevelLook(connection, "default", before, NOW, 20)
    assert look.look(plan, 77) is None
    assert (look.gone, look.levels["installs"].in_doubt) == ([], False)
    plain = comparison(connection, tmp_path, "")
    look = LevelLook(connection, "default", {}, NOW, 20)
    look.look(plain, 100)
    assert look.levels["installs"].signature != signature
    before = {
        "installs": msgspec.structs.replace(before["installs"], signature=look.levels["installs"].signature)
    }
    found = LevelLook(connection, "default", before, NOW, 20).look(plain, 50)
    assert found is not None
    assert (found.gone, found.marked) == (46, None)


def test_only_missing_rows_of_this_run_and_table_are_held_back(
    connection: sa.Connection, tmp_path: Path
) -> None:
    plan, wanted = comparison(connection, tmp_path), {}
    causes = [str(cause) for cause in Cause if cause is not Cause.GONE_AT_ONCE]
    held = {"deleted_in_crm", "voided", "missing_in_crm"}
    ours = {
        "account": "default",
        "reconciliation_id": "r",
        "table_name": "installs",
        "field": None,
        "crm_value": None,
    }
    strangers: list[dict[str, Any]] = [
        {},
        *({"account": "other"}, {"reconciliation_id": "q"}, {"table_name": "notes"}),
        *({"field": "status"}, {"crm_value": "x"}),
    ]
    for number, (cause, other) in enumerate(product(causes, strangers), 1):
        insert(connection, "sync.differences", key={"id": number}, cause=cause, **ours | other)
        wanted[number] = "gone_at_once" if cause in held and not other else cause
    hold_back(connection, plan, {"account": "default", "reconciliation_id": "r"})
    rows = connection.exec_driver_sql("select (key ->> 'id')::int, cause from sync.differences").all()
    assert dict(tuple(row) for row in rows) == wanted
