"""Which rows count as one of several, and until when: after each plan, by key and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
reconcile: {lookback_minutes: 0}
tables:
  installs:
    crm_table: crm.installs
    key: [project, part]
    join: {record: install_id}
    updated_at: updated_at
    fields:
      agent: {enerflo: agent_name, type: text, source_of_truth: enerflo}
"""
FIELDS = ("agent", "record")


@pytest.fixture
def tables(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (project text, part bigint, record bigint, agent text,"
            " updated_at timestamptz default now())"
        )
        # What stands under these keys for another account, or another table, is nothing here.
        for account, table in (("other", "installs"), ("default", "notes")):
            connection.exec_driver_sql(
                "insert into sync.agreed_twins (account, table_name, key, field, seen_at)"
                f" select '{account}', '{table}', jsonb_build_object('project', p, 'part', 1), 'agent', now()"
                " from unnest(array['a', 'd', 'g', 'k']) p"
            )
        for record in (1, 2, 3, 4, 5, 6, 7):
            connection.exec_driver_sql(
                "insert into enerflo.installs (account, install_id, agent_name, observed_at, observed_by)"
                f" values ('default', {record}, 'Ann', now(), 'poll')"
            )
    return warehouse


@pytest.fixture
def config(tmp_path: Path) -> SyncConfig:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    return load_config(path, {})


def rows(tables: sa.Engine, *statements: str) -> None:
    with tables.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def put(tables: sa.Engine, *found: tuple[str, int, str]) -> None:
    rows(
        tables,
        *(
            f"insert into crm.installs (project, part, record, agent) values ('{project}', 1, {record}, '{agent}')"
            for project, record, agent in found
        ),
    )


def planned(
    tables: sa.Engine, config: SyncConfig
) -> tuple[dict[str, set[str]], dict[str, set[str]], list[Any]]:
    """Return the fields of each row that is one of several, those agreed on, and what the plan holds."""
    plan = make_plan(tables, config, "default", reconcile(tables, config, "default").reconciliation_id)
    stored: list[dict[str, set[str]]] = [{}, {}]
    with tables.connect() as connection:
        for found, table in zip(stored, ("agreed_twins", "agreed"), strict=True):
            query = (
                f"select key ->> 'project', field from sync.{table}"
                " where account = 'default' and table_name = 'installs' and key ->> 'part' = '1'"
            )
            for project, field in connection.execute(sa.text(query)):
                found.setdefault(project, set()).add(field)
        told = [
            *((one.op, one.field, one.after) for one in read_changes(connection, "default", plan.plan_hash)),
            *(("asked", one.cause) for one in read_undecided(connection, "default", plan.plan_hash)),
        ]
        strangers = connection.scalar(
            sa.text("select count(*) from sync.agreed_twins where account = 'other' or table_name = 'notes'")
        )
    assert strangers in (0, 8)
    return stored[0], stored[1], told


BOTH = set(FIELDS)
DUPLICATE = ("asked", "duplicate_identity")


def test_rows_of_one_record_and_rows_of_one_key(tables: sa.Engine, config: SyncConfig) -> None:
    put(
        tables,
        ("a", 1, "Ann"),
        ("b", 2, "Ann"),
        ("c", 2, "Bob"),
        ("d", 3, "Ann"),
        ("d", 4, "Ann"),
        ("g", 7, "Ann"),
        ("k", 5, "Ann"),
        ("m", 6, "Ann"),
    )
    # Another part of the key is another key.
    rows(tables, "insert into crm.installs (project, part, record, agent) values ('a', 2, null, 'Ann')")
    twins, agreed, _ = planned(tables, config)
    assert twins == {"b": BOTH, "c": BOTH, "d": BOTH}
    assert agreed == {"a": BOTH, "g": BOTH, "k": BOTH, "m": BOTH}
    # Nothing moved: all stays as it is, also what a look would find.
    rows(tables, "delete from sync.agreed where key ->> 'project' = 'k'")
    assert planned(tables, config)[:2] == (twins, {"a": BOTH, "g": BOTH, "m": BOTH})

    # A row that was alone gets another beside it, which may name no record; of the others one is left, equal
    # or not.
    put(tables, ("h", 7, "Eve"))
    rows(
        tables,
        "insert into crm.installs (project, part, agent) values ('m', 1, 'Ann')",
        "delete from crm.installs where project = 'b'",
        "delete from crm.installs where project = 'd' and record = 4",
    )
    twins, agreed, told = planned(tables, config)
    # Of a row that is gone it stays remembered: it may come back.
    assert twins == {"b": BOTH, "c": {"agent"}, "g": BOTH, "h": BOTH, "m": BOTH}
    assert agreed == {"a": BOTH, "g": BOTH, "d": BOTH, "c": {"record"}, "m": BOTH}
    assert DUPLICATE in told
    # Enerflo's value is the declared one: the row that is left is written, without a base.
    assert ("update", "agent", "Ann") in told

    # Equal by itself it is a row as any other.
    rows(
        tables,
        "update crm.installs set agent = 'Ann', updated_at = now() where project = 'c'",
        "delete from crm.installs where project = 'h' or project = 'm' and record is null",
    )
    twins, agreed, told = planned(tables, config)
    assert twins == {"b": BOTH, "h": BOTH}
    assert agreed == {"a": BOTH, "g": BOTH, "d": BOTH, "c": BOTH, "m": BOTH}
    assert DUPLICATE not in told


@pytest.mark.parametrize(
    ("index", "second", "several"),
    [("project, part", ("c", 2, "Ann"), {"b", "c"}), ("record", ("b", 3, "Ann"), {"b"})],
)
def test_where_an_index_keeps_one_of_both_apart(
    tables: sa.Engine, config: SyncConfig, index: str, second: tuple[str, int, str], several: set[str]
) -> None:
    rows(tables, f"create unique index on crm.installs ({index})", "truncate sync.agreed_twins")
    put(tables, ("a", 1, "Ann"), ("b", 2, "Ann"), second)
    assert planned(tables, config)[:2] == (dict.fromkeys(several, BOTH), {"a": BOTH})
    # The one that is left does not move.
    project, record, _ = second
    rows(tables, f"delete from crm.installs where project = '{project}' and record = {record}")
    twins, agreed, _ = planned(tables, config)
    assert twins == dict.fromkeys(several - {"b"}, BOTH)
    assert agreed == {"a": BOTH, "b": BOTH}


def test_a_row_whose_record_is_gone_stays_one_of_several(tables: sa.Engine, config: SyncConfig) -> None:
    put(tables, ("b", 2, "Ann"), ("c", 2, "Ann"))
    assert planned(tables, config)[0] == {"b": BOTH, "c": BOTH}
    rows(
        tables,
        "delete from crm.installs where project = 'c'",
        "update enerflo.installs set deleted_at = now() where install_id = 2",
    )
    assert planned(tables, config)[:2] == ({"b": BOTH, "c": BOTH}, {})


def test_what_cannot_be_told_apart_is_asked_once(tables: sa.Engine, config: SyncConfig) -> None:
    put(
        tables,
        ("b", 2, "Ann"),
        ("c", 2, "Bob"),
        ("d", 3, "Bob"),
        ("d", 4, "Ann"),
        ("e", 1, "Bob"),
        ("f", 7, "Ann"),
    )
    # Under one key, too, two rows of which Enerflo has no record.
    put(tables, ("h", 98, "Ann"), ("h", 99, "Ann"))
    rows(tables, "insert into crm.installs (project, part, record, agent) values ('e', 2, null, 'Bob')")
    plan = make_plan(tables, config, "default", reconcile(tables, config, "default").reconciliation_id)
    with tables.connect() as connection:
        asked = [one for one in read_undecided(connection, "default", plan.plan_hash) if one.field is None]
        changes = [one.key for one in read_changes(connection, "default", plan.plan_hash)]
    found = {
        (one.key.get("project"), one.key.get("record")): one for one in asked if one.cause == DUPLICATE[1]
    }
    duplicates = [one for one in asked if one.cause == DUPLICATE[1]]
    assert found.keys() == {(None, 2), ("d", None), ("h", None)}
    assert len(duplicates) == 3
    mine = found["d", None].enerflo_value
    assert (mine["rows"], sorted(one["install_id"] for one in mine["keys"])) == (2, [3, 4])
    assert found["d", None].crm_value == {"rows": 2, "keys": [{"project": "d", "part": 1}]}
    assert found["h", None].enerflo_value is None
    assert changes == [{"project": "e", "part": 1}]
