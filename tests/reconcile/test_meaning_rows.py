"""What the fields of a table stand for, beside everything that is stored of them and of the copies."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.meanings import OF_ROWS, with_changed_meanings

CONFIG = """
version: 1
accounts: {{default: {{mode: both{crm}}}}}
tables:
  milestones:
    crm_table: crm.milestones
    key: {{install: install_id, milestone: milestone_id}}
    fields:
      due: {{enerflo: due_at, type: timestamp, time_zone: America/Denver, source_of_truth: review}}
      title: {{enerflo: title, type: text, values: {{Permitting: Permits}}, source_of_truth: enerflo}}
  permits:
    of: milestones
    layout: wide
    crm_table: crm.permits
    key: {{install: install_id}}
    columns:
      pto: {{milestone: PTO, enerflo: due_at, type: date, source_of_truth: review}}
"""
PLACE = "postgresql:crm-server/crm"
STORED = ("nothing", "the same", "enerflo", "crm", "reads", "clock", "no clock", "an older one", "of others")


def meanings(place: str | None) -> dict[str, dict[str, Any]]:
    """Return what is meant by the configuration, as JSON."""
    rows = {"join": None, "where": None, "deleted_when": {}, "layout": "long"}
    return {
        "milestones": {
            "due": {
                "clock": "timestamptz",
                "enerflo": ["milestones", "due_at", None, None],
                "crm": ["crm.milestones", place],
                "reads": ["timestamp", "America/Denver", {}],
            },
            "title": {
                "enerflo": ["milestones", "title", None, None],
                "crm": ["crm.milestones", place],
                "reads": ["text", None, {"Permitting": "Permits"}],
            },
            OF_ROWS: {
                "enerflo": ["milestones"],
                "crm": ["crm.milestones", place],
                "reads": [rows | {"key": {"install": "install_id", "milestone": "milestone_id"}}, None],
            },
        },
        "permits": {
            "pto": {
                "enerflo": ["milestones", "due_at", None, "PTO"],
                "crm": ["crm.permits", None],
                "reads": ["date", "UTC", {}],
            },
            OF_ROWS: {
                "enerflo": ["milestones"],
                "crm": ["crm.permits", None],
                "reads": [rows | {"key": {"install": "install_id"}, "layout": "wide"}, None],
            },
        },
    }


@pytest.mark.parametrize(("elsewhere", "stored"), product((False, True), STORED))
def test_what_a_field_stands_for_and_whether_that_changed(
    warehouse: sa.Engine, tmp_path: Path, elsewhere: bool, stored: str
) -> None:
    wanted = meanings(PLACE if elsewhere else None)
    before = {table: {**fields} for table, fields in wanted.items()}
    for fields in before.values():
        for name, meaning in fields.items():
            if stored in meaning:
                fields[name] = {**meaning, stored: [*meaning[stored][:-1], "else"]}
                if stored == "clock":
                    fields[name]["clock"] = "timestamp"
    if stored == "no clock":
        # A version before the clock was noted.
        before["milestones"]["due"] = {**wanted["milestones"]["due"]}
        del before["milestones"]["due"]["clock"]
    if stored == "an older one":
        # A version that told less of one field, and nothing of another.
        before["milestones"] = {"due": {"enerflo": wanted["milestones"]["due"]["enerflo"]}}
    changed = {
        table: set(fields) if stored in ("enerflo", "crm", "reads") else set()
        for table, fields in wanted.items()
    }
    if stored in ("an older one", "clock"):
        changed["milestones"] = {"due"}
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "create schema crm; create table crm.milestones (install bigint, milestone bigint, due timestamptz,"
            " title text, primary key (install, milestone));"
            " create table crm.permits (install bigint primary key, pto date)"
        )
        rows = [
            *(("default", f"{table}/fields", one) for table, one in before.items() if stored != "nothing"),
            *(("other", f"{table}/fields", {"due": {}, "title": {}, "pto": {}}) for table in wanted),
            *(("default", table, {"due": {}, "title": {}, "pto": {}}) for table in (*wanted, "notes/fields")),
        ]
        if stored == "of others":
            rows = [row for row in rows if row[:2] != ("default", "milestones/fields")]
        for account, table, columns in rows:
            connection.execute(
                sa.text(
                    "insert into sync.agreed_keys (account, table_name, columns) values (:a, :t, cast(:c as jsonb))"
                ),
                {"a": account, "t": table, "c": json.dumps(columns)},
            )
        # Of one table the copy does not tell where it is of; another account's says what it says.
        for account, table, place in (
            *(("default", "milestones", PLACE), ("default", "permits", None)),
            *(("other", "milestones", "another"), ("other", "permits", "another")),
        ):
            connection.execute(
                sa.text(
                    "insert into sync.crm_copies (account, table_name, crm_table, signature, read_at, rows,"
                    " rows_read, seconds, place) values (:a, :t, 'crm.x', '', now(), 0, 0, 0, :p)"
                ),
                {"a": account, "t": table, "p": place},
            )
        path = tmp_path / "sync.yaml"
        path.write_text(CONFIG.format(crm=""))
        plans = live_comparisons(connection, load_config(path, {}), "default", "", all_tables=True)
        path.write_text(CONFIG.format(crm=", crm: {url: 'postgresql://crm-server/crm'}" if elsewhere else ""))
        config = load_config(path, {})
        assert [plan.name for plan in plans] == list(wanted)
        for asked in (plans, *([plan] for plan in plans)):
            found = with_changed_meanings(connection, config, "default", asked)
            assert [plan.name for plan in found] == [plan.name for plan in asked]
            for plan in found:
                assert plan.meanings == wanted[plan.name]
                assert plan.remeant == changed[plan.name]
