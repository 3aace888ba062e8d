"""When a refusal keeps a change out of the plan, and when it ends: one case for each thing that may be another."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile
from tests.writes.milestones import milestones_mapped

CONFIG = milestones_mapped(
    "title: {enerflo: title, type: text, trim: true, fold_case: true, source_of_truth: enerflo, null_overwrites: true}",
    "due_at: {enerflo: due_at, type: timestamp, source_of_truth: crm}",
)
DECIDED_AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY, OTHER_DAY = "2026-05-01T00:00:00+00:00", "2026-06-01T00:00:00+00:00"
# The change is none of the plan; it is another one, and the refusal stands; the refusal ends.
KEPT_OUT, STANDS, ENDED = "kept out", "stands", "ended"

# What is due: Enerflo's title B stands in place of the CRM's A. Each case is what the refusal says otherwise,
# what the two sides say otherwise, and what comes of it.
CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, KEPT_OUT),
    ({"after": "b "}, {}, KEPT_OUT),
    ({"before": " a"}, {}, KEPT_OUT),
    ({"source_value": "Z"}, {}, KEPT_OUT),
    ({"key": {"enerflo_install_id": 9}}, {}, KEPT_OUT),
    ({"after": "C"}, {}, ENDED),
    ({"before": "C"}, {}, ENDED),
    ({"before": None}, {}, ENDED),
    ({"after": None}, {}, ENDED),
    ({"after": None}, {"enerflo": None}, KEPT_OUT),
    ({"before": None}, {"crm": None}, KEPT_OUT),
    ({"ended_at": DECIDED_AT}, {}, STANDS),
    ({"account": "other"}, {}, STANDS),
    ({"table_name": "notes"}, {}, STANDS),
    ({"field": "due_at"}, {}, ENDED),
    ({"direction": "to_enerflo"}, {}, STANDS),
    ({"op": "delete", "field": None}, {}, STANDS),
    ({"enerflo_key": {"install_id": 2, "milestone_id": 1}}, {}, STANDS),
    ({"enerflo_key": None}, {}, STANDS),
    ({}, {"agreed_at": DECIDED_AT}, KEPT_OUT),
    ({}, {"agreed_at": DECIDED_AT + timedelta(seconds=1)}, ENDED),
    # Both sides agree by now, in any spelling; or nothing is due for another reason.
    ({}, {"crm": "B"}, ENDED),
    ({}, {"crm": "b"}, ENDED),
    ({"op": "delete", "field": None}, {"crm": "B"}, STANDS),
    ({"account": "other"}, {"crm": "B"}, STANDS),
    ({"table_name": "notes"}, {"crm": "B"}, STANDS),
    ({"ended_at": DECIDED_AT}, {"crm": "B"}, STANDS),
    ({}, {"crm": "B", "deleted_at": DECIDED_AT}, STANDS),
    # The other field, which goes to Enerflo.
    ({"field": "due_at", "direction": "to_enerflo", "before": None, "after": DAY}, {"due_at": DAY}, KEPT_OUT),
    (
        {"field": "due_at", "direction": "to_enerflo", "before": None, "after": OTHER_DAY},
        {"due_at": DAY},
        ENDED,
    ),
]


def as_json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    types = {
        "key": "jsonb",
        "enerflo_key": "jsonb",
        "before": "jsonb",
        "after": "jsonb",
        "source_value": "jsonb",
    }
    places = [f"cast(:{name} as {types[name]})" if name in types else f":{name}" for name in row]
    connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({', '.join(places)})"), row)


def put(connection: sa.Connection, number: int, refused: dict[str, Any], sides: dict[str, Any]) -> None:
    record = {"install_id": 1, "milestone_id": number}
    key = {"enerflo_install_id": 1, "milestone_id": number}
    insert(
        connection,
        "enerflo.milestones",
        **{"account": "default", **record, "title": sides.get("enerflo", "B"), "observed_by": "poll"},
        **{"observed_at": DECIDED_AT, "deleted_at": sides.get("deleted_at")},
    )
    crm = {"title": sides.get("crm", "A"), "due_at": sides.get("due_at"), "updated_at": DECIDED_AT}
    if "due_at" in sides:
        crm["title"] = "B"
    insert(connection, "crm.milestones", **key, **crm)
    if "agreed_at" in sides:
        insert(
            connection,
            "sync.agreed",
            **{"account": "default", "table_name": "milestones", "key": json.dumps(key), "field": "title"},
            **{"agreed_at": sides["agreed_at"], "agreed_by": "push"},
        )
    row = {
        **{"account": "default", "table_name": "milestones", "key": key, "enerflo_key": record},
        **{"op": "update", "field": "title", "direction": "to_crm", "before": "A", "after": "B"},
        **{"source_value": None, "ended_at": None},
        **refused,
    }
    values = {name: as_json(row[name]) for name in ("key", "enerflo_key", "before", "after", "source_value")}
    insert(
        connection,
        "sync.refusals",
        **row | values,
        **{"plan_hash": "p", "decided_by": "Sam", "decided_at": DECIDED_AT, "reason": str(number)},
    )


@pytest.fixture
def tables(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, title text,"
            " due_at timestamptz, updated_at timestamptz, primary key (enerflo_install_id, milestone_id))"
        )
    return warehouse


def test_a_refusal_binds_its_change_and_no_other(tables: sa.Engine, tmp_path: Path) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    config = load_config(path, {})
    with tables.begin() as connection:
        for number, (refused, sides, _) in enumerate(CASES):
            put(connection, number, refused, sides)
    report = reconcile(tables, config, "default")
    plan = make_plan(tables, config, "default", report.reconciliation_id)
    with tables.connect() as connection:
        changes = {c.key["milestone_id"]: c for c in read_changes(connection, "default", plan.plan_hash)}
        told = {
            one.key["milestone_id"]: one
            for one in read_undecided(connection, "default", plan.plan_hash)
            if one.refusal_id is not None
        }
        rows = connection.execute(
            sa.text("select reason::int, ended_at is not null as ended, end_reason from sync.refusals")
        )
        refusals = {row.reason: (row.ended, row.end_reason) for row in rows}
    for number, (refused, sides, outcome) in enumerate(CASES):
        due = sides.get("crm") not in ("B", "b")
        assert (number in changes) is (due and outcome != KEPT_OUT), (refused, sides)
        assert (number in told) is (outcome == KEPT_OUT), (refused, sides)
        by_value = outcome == ENDED
        ended = by_value or "ended_at" in refused
        assert refusals[number] == (ended, "a value changed" if by_value else None), (refused, sides)
        if number in told:
            one = told[number]
            assert one.reason == f"refused by Sam on 2026-03-01 00:00 UTC: {number}"
            mine, theirs = sides.get("enerflo", "B"), sides.get("crm", "A")
            shown = (None, DAY) if "due_at" in sides else (mine, theirs)
            assert (one.enerflo_value, one.crm_value) == shown


INSTALLS = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {install: install_id}
    updated_at: updated_at
    fields:
      status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: crm}
"""
# What a person refused was to complete an install in progress, on whose status both sides agree. Each case is
# what the change of the refused plan says otherwise, what stood before, what both sides say now, and whether
# the refusal stands.
COMPLETIONS: list[tuple[dict[str, Any] | None, str | None, str | None, bool]] = [
    ({}, "In progress", "In progress", True),
    ({}, "In progress", " in PROGRESS", True),
    ({}, None, None, True),
    ({}, "In progress", "On hold", False),
    ({}, "In progress", None, False),
    ({}, None, "In progress", False),
    *[
        (other, "In progress", "In progress", False)
        for other in (None, {"account": "other"}, {"plan_hash": "q"}, {"table_name": "milestones"})
    ],
    *[
        (other, "In progress", "In progress", False)
        for other in ({"key": {"install": 0}}, {"field": "agent"}, {"rule": "review"})
    ],
]


def test_a_refused_completion_stands_while_both_sides_say_what_they_said(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(INSTALLS)
    config = load_config(path, {})
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        connection.exec_driver_sql(
            "create table crm.installs (install bigint primary key, status text, updated_at timestamptz)"
        )
        for number, (other, before, now, _) in enumerate(COMPLETIONS, 1):
            record = {"account": "default", "install_id": number, "status_name": now}
            insert(connection, "enerflo.installs", **record, observed_by="poll", observed_at=DECIDED_AT)
            insert(connection, "crm.installs", install=number, status=now, updated_at=DECIDED_AT)
            change = {
                **{"account": "default", "plan_hash": "p", "table_name": "installs", "op": "update"},
                **{"key": {"install": number}, "field": "status", "direction": "to_enerflo"},
            }
            refused = {**change, "enerflo_key": {"install_id": number}, "before": before}
            jsons = {name: as_json(refused[name]) for name in ("key", "enerflo_key", "before")}
            insert(
                connection,
                "sync.refusals",
                **refused | jsons,
                **{"after": as_json("Completed"), "decided_by": "Sam", "decided_at": DECIDED_AT},
                reason=str(number),
            )
            if other is not None:
                made = {**change, "rule": LAST_MILESTONE, **other, "position": number, "state": "refused"}
                insert(
                    connection,
                    "sync.plan_changes",
                    **made | {"key": as_json(made["key"]), "policy": "crm", "cause": "edited_in_crm"},
                )
    make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        rows = connection.execute(sa.text("select reason::int, ended_at is null from sync.refusals"))
        stands = {row[0]: row[1] for row in rows}
    for number, case in enumerate(COMPLETIONS, 1):
        assert stands[number] is case[3], case
