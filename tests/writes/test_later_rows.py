"""Which side changed later, under ``newest``: each side's own time, beside what a write of ours left there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
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
  %s:
    crm_table: crm.rows
    key: %s
    updated_at: updated_at
    fields:
      name: {enerflo: %s, type: text, source_of_truth: newest}
"""
# Of each table: its key and field, and the record of the mirror whose time counts, with that one's id.
TABLES = {
    "installs": ("{id: install_id}", "agent_name", "installs", "install_id"),
    "milestones": ("{id: install_id, part: milestone_id}", "title", "installs", "install_id"),
    "leads": ("{id: customer_id}", "city", "customers", "customer_id"),
}
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
NOW = datetime.now(UTC).replace(microsecond=0)
# A time of the future is no later than the row was seen.
CRM = (NOW - 3 * HOUR, NOW + 24 * HOUR)
OWN = (NOW - 5 * HOUR, NOW - 2 * HOUR)
OBSERVED = (NOW - 4 * HOUR, NOW - HOUR)
# What a write of ours left at Enerflo, in hours and seconds: its time less the record's own, when that was
# seen less the present look, and when somebody else had changed it. And the same of the CRM.
AT_ENERFLO = (None, (0, 0, 6), (0, 1, 6), (0, 0, None), (0, -1, 6), (1, 0, 6))
IN_CRM = (None, (0, 7), (0, None), (1, 7))
CASES = list(product(OWN, OBSERVED, AT_ENERFLO, CRM, IN_CRM))


def ago(hours: int | None) -> datetime | None:
    return None if hours is None else NOW - hours * HOUR


def crm_later(own: datetime, observed: datetime, mine: Any, says: datetime, theirs: Any) -> bool:
    """Return whether the CRM changed later: by a time that is not of our own write, no later than it was seen."""
    enerflo: datetime | None = own
    if mine is not None and mine[0] == 0 and mine[1] >= 0:
        enerflo = ago(mine[2])
    crm = ago(theirs[1]) if theirs is not None and theirs[0] == 0 else says
    return crm is not None and (enerflo is None or crm > min(enerflo, observed))


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    places = [f"cast(:{name} as jsonb)" if name in ("key", "value") else f":{name}" for name in row]
    connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({', '.join(places)})"), row)


def put(connection: sa.Connection, table: str, number: int, case: Any) -> None:
    own, observed, mine, says, theirs = case
    _, field, record, record_id = TABLES[table]
    key = {"id": number, "part": 1} if table == "milestones" else {"id": number}
    seen = {"account": "default", "observed_at": observed, "observed_by": "poll"}
    of_record = {record_id: number, "updated_at": own, **seen}
    if table == "milestones":
        insert(connection, "enerflo.milestones", install_id=number, milestone_id=1, title="Enerflo", **seen)
    else:
        of_record[field] = "Enerflo"
    insert(connection, f"enerflo.{record}", **of_record)
    insert(connection, "crm.rows", **key, name="CRM", updated_at=says)
    agreed = {"table_name": table, "key": json.dumps(key), "field": "name", "value": '"Both"'}
    insert(connection, "sync.agreed", account="default", **agreed, agreed_at=ago(9), agreed_by="comparison")
    left_at, left_seen, others = mine or (0, 0, 9)
    of_mine = {
        **{"side": "enerflo", "table_name": record, "key": json.dumps({record_id: number})},
        **{"left_at": own + left_at * SECOND, "left_seen_at": observed + left_seen * SECOND},
        "others_at": ago(others),
    }
    left_at, others = theirs or (0, 9)
    of_theirs = {
        **{"side": "crm", "table_name": table, "key": json.dumps(key)},
        **{"left_at": says + left_at * SECOND, "left_seen_at": None, "others_at": ago(others)},
    }
    for known, row in ((mine, of_mine), (theirs, of_theirs)):
        strangers = [{"account": "other"}, {"table_name": "notes"}, {"key": json.dumps({"id": -number})}]
        strangers.append({"side": "crm" if row["side"] == "enerflo" else "enerflo"})
        for other in [*strangers, *([] if known is None else [{}])]:
            insert(connection, "sync.own_writes", **{"account": "default", **row, **other})


@pytest.mark.parametrize(
    ("table", "indexed"), [*((table, True) for table in TABLES), ("installs", False), ("leads", False)]
)
def test_the_side_that_somebody_else_changed_later_stands(
    warehouse: sa.Engine, tmp_path: Path, table: str, indexed: bool
) -> None:
    key, field, *_ = TABLES[table]
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % (table, key, field))
    config = load_config(path, {})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        part = ("part bigint,", "id, part") if table == "milestones" else ("", "id")
        index = f", primary key ({part[1]})" if indexed else ""
        connection.exec_driver_sql(
            f"create table crm.rows (id bigint, {part[0]} name text, updated_at timestamptz{index})"
        )
        for number, case in enumerate(CASES, 1):
            put(connection, table, number, case)
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        to_crm = {
            one.key["id"]
            for one in read_changes(connection, "default", plan.plan_hash)
            if one.op == "update" and one.direction == "to_crm"
        }
        undecided = read_undecided(connection, "default", plan.plan_hash)
        asked = {one.key["id"] for one in undecided if "does not tell whether" in str(one.reason)}
    for number, case in enumerate(CASES, 1):
        # Of rows that nothing tells apart nobody knows when they were seen: their future says nothing, unless
        # it is the time that our own write left.
        own = case[4] is not None and case[4][0] == 0
        unknown = not indexed and case[3] > NOW and not own
        assert (number in to_crm) is (not unknown and not crm_later(*case)), case
        assert (number in asked) is unknown, case
