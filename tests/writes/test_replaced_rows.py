"""When a new row of the CRM stands in the place of another one: what is stored of that one must say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: [project, part]
    join: {record: install_id}
    updated_at: updated_at
    fields:
      agent: {enerflo: agent_name, type: text, source_of_truth: crm}
"""
REPLACED = "another row of the CRM stood for it before"
OLD, OWN, ELSE, OTHER_COLUMNS = "old", "own", "else", "other columns"
# What is stored of the other row: that it named the record, and a pair of the field that differs.
LINK: dict[str, Any] = {"key": OLD, "field": "record", "value": "number", "is_link": True}
PAIR: dict[str, Any] = {"key": OLD, "field": "agent", "value": "Ann", "record": "number"}
# What is stored of the row itself, as of a row that named another record before.
SELF: dict[str, Any] = {"key": OWN, "field": "agent", "value": "Ann", "record": 0}
CASES: list[tuple[list[dict[str, Any]], bool]] = [
    ([], False),
    ([LINK, PAIR], True),
    ([LINK], False),
    ([PAIR], False),
    *(
        ([{**LINK, **other}, PAIR], False)
        for other in (
            *[{"account": "other"}, {"table_name": "notes"}, {"field": "x"}, {"value": 0}],
            *[{"is_link": False}, {"key": ELSE}],
        )
    ),
    *(
        ([LINK, {**PAIR, **other}], False)
        for other in (
            *[{"account": "other"}, {"table_name": "notes"}, {"field": "x"}, {"record": 0}],
            *[{"record": None}, {"key": ELSE}],
        )
    ),
    *(
        ([{**LINK, **other}, {**PAIR, **other}], False)
        for other in ({"account": "other"}, {"table_name": "notes"}, {"key": OTHER_COLUMNS})
    ),
    ([LINK, PAIR, SELF], False),
    # Base known: it is no new row.
    ([LINK, PAIR, {**SELF, "record": "number"}], False),
    *(
        ([LINK, PAIR, {**SELF, **other}], True)
        for other in ({"account": "other"}, {"table_name": "notes"}, {"field": "x"}, {"key": ELSE})
    ),
]


def stored_key(number: int, key: str) -> str:
    if key == OTHER_COLUMNS:
        return json.dumps({"project": f"{OLD}{number}"})
    return json.dumps({"project": f"{key}{number}", "part": 1})


def test_a_row_in_the_place_of_another_one(warehouse: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    config = load_config(path, {})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (project text, part bigint, record bigint unique, agent text,"
            " updated_at timestamptz default now(), primary key (project, part))"
        )
        for number, (rows, _) in enumerate(CASES, 1):
            connection.exec_driver_sql(
                f"insert into crm.installs values ('{OWN}{number}', 1, {number}, 'Bob')"
            )
            connection.exec_driver_sql(
                "insert into enerflo.installs (account, install_id, agent_name, observed_at, observed_by)"
                f" values ('default', {number}, 'Ann', now(), 'poll')"
            )
            for row in rows:
                record = row.get("record")
                named = {
                    **{"account": "default", "table_name": "installs", "is_link": False, **row},
                    "key": stored_key(number, row["key"]),
                    "value": json.dumps(number if row["value"] == "number" else row["value"]),
                    "record": record
                    if record is None
                    else json.dumps({"install_id": number if record == "number" else record}),
                }
                connection.execute(
                    sa.text(
                        "insert into sync.agreed (account, table_name, key, field, value, is_link, enerflo_key,"
                        " agreed_at, agreed_by) values (:account, :table_name, cast(:key as jsonb), :field,"
                        " cast(:value as jsonb), :is_link, cast(:record as jsonb), now(), 'comparison')"
                    ),
                    named,
                )
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        asked = {
            int(one.key["project"].removeprefix(OWN))
            for one in read_undecided(connection, "default", plan.plan_hash)
            if one.field == "agent" and (one.reason or "").startswith(REPLACED)
        }
    for number, case in enumerate(CASES, 1):
        assert (number in asked) is case[1], case
