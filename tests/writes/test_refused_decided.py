"""What a refusal keeps out of what is decided, and when it ends: by every kind of change, without a plan around it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.decide import MAKE_DECIDED
from enerflo_sync.plan.refused import keep_out_refused
from enerflo_sync.reconcile.live import live_comparisons

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  leads:
    crm_table: crm.leads
    key: [id]
    join: {customer: customer_id}
    updated_at: updated_at
    fields:
      name: {enerflo: first_name, type: text, trim: true, fold_case: true, source_of_truth: crm}
      city: {enerflo: city, type: text, source_of_truth: enerflo, direction: to_crm, values: {P: Provo, Q: Provo}}
  notes:
    crm_table: crm.notes
    key: [id]
    join: {note: note_id}
    updated_at: updated_at
    fields:
      name: {enerflo: body, type: text, source_of_truth: crm}
"""
AT = datetime(2026, 3, 1, tzinfo=UTC)
KEPT_OUT, STANDS, ENDED = "kept out", "stands", "ended"
WHOLE = {"name": "Ann", "city": "Provo"}
# What is refused of a lead that only one side has: all of a new record, or of a row that is deleted.
INSERT = {"op": "insert", "direction": "to_enerflo", "after": WHOLE}
DELETE = {"op": "delete", "direction": "to_crm", "before": WHOLE, "enerflo_key": {"customer_id": 0}}
LINK = {"op": "update", "direction": "to_crm", "field": "customer", "after": 7}
CITY = {
    **{"op": "update", "direction": "to_crm", "field": "city", "before": "Lehi", "after": "P"},
    "enerflo_key": {"customer_id": 0},
}
DUE = {
    "op": "update",
    "outcome": "to_crm",
    "field": "city",
    "before": "Lehi",
    "enerflo_key": {"customer_id": 0},
}
# Each case is the refusal, the plan of which it was, and what is decided: of a new record its fields.
Case = tuple[dict[str, Any], dict[str, Any] | None, list[dict[str, Any]], str]


def new(fields: dict[str, Any], **other: Any) -> list[dict[str, Any]]:
    of_all = {"op": "insert", "outcome": "to_enerflo"}
    return [{**of_all, "field": name, "after": value, **other} for name, value in fields.items()]


def gone(fields: dict[str, Any], **other: Any) -> list[dict[str, Any]]:
    return [
        {"op": "delete", "outcome": "to_crm", "before": fields, "enerflo_key": {"customer_id": 0}, **other}
    ]


def linked(**other: Any) -> list[dict[str, Any]]:
    return [{"op": "update", "outcome": "to_crm", "field": "customer", "after": 7, **other}]


MORE = {**WHOLE, "origin": "web"}
CASES: list[Case] = [
    (INSERT, {}, new(WHOLE), KEPT_OUT),
    (INSERT, {}, new({**WHOLE, "name": " ANN"}), KEPT_OUT),
    (INSERT, {}, new({**WHOLE, "name": "Eve"}), ENDED),
    (INSERT, {}, new({**WHOLE, "city": None}), ENDED),
    (INSERT, {}, new({"name": "Ann"}), ENDED),
    (INSERT, {}, new(MORE), ENDED),
    ({**INSERT, "after": MORE}, {}, new(WHOLE), ENDED),
    ({**INSERT, "after": MORE}, {}, new(MORE), KEPT_OUT),
    ({**INSERT, "after": MORE}, {}, new({**MORE, "origin": "fair"}), ENDED),
    ({**INSERT, "after": {**WHOLE, "city": None}}, {}, new({"name": "Ann"}), KEPT_OUT),
    # What another table, or another decision, has under the same key stays as it is.
    (INSERT, {}, [*new(WHOLE), *new({"name": "Eve"}, table_name="notes")], KEPT_OUT),
    (INSERT, {}, [*new(WHOLE), {"op": "update", "outcome": "keep", "field": "name"}], KEPT_OUT),
    # Under another mapping what was not mapped on either side tells nothing.
    *((INSERT, other, new({"name": "Ann"}), KEPT_OUT) for other in (None, {"config_hash": "other"})),
    *((INSERT, other, new(MORE), KEPT_OUT) for other in ({"account": "other"}, {"plan_hash": "q"})),
    (INSERT, None, new({**WHOLE, "name": "Eve"}), ENDED),
    # What is due is nothing of it.
    (INSERT, {}, [], STANDS),
    *((INSERT, {}, new({"name": "Eve"}, **other), STANDS) for other in (
        {"outcome": "keep"}, {"outcome": "to_crm"}, {"table_name": "notes"}, {"key": {"id": 0}},
        {"enerflo_key": {"customer_id": 0}},
    )),
    *(({**INSERT, **other}, {}, new({"name": "Eve"}), STANDS) for other in (
        {"account": "other"}, {"table_name": "notes"}, {"ended_at": AT},
    )),
    (DELETE, {}, gone(WHOLE), KEPT_OUT),
    (DELETE, None, gone({**WHOLE, "name": "ann "}), KEPT_OUT),
    (DELETE, {}, gone({**WHOLE, "name": "Eve"}), ENDED),
    (DELETE, {}, gone({**WHOLE, "city": None}), ENDED),
    (DELETE, {}, gone({"name": "Ann"}), KEPT_OUT),
    ({**DELETE, "before": {"name": "Ann"}}, {}, gone(WHOLE), KEPT_OUT),
    (DELETE, {}, gone(MORE), KEPT_OUT),
    (DELETE, {}, gone({**WHOLE, "name": "Eve"}, outcome="keep"), STANDS),
    (DELETE, {}, gone({**WHOLE, "name": "Eve"}, table_name="notes"), STANDS),
    # A column that is no field: by its value as it is.
    (LINK, {}, linked(), KEPT_OUT),
    (LINK, {}, linked(after=8), ENDED),
    ({**LINK, "before": 6}, {}, linked(), ENDED),
    ({**LINK, "before": 6}, {}, linked(before=6), KEPT_OUT),
    (LINK, {}, linked(before=6), ENDED),
    # Two names that Enerflo has for one of the CRM's are one value.
    (CITY, {}, [{**DUE, "after": "P"}], KEPT_OUT),
    (CITY, {}, [{**DUE, "after": "Q"}], KEPT_OUT),
    (CITY, {}, [{**DUE, "after": "R"}], ENDED),
]  # fmt: skip


def insert(connection: sa.Connection, table: str, **row: Any) -> None:
    jsons = {"key", "enerflo_key", "before", "after", "source_value"}
    found = {
        name: json.dumps(value) if name in jsons and value is not None else value
        for name, value in row.items()
    }
    places = [f"cast(:{name} as jsonb)" if name in jsons else f":{name}" for name in found]
    connection.execute(
        sa.text(f"insert into {table} ({', '.join(found)}) values ({', '.join(places)})"), found
    )


def refuse(connection: sa.Connection, number: int, refusal: dict[str, Any]) -> None:
    row = {
        **{"account": "default", "table_name": "leads", "key": {"id": number}, "plan_hash": f"p{number}"},
        **{"decided_by": "Sam", "decided_at": AT, "reason": str(number)},
    }
    insert(connection, "sync.refusals", **row | refusal)


def decide(connection: sa.Connection, number: int, decided: dict[str, Any]) -> None:
    row = {"table_name": "leads", "key": {"id": number}, "policy": "crm", "cause": str(number), "rule": "-"}
    insert(connection, "pg_temp.decided", **row | decided)


def store_plan(connection: sa.Connection, number: int, plan: dict[str, Any]) -> None:
    row = {
        **{"account": "default", "plan_hash": f"p{number}", "config_hash": "mapping", "kind": "sync"},
        **{"created_at": AT, "expires_at": AT, "state": "rejected", "change_count": 1, "mode": "both"},
    }
    insert(connection, "sync.plans", **row | {"needs_approval": True} | plan)


def numbered(value: Any, number: int) -> Any:
    """Return a case with its number in place of 0 of the records of Enerflo."""
    return json.loads(json.dumps(value, default=str).replace('"customer_id": 0', f'"customer_id": {number}'))


def prepared(connection: sa.Connection, tmp_path: Path) -> Any:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    connection.exec_driver_sql("create schema crm")
    connection.exec_driver_sql(
        "create table crm.leads (id bigint primary key, customer bigint, name text, city text,"
        " updated_at timestamptz); create table crm.notes (id bigint primary key, note bigint, name text,"
        " updated_at timestamptz)"
    )
    connection.exec_driver_sql(MAKE_DECIDED)
    return live_comparisons(connection, load_config(path, {}), "default", "", all_tables=True)


def outcomes(connection: sa.Connection) -> dict[int, str]:
    """Return what became of each refusal by its number."""
    ended = connection.execute(sa.text("select reason::int, end_reason is not null from sync.refusals"))
    kept = connection.execute(sa.text("select cause::int from pg_temp.decided where outcome = 'refused'"))
    out = set(kept.scalars())
    return {number: ENDED if over else KEPT_OUT if number in out else STANDS for number, over in ended}


def test_whole_records_and_links(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        plans = prepared(connection, tmp_path)
        for number, (refusal, plan, decided, _) in enumerate(CASES, 1):
            refuse(connection, number, numbered(refusal, number))
            if plan is not None:
                store_plan(connection, number, plan)
            for one in decided:
                decide(connection, number, numbered(one, number))
        keep_out_refused(connection, plans, "default", "mapping")
        found = outcomes(connection)
        rows = connection.execute(
            sa.text("select cause::int, table_name, op, outcome from pg_temp.decided order by 1, 2, 3, 4")
        )
        told = [tuple(row) for row in rows]
    wanted: list[tuple[Any, ...]] = []
    for number, (refusal, _, decided, outcome) in enumerate(CASES, 1):
        rest = [(number, one.get("table_name", "leads"), one["op"], one["outcome"]) for one in decided]
        if outcome == KEPT_OUT:
            # A new record is told once, whatever it has.
            rest = [one for one in rest if one[1] == "notes" or one[3] == "keep"]
            wanted.append((number, "leads", refusal["op"], "refused"))
        wanted += rest
    assert told == sorted(wanted)
    for number, case in enumerate(CASES, 1):
        assert found[number] == case[3], case


# Of a lead on which both sides agree: what is decided of it besides, and whether its refusal stands.
UPDATE = {"op": "update", "outcome": "review", "field": "name"}
AGREED: list[tuple[dict[str, Any], dict[str, Any] | None, str]] = [
    ({}, None, ENDED),
    ({}, UPDATE, STANDS),
    ({}, {**UPDATE, "outcome": "keep"}, STANDS),
    ({}, {**UPDATE, "field": "city"}, ENDED),
    ({}, {**UPDATE, "op": "delete"}, ENDED),
    ({}, {**UPDATE, "table_name": "notes"}, ENDED),
    ({}, {**UPDATE, "enerflo_key": {"customer_id": 9_999}}, ENDED),
    # Of a column that is mapped no more nobody says anything.
    ({"field": "unmapped"}, None, STANDS),
    ({"field": "customer"}, None, STANDS),
    # The record's row has another key by now.
    ({"key": {"id": 9_999}}, None, ENDED),
    ({"enerflo_key": {"customer_id": 9_999}}, None, STANDS),
    ({"account": "other"}, None, STANDS),
]


def test_on_what_both_sides_agree_by_now(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        plans = prepared(connection, tmp_path)
        for number, (refusal, decided, _) in enumerate(AGREED, 1):
            seen = {"observed_at": AT, "observed_by": "poll"}
            record = {"account": "default", "customer_id": number, "first_name": "Ann"}
            insert(connection, "enerflo.customers", **record, **seen)
            insert(connection, "crm.leads", id=number, customer=number, name="ann")
            change = {"op": "update", "direction": "to_crm", "field": "name", "before": "A", "after": "B"}
            refuse(connection, number, {**change, "enerflo_key": {"customer_id": number}, **refusal})
            if decided is not None:
                decide(connection, number, {"enerflo_key": {"customer_id": number}, **decided})
        keep_out_refused(connection, plans, "default", "mapping")
        found = outcomes(connection)
    for number, case in enumerate(AGREED, 1):
        assert found[number] == case[2], case


# Where a change from B to A goes, by which rule, and the winning side's own value; and what is shown of it on
# Enerflo's side and on the CRM's.
SHOWN = [
    ("to_crm", "-", "S", ("S", "B")),
    ("to_crm", "-", None, ("A", "B")),
    ("to_enerflo", "-", "S", ("B", "S")),
    ("to_enerflo", "-", None, ("B", "A")),
    # The milestone's date says nothing of the status.
    ("to_enerflo", LAST_MILESTONE, "S", ("B", "A")),
]


def test_what_is_shown_of_a_refused_change(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        plans = prepared(connection, tmp_path)
        for number, (outcome, rule, source, _) in enumerate(SHOWN, 1):
            change = {"op": "update", "field": "name", "before": "B", "after": "A", "source_value": source}
            change["enerflo_key"] = {"customer_id": number}
            refuse(connection, number, {**change, "direction": outcome})
            decide(connection, number, {**change, "outcome": outcome, "rule": rule})
        keep_out_refused(connection, plans, "default", "mapping")
        rows = connection.execute(
            sa.text("select cause::int, before, source_value from pg_temp.decided where outcome = 'refused'")
        )
        found = {number: sides for number, *sides in rows}
    for number, case in enumerate(SHOWN, 1):
        assert tuple(found[number]) == case[3], case
