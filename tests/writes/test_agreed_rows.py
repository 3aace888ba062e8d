"""Which pairs of values a plan remembers: every pair before, beside every two values of the sides now."""

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
from enerflo_sync.reconcile.reconciliation import reconcile
from tests.writes.milestones import milestones_mapped

CONFIG = milestones_mapped(
    "title: {enerflo: title, type: text, trim: true, fold_case: true, null: empty_is_null, source_of_truth: review}",
    # Of this field there is a pair in every case, and nothing to say.
    "due_at: {enerflo: due_at, type: timestamp, source_of_truth: review}",
).replace("tables:", "reconcile: {lookback_minutes: 0}\ntables:")
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NULL = "null"
# Each side's value of the pair that is known: what the CRM said is stored only where it differs.
PAIRS = (
    None,
    *((None, None), ("Roof", None), ("ROOF", None), ("Wires", None)),
    *((None, ""), ("Roof", NULL), ("Roof", "roof ")),
)
CASES = list(product(PAIRS, (None, "Roof", "ROOF"), (None, "", "Roof", "roof "), ("comparison", "push")))
AGREED = sa.text("""
insert into sync.agreed (account, table_name, key, field, value, crm_value, agreed_at, agreed_by)
values (:account, :table, cast(:key as jsonb), :field, cast(:value as jsonb), cast(:crm as jsonb), :at, :by)
""")


def plain(value: str | None) -> str | None:
    return (value or "").strip().lower() or None


def as_json(value: str | None) -> str | None:
    return value if value in (None, NULL) else json.dumps(value)


def put(connection: sa.Connection, number: int, case: Any, table: str = "milestones") -> None:
    pair, mine, theirs, by = case
    connection.execute(
        sa.text(
            "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
            " values ('default', 1, :n, :title, now(), 'poll')"
        ),
        {"n": number, "title": mine},
    )
    connection.execute(
        sa.text(f"insert into crm.{table} values (1, :n, :title, null, now())"),
        {"n": number, "title": theirs},
    )
    key = json.dumps({"enerflo_install_id": 1, "milestone_id": number})
    # What another account or another table has under this key is nothing here.
    strangers = [("other", "milestones", "Roof", None), ("default", "notes", "Roof", None)]
    known = [] if pair is None else [("default", "milestones", *pair)]
    for account, name, value, crm in [*strangers, *known]:
        named = {"account": account, "table": name, "key": key, "field": "title", "at": LONG_AGO, "by": by}
        connection.execute(AGREED, {**named, "value": as_json(value), "crm": as_json(crm)})
    nothing = {"account": "default", "table": "milestones", "field": "due_at", "value": None, "crm": None}
    connection.execute(AGREED, {**nothing, "key": key, "at": LONG_AGO, "by": by})


def expected(case: Any, *, all_rows: bool) -> tuple[Any, ...] | None:
    """Return the pair that stands afterwards: value, what the CRM says, by what, whether it is news.

    :param all_rows: the look was at all rows: pairs of a version that stored no times are stored anew.
    """
    pair, mine, theirs, by = case
    now = (mine, None if theirs == mine else NULL if theirs is None else theirs)
    if plain(mine) == plain(theirs) and (all_rows or pair != now):
        return (*now, "comparison", True)
    return None if pair is None else (*pair, by, False)


@pytest.mark.parametrize("look", ["the first look", "a later look", "a look at another table"])
def test_equal_values_are_remembered_as_they_are_and_others_are_not(
    warehouse: sa.Engine, tmp_path: Path, look: str
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    config = load_config(path, {})
    # Rows that stand in a table that takes the place of the first one move without being written.
    another = look == "a look at another table"
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        for table in ("milestones", "another"):
            connection.exec_driver_sql(
                f"create table crm.{table} (enerflo_install_id bigint, milestone_id bigint, title text,"
                " due_at timestamptz, updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
            )
        for number, case in enumerate(CASES if another else ()):
            put(connection, number, case, "another")
    if look != "the first look":
        make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.begin() as connection:
        if another:
            connection.exec_driver_sql("alter table crm.milestones rename to before")
            connection.exec_driver_sql("alter table crm.another rename to milestones")
        for number, case in enumerate(() if another else CASES):
            put(connection, number, case)
    make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        rows = connection.execute(
            sa.text(
                "select account, table_name, (key ->> 'milestone_id')::int as number, value, crm_value::text,"
                " agreed_by, agreed_at > :at as news from sync.agreed where field = 'title'"
            ),
            {"at": LONG_AGO + timedelta(days=1)},
        )
        stored = {(row[0], row[1], row[2]): tuple(row[3:]) for row in rows}
    for number, case in enumerate(CASES):
        wanted = expected(case, all_rows=look != "a later look")
        found = stored.pop(("default", "milestones", number), None)
        assert found == (wanted and (wanted[0], as_json(wanted[1]), *wanted[2:])), case
        for stranger in (("other", "milestones", number), ("default", "notes", number)):
            assert stored.pop(stranger) == ("Roof", None, case[3], False)
    assert not stored
