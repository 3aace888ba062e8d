"""One small table that is only a copy, its mirror, and changes that were handed over for it, put there one by one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  milestones:
    crm_table: crm.rows
    %s
    write_to: %s
    delete_in: [crm]
    fields:
      title: {enerflo: title, type: text, trim: true, fold_case: true}
      sequence: {enerflo: sequence, type: number}
      note: {enerflo: title, type: text}
"""
# The CRM's key is the record's, or one of its own.
KEYS = {
    "the record's": "key: {install: install_id, milestone: milestone_id}\n    on_insert: {own: a text}",
    "its own": "key: [own]\n    join: {install: install_id, milestone: milestone_id}",
}
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
JSONS = {"key", "enerflo_key", "before", "after", "source_value", "copy_value", "value", "crm_value"}


class HandedRows:
    """The table in one transaction; a row, its record and its changes have one number."""

    def __init__(self, connection: sa.Connection, folder: Path, own: bool, write_to: str = "changes") -> None:
        self.connection, self.own = connection, own
        connection.exec_driver_sql("create schema crm")
        key = "" if own else ", primary key (install, milestone)"
        connection.exec_driver_sql(
            "create table crm.rows (own text, install bigint, milestone bigint, title text, sequence bigint,"
            f" note text{key})"
        )
        path = folder / "sync.yaml"
        path.write_text(CONFIG % (KEYS["its own" if own else "the record's"], write_to))
        self.config = load_config(path, {})
        self.now: datetime = connection.execute(sa.text("select now()")).scalar_one()
        self._position = 0

    def plan(self) -> Comparison:
        (plan,) = live_comparisons(self.connection, self.config, "default", "", all_tables=True)
        return plan

    def sql(self, statement: str, **values: Any) -> list[Any]:
        result = self.connection.execute(sa.text(statement), values)
        return list(result.mappings()) if result.returns_rows else []

    def insert(self, table: str, **row: Any) -> None:
        places = [f"cast(:{name} as jsonb)" if name in JSONS else f":{name}" for name in row]
        names = ", ".join(f'"{name}"' for name in row)
        given = {k: json.dumps(v) if k in JSONS and v is not None else v for k, v in row.items()}
        self.sql(f"insert into {table} ({names}) values ({', '.join(places)})", **given)

    def key(self, number: int) -> dict[str, Any]:
        return {"own": f"k{number}"} if self.own else {"install": 1, "milestone": number}

    def record(self, number: int) -> dict[str, int]:
        return {"install_id": 1, "milestone_id": number}

    def mirror(self, number: int, **values: Any) -> None:
        row = {"account": "default", "observed_at": LONG_AGO, "observed_by": "poll", **self.record(number)}
        self.insert("enerflo.milestones", **row | values)

    def copy(self, number: int, **values: Any) -> None:
        """Put a row into the copy."""
        self.insert("crm.rows", **{"own": f"k{number}", "install": 1, "milestone": number} | values)

    def planned(self, number: int, **other: Any) -> dict[str, Any]:
        """Put a change of a plan, and return it."""
        self._position += 1
        row: dict[str, Any] = {
            **{
                "account": "default",
                "plan_hash": "p",
                "position": self._position,
                "table_name": "milestones",
            },
            **{"key": self.key(number), "enerflo_key": self.record(number), "op": "update", "field": "title"},
            **{"before": "Old", "after": "New", "source_value": "New", "direction": "to_crm", "policy": "-"},
            **{"cause": "-", "rule": "-", "state": "handed_over", "done_at": LONG_AGO},
        }
        row |= other
        self.insert("sync.plan_changes", **row)
        return row

    def change(self, number: int, **other: Any) -> int:
        """Hand over a change of a plan that waits for it, and return its number.

        :param other: of the row of ``sync.crm_changes``; what both tables have is the plan's, too.
        """
        shared = ("account", "plan_hash", "table_name", "op", "key", "enerflo_key", "after")
        both = {name: other[name] for name in shared if name in other}
        field = {"field": other["column"]} if "column" in other else {}
        planned = self.planned(number, **both | field)
        row = {
            **{name: planned[name] for name in ("account", "plan_hash", "table_name", "key", "enerflo_key")},
            **{name: planned[name] for name in ("op", "before", "after", "position")},
            **{"column": planned["field"], "copy_value": "Old", "change_id": str(planned["position"])},
            **{"crm_table": "crm.rows", "kind": "sync", "approved_by": "Pat", "made_at": self.now},
            **{"state": "open", "state_at": LONG_AGO, "ended_at": None, "reason": None},
        }
        row |= other
        self.insert("sync.crm_changes", **row)
        (found,) = self.sql("select number from sync.crm_changes where change_id = :id", id=row["change_id"])
        return int(found["number"])

    def changes(self) -> dict[int, Any]:
        """Return what is stored of each change by its number, and of its plan."""
        found = self.sql(
            "select w.*, c.state as planned, c.reason as planned_reason from sync.crm_changes w"
            " left join sync.plan_changes c using (account, plan_hash, position)"
        )
        return {row["number"]: row for row in found}
