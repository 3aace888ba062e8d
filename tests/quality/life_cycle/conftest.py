"""Installs whose milestones a test sets by name, and the life-cycle over them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.quality.check_orders import check_change_orders
from enerflo_sync.quality.life_cycle.graph import LifeCycle, load_life_cycle
from enerflo_sync.quality.report import Finding, LifeCycleReport, QualityReport
from enerflo_sync.quality.suite import load_suite
from tests.quality.conftest import CONFIG, NOW, SUITE, Hands

SHIPPED = CONFIG / "life_cycle.yaml"

# Two steps side by side, one that may be skipped, one that may be opened again.
STEPS = """
version: 1
paused: [On Hold]
steps:
  survey: {titles: [Survey]}
  design: {titles: [Design, Re-design], after: [survey], may_skip: true, within_days: 10}
  permit: {titles: [Permit], after: [design], within_days: 30}
  utility: {titles: [Utility], after: [design], may_reopen: true}
  build: {titles: [Build], after: [permit, utility], within_days: 20}
"""
CHECKS = """
checks:
  step_out_of_order: {sentence: Order holds., reason: Out of order.}
  step_skipped: {sentence: Nothing is skipped., reason: Skipped.}
  step_reopened: {sentence: Completed stays so., reason: Opened again.}
  completed_before_started: {sentence: Start comes first., reason: Before its start.}
  step_overdue: {sentence: It is in time., reason: Too long., todo: Ask.}
  step_completed_late: {sentence: It was in time., reason: Took too long.}
"""
IDS = {"Survey": 1, "Design": 2, "Permit": 3, "Utility": 4, "Build": 5, "Re-design": 6}


def days(count: float) -> datetime:
    """Return the moment so many days before the test's first moment; a negative count lies after it."""
    return NOW - timedelta(days=count)


@dataclass
class Histories:
    """Milestones in a warehouse, and what the life-cycle says of them."""

    engine: sa.Engine
    folder: Path
    text: str = STEPS + CHECKS
    clock: Hands = field(default_factory=Hands)
    account: str = "default"

    def __post_init__(self) -> None:
        self.config = load_config(CONFIG / "sync.yaml", {})
        self.suite = load_suite(SUITE, {})

    @property
    def life_cycle(self) -> LifeCycle:
        path = self.folder / "life_cycle.yaml"
        path.write_text(self.text)
        return load_life_cycle(path, {})

    def sql(self, statement: str, **values: Any) -> list[Any]:
        with self.engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return list(result.mappings()) if result.returns_rows else []

    def install(self, install_id: int = 1, status: str = "In progress", **columns: Any) -> None:
        row = {"status_name": status, "deleted_at": None, **columns}
        self._write("installs", {"install_id": install_id}, row)

    def milestone(
        self,
        title: str,
        install_id: int = 1,
        *,
        started: datetime | None = None,
        completed: datetime | None = None,
        milestone_id: int | None = None,
    ) -> None:
        key = {"install_id": install_id, "milestone_id": milestone_id or IDS[title]}
        row = {"title": title, "started_at": started, "completed_at": completed, "deleted_at": None}
        self._write("milestones", key, row)

    def completed(self, install_id: int = 1, **ago: float | None) -> None:
        """Give an install milestones by their lower-case titles, completed so many days ago, or open."""
        self.install(install_id)
        for name, when in ago.items():
            self.milestone(name.title(), install_id, completed=None if when is None else days(when))

    def remove(self, title: str, install_id: int = 1) -> None:
        """Take a milestone off its install as the mirror does: a tombstone, and no other observation."""
        self.sql(
            "update enerflo.milestones set deleted_at = :now where install_id = :install and milestone_id = :id",
            now=self.clock.now(),
            install=install_id,
            id=IDS[title],
        )

    def _write(self, table: str, key: dict[str, Any], row: dict[str, Any]) -> None:
        values = {"account": self.account, **key, **row}
        values |= {"observed_at": self.clock.now(), "observed_by": "poll"}
        names = ", ".join(values)
        given = ", ".join(f":{name}" for name in values)
        changed = ", ".join(f"{name} = excluded.{name}" for name in values)
        self.sql(
            f"insert into enerflo.{table} ({names}) values ({given})"
            f" on conflict (account, {', '.join(key)}) do update set {changed}",
            **values,
        )

    def checked(self, *, full: bool = False) -> QualityReport:
        return check_change_orders(
            self.engine,
            self.config,
            self.suite,
            self.account,
            clock=self.clock,
            rng=random.Random(1),
            life_cycle=self.life_cycle,
            with_expectations=False,
            full=full,
            run_id=f"run-{self.clock.now():%m-%d-%H-%M-%S}",
        )

    def judged(self, *, full: bool = False) -> LifeCycleReport:
        found = self.checked(full=full).life_cycle
        assert found is not None
        return found

    def found(self, *, full: bool = False) -> set[tuple[int, str, str]]:
        """Judge, and return what stands: install, step, check."""
        return {(one.install_id, one.step, one.failing.check) for one in self.judged(full=full).findings}

    def one(self) -> Finding:
        """Judge, and return the only finding."""
        [finding] = self.judged().findings
        return finding

    def later(self, **delta: float) -> None:
        self.clock.moment += timedelta(**delta)


@pytest.fixture
def histories(warehouse: sa.Engine, tmp_path: Path) -> Histories:
    """A warehouse without installs, and a life-cycle of five steps."""
    return Histories(warehouse, tmp_path)


__all__ = ["CHECKS", "SHIPPED", "STEPS", "UTC", "Histories", "days"]
