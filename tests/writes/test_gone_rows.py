"""When a record that only Enerflo has counts as deleted from the CRM: what is stored of its row must say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  milestones:
    crm_table: crm.milestones
    %s
    updated_at: updated_at
    fields:
      title: {enerflo: title, type: text, source_of_truth: enerflo}
"""
BY_RECORD = "key: {inst: install_id, ms: milestone_id}"
BY_OWN_KEY = (
    "key: [id]\n    join: {inst: install_id, ms: milestone_id}\n    on_insert: {id: 'k{milestone_id}'}"
)

# What is stored of the row otherwise, and whether that says that the CRM once had it. Lines are pairs of one
# field each: the two links of a row with a key of its own, of the record 1/<number>.
INST: dict[str, Any] = {"field": "inst", "value": 1, "is_link": True}
MS: dict[str, Any] = {"field": "ms", "value": "number", "is_link": True}
BOTH = [INST, MS]
OF_LINKS: list[tuple[list[dict[str, Any]], bool]] = [
    ([], False),
    (BOTH, True),
    ([{**one, "enerflo_key": "own"} for one in BOTH], True),
    ([{**one, "enerflo_key": {"install_id": 9, "milestone_id": 9}} for one in BOTH], False),
    *(([link], False) for link in BOTH),
    *(
        ([{**INST, **other}, MS], False)
        for other in (
            {"value": 2},
            {"field": "x"},
            {"account": "other"},
            {"table_name": "notes"},
            {"key": "else"},
            {"is_link": False},
        )
    ),
    *(
        ([INST, {**MS, **other}], False)
        for other in (
            {"value": 99},
            {"field": "x"},
            {"account": "other"},
            {"table_name": "notes"},
            {"key": "else"},
            {"is_link": False},
        )
    ),
    ([{**one, "account": "other"} for one in BOTH], False),
    ([{**one, "table_name": "notes"} for one in BOTH], False),
    ([{**one, "key": "relinked"} for one in BOTH], False),
    # The key of a time when the column held numbers is not that of the row with this text.
    ([{**one, "key": "a number"} for one in BOTH], True),
]
TITLE: dict[str, Any] = {"field": "title", "value": "Roof", "is_link": False}
OF_KEYS: list[tuple[list[dict[str, Any]], bool]] = [
    ([], False),
    ([TITLE], True),
    *(
        ([{**TITLE, **other}], False)
        for other in ({"account": "other"}, {"table_name": "notes"}, {"key": "else"})
    ),
]


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    places = [f"cast(:{n} as jsonb)" if n in ("key", "value", "enerflo_key") else f":{n}" for n in row]
    connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({', '.join(places)})"), row)


@pytest.mark.parametrize(
    ("config", "cases"), [(BY_OWN_KEY, OF_LINKS), (BY_RECORD, OF_KEYS)], ids=["own key", "record"]
)
def test_a_record_was_deleted_from_the_crm_where_its_pairs_say_that_it_was_there(
    warehouse: sa.Engine, tmp_path: Path, config: str, cases: list[tuple[list[dict[str, Any]], bool]]
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % config)
    own = config is BY_OWN_KEY
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.milestones (id text primary key, inst bigint, ms bigint, title text,"
            " updated_at timestamptz, unique (inst, ms))"
            if own
            else "create table crm.milestones (inst bigint, ms bigint, title text, updated_at timestamptz,"
            " primary key (inst, ms))"
        )
        if own:
            # A row that named one of the records once, and names another one by now.
            connection.exec_driver_sql(
                "insert into crm.milestones select id, 7, ms, 'Roof', now()"
                " from (values ('relinked', 7), ('77', 8)) v (id, ms)"
            )
            connection.exec_driver_sql(
                "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
                " values ('default', 7, 7, 'Roof', '2026-01-01', 'poll')"
            )
        for number, (pairs, _) in enumerate(cases, 1):
            record = {"install_id": 1, "milestone_id": number}
            seen = {"title": "Roof", "observed_at": "2026-01-01", "observed_by": "poll"}
            insert(connection, "enerflo.milestones", account="default", **record, **seen)
            for pair in pairs:
                name = pair.get("key", "k")
                name = name if name == "relinked" else f"{name}{number}"
                key = (
                    {"id": 77 if pair.get("key") == "a number" else name}
                    if own
                    else {"inst": 1, "ms": 999 if "key" in pair else number}
                )
                of = pair.get("enerflo_key")
                insert(
                    connection,
                    "sync.agreed",
                    **{
                        "account": pair.get("account", "default"),
                        "table_name": pair.get("table_name", "milestones"),
                    },
                    **{"key": json.dumps(key), "field": pair["field"], "is_link": pair["is_link"]},
                    value=json.dumps(number if pair["value"] == "number" else pair["value"]),
                    enerflo_key=None if of is None else json.dumps(record if of == "own" else of),
                    **{"agreed_at": "2026-01-01", "agreed_by": "comparison"},
                )
    loaded = load_config(path, {})
    plan = make_plan(warehouse, loaded, "default", reconcile(warehouse, loaded, "default").reconciliation_id)
    with warehouse.connect() as connection:
        made = {json.dumps(one.key) for one in read_changes(connection, "default", plan.plan_hash)}
        gone = {
            one.key["ms"]
            for one in read_undecided(connection, "default", plan.plan_hash)
            if one.cause == "deleted_in_crm"
        }
    assert gone == {number for number, (_, deleted) in enumerate(cases, 1) if deleted}
    new = [number for number, (_, deleted) in enumerate(cases, 1) if not deleted]
    assert made == {json.dumps({"id": f"k{n}"} if own else {"ms": n, "inst": 1}) for n in new}
