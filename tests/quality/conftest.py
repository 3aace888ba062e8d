"""A mirror of a few installs and change orders, each as a test wants it, and the checks over them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.quality.check_orders import check_change_orders
from enerflo_sync.quality.report import FailedOrder, QualityReport
from enerflo_sync.quality.suite import Suite, load_suite

CONFIG = Path(__file__).parents[2] / "include" / "config"
SUITE = CONFIG / "change_orders.yaml"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
REC, QCELLS = "REC Alpha Pure 405", "Qcells Q.PEAK DUO BLK ML-G10+ 400"


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@dataclass
class Orders:
    """Change orders in a warehouse, and what the checks say of them. Installs have 24 panels of 405 W."""

    engine: sa.Engine
    suite: Suite = field(default_factory=lambda: load_suite(SUITE, {}))
    clock: Hands = field(default_factory=Hands)
    account: str = "default"

    def __post_init__(self) -> None:
        self.config = load_config(CONFIG / "sync.yaml", {})

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def install(self, install_id: int, **columns: Any) -> None:
        row = {
            "status_id": 1,
            "status_name": "In Progress",
            "system_size_kw": 9.72,
            "panel_type": REC,
            "panel_count": 24,
            "battery_configuration": "1 x Powerwall 3",
            "created_at": NOW - timedelta(days=90),
            "updated_at": NOW - timedelta(days=30),
            **columns,
        }
        self._write("installs", {"install_id": install_id}, row)

    def order(self, order_id: int, **columns: Any) -> None:
        """Write an order that passes every check but for ``columns``: the panel count goes from 24 to 26."""
        row = {
            "install_id": 1,
            "status": "complete",
            "signed_at": NOW - timedelta(days=2),
            "panel_type_old": None,
            "panel_type_new": None,
            "panel_count_old": 24,
            "panel_count_new": 26,
            "battery_old": None,
            "battery_new": None,
            "total_change": 0,
            **columns,
        }
        self._write("change_orders", {"change_order_id": order_id}, row)

    def adder(self, order_id: int, adder_id: str = "986", side: str = "new", **columns: Any) -> None:
        row = {"name": "Trenching", "cost": 300, "quantity": 1, "active": True, **columns}
        key = {"change_order_id": order_id, "adder_id": adder_id, "side": side}
        self._write("change_order_adders", key, row)

    def gone(self, number: int, table: str = "change_orders", key: str = "change_order_id") -> None:
        """Mark rows deleted as a sweep and a 404 do: when they were seen stays as it was."""
        self.sql(
            f"update enerflo.{table} set deleted_at = :now, absent_since = :now where {key} = :number",
            now=self.clock.now(),
            number=number,
        )

    def version(self, install_id: int, seen_at: datetime, **raw: Any) -> None:
        self.sql(
            "insert into enerflo.install_versions values"
            " (:account, :id, :hash, cast(:raw as jsonb), :seen, 'poll', 'poll:1')",
            account=self.account,
            id=install_id,
            hash=f"{seen_at}{raw}",
            raw=json.dumps({"id": install_id, **raw}),
            seen=seen_at,
        )

    def _write(self, table: str, key: dict[str, Any], row: dict[str, Any]) -> None:
        values = {"account": self.account, **key, **row}
        values |= {"observed_at": self.clock.now(), "observed_by": "poll", "deleted_at": None}
        names = ", ".join(values)
        given = ", ".join(f"cast(:{name} as jsonb)" if name == "adders" else f":{name}" for name in values)
        changed = ", ".join(f"{name} = excluded.{name}" for name in values)
        self.sql(
            f"insert into enerflo.{table} ({names}) values ({given})"
            f" on conflict (account, {', '.join(key)}) do update set {changed}",
            **values,
        )

    def checked(self, *, full: bool = False, expectations: bool = False) -> QualityReport:
        """Run the checks; Great Expectations only where asked for, since its import takes seconds."""
        return check_change_orders(
            self.engine,
            self.config,
            self.suite,
            self.account,
            clock=self.clock,
            rng=random.Random(1),
            with_expectations=expectations,
            full=full,
            run_id=f"run-{self.clock.now():%d-%H-%M-%S}",
        )

    def later(self, **delta: float) -> None:
        self.clock.moment += timedelta(**delta)

    def failing(self, *, full: bool = False) -> dict[int, list[str]]:
        """Run the checks and return what each failing order fails."""
        report = self.checked(full=full)
        return {one.change_order_id: [check.check for check in one.failing] for one in report.failing}

    def one(self, report: QualityReport, order_id: int) -> FailedOrder:
        return next(one for one in report.failing if one.change_order_id == order_id)

    def items(self, **wanted: Any) -> list[Any]:
        rows = self.sql("select * from sync.quarantine order by first_seen_at, item_id")
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


@pytest.fixture
def orders(warehouse: sa.Engine) -> Orders:
    """Three installs of two panel types, none of them voided, and no change order."""
    found = Orders(warehouse)
    found.install(1)
    found.install(2)
    found.install(3, panel_type=QCELLS, system_size_kw=9.6)
    return found
