"""Two sides to compare: the mirror of one account, and CRM tables as the design's demo has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.report import ReconciliationReport

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)

CONFIG = """
version: 1
accounts: {default: {}, other: {}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      customer_name:
        {enerflo: customer_name, type: text, trim: true, fold_case: true, null: empty_is_null, personal_data: name}
      status: {enerflo: status_name, type: text, trim: true, fold_case: true}
      system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.01}
      panel_count: {enerflo: panel_count, type: integer}
      contract_amount: {enerflo: contract_amount, type: number}
  milestones:
    crm_table: crm.milestones
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    updated_at: updated_at
    fields:
      title: {enerflo: title, type: text}
      due_at: {enerflo: due_at, type: timestamp, precision: minute}
  notes:
    crm_table: crm.notes
    key: [note_id]
    join: {enerflo_note_id: note_id}
    updated_at: updated_at
    fields:
      enerflo_install_id: {enerflo: install_id, type: integer}
      body: {enerflo: body, type: text, trim: true, personal_data: free_text}
"""

CRM_TABLES = """
create schema crm;
create table crm.installs (enerflo_install_id bigint primary key, customer_name text, status text,
  system_size_kw numeric, panel_count integer, contract_amount numeric, updated_at timestamptz);
create index on crm.installs (updated_at);
create table crm.milestones (enerflo_install_id bigint, milestone_id bigint, title text, due_at timestamptz,
  updated_at timestamptz, primary key (enerflo_install_id, milestone_id));
create table crm.notes (note_id text primary key, enerflo_install_id bigint, enerflo_note_id bigint, body text,
  updated_at timestamptz);
"""

INSTALL = {
    "customer_name": "Jane Doe",
    "status_name": "In progress",
    "status_id": 7,
    "system_size_kw": 7.5,
    "panel_count": 20,
    "contract_amount": 30000,
}
CRM_INSTALL = {
    "customer_name": "Jane Doe",
    "status": "In progress",
    "system_size_kw": 7.5,
    "panel_count": 20,
    "contract_amount": 30000,
}


@dataclass(repr=False)
class TwoSides:
    """The warehouse with helpers that put rows on either side, long ago unless told otherwise."""

    engine: sa.Engine
    config: SyncConfig

    def sql(self, statement: str, **parameters: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), parameters)

    def insert(self, table: str, **values: Any) -> None:
        values = {name: json.dumps(v) if isinstance(v, dict) else v for name, v in values.items()}
        names, places = ", ".join(f'"{name}"' for name in values), ", ".join(f":{name}" for name in values)
        self.sql(f"insert into {table} ({names}) values ({places})", **values)

    def mirror(self, table: str, account: str = "default", **values: Any) -> None:
        seen = {"account": account, "observed_at": LONG_AGO, "observed_by": "poll"}
        self.insert(f"enerflo.{table}", **seen | values)

    def crm(self, table: str, **values: Any) -> None:
        self.insert(f"crm.{table}", **{"updated_at": LONG_AGO} | values)

    def install(self, install_id: int, **differing: Any) -> None:
        """Put one install on both sides; ``crm_<column>`` and ``enerflo_<column>`` set one side's value."""
        mine = {n.removeprefix("enerflo_"): v for n, v in differing.items() if n.startswith("enerflo_")}
        theirs = {n.removeprefix("crm_"): v for n, v in differing.items() if n.startswith("crm_")}
        self.mirror("installs", **INSTALL | {"install_id": install_id} | mine)
        self.crm("installs", **CRM_INSTALL | {"enerflo_install_id": install_id} | theirs)

    def statuses(self, *names: str) -> None:
        for status_id, name in enumerate(names, 1):
            self.mirror("install_statuses", status_id=status_id, name=name)

    def quarantine(self, table_name: str, key: dict[str, Any], state: str = "open", item: str = "i1") -> None:
        self.insert(
            "sync.quarantine",
            **{"account": "default", "item_id": item, "kind": "record", "reason": "r", "fingerprint": "f"},
            **{"first_seen_at": LONG_AGO, "last_seen_at": LONG_AGO, "count": 1, "state": state},
            **{"table_name": table_name, "key": key},
        )

    def polled(self) -> None:
        for name in ("installs", "customers", "change_orders", "notes"):
            self.insert(
                "sync.watermarks",
                **{"account": "default", "run_id": "p1", "name": name},
                **{"value": LONG_AGO, "recorded_at": LONG_AGO},
            )

    def reconcile(self, now: datetime = NOW, **options: Any) -> ReconciliationReport:
        return reconcile(self.engine, self.config, "default", now=now, **options)

    def stored(self, report: ReconciliationReport) -> list[tuple[Any, ...]]:
        """Return what was stored, in an order of its own: table, key, field, both values, cause."""
        query = sa.text(
            "select table_name, key::text, field, enerflo_value::text, crm_value::text, cause from sync.differences"
            " where account = :account and reconciliation_id = :name order by 1, 2, 3 nulls first"
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query, {"account": report.account, "name": report.reconciliation_id})
            return [tuple(row) for row in rows]

    def causes(self, report: ReconciliationReport) -> list[tuple[Any, ...]]:
        """Return table, key, field and cause of what was stored."""
        return [
            (table, json.loads(key), field, cause) for table, key, field, _, _, cause in self.stored(report)
        ]

    def with_config(self, text: str, folder: Path) -> None:
        path = folder / "sync.yaml"
        path.write_text(text)
        self.config = load_config(path, {})


@pytest.fixture
def sides(warehouse: sa.Engine, tmp_path: Path) -> Iterator[TwoSides]:
    """Both sides, empty, with the demo's tables and mapping."""
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    with warehouse.begin() as connection:
        connection.exec_driver_sql(CRM_TABLES)
    return TwoSides(warehouse, load_config(path, {}))
