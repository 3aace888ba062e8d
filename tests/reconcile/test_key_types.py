"""Keys of other types than the mirror's own: padded texts, and numbers with decimals."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes
from enerflo_sync.reconcile.report import Scope
from tests.reconcile.conftest import CONFIG, NOW

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides


@pytest.fixture
def padded(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Installs whose key in the CRM is padded to its length, as char(n) is."""
    sides.sql("alter table crm.installs alter enerflo_install_id type char(12)")
    sides.sql("alter table crm.notes add author text")
    text = CONFIG.replace("{default: {}, other: {}}", "{default: {mode: crm}}")
    text = text.replace("panel_count, type: integer", "panel_count, type: integer, source_of_truth: enerflo")
    sides.with_config(text + "reconcile: {lookback_minutes: 1, in_flight_minutes: 10}\n", tmp_path)
    return sides


def test_a_difference_under_a_padded_key_is_found_again_by_an_incremental_run(padded: TwoSides) -> None:
    padded.install(1, crm_panel_count=1, crm_updated_at=NOW)
    key = {"enerflo_install_id": "1"}
    first = padded.reconcile(NOW + timedelta(minutes=5))
    assert padded.causes(first) == [("installs", key, "panel_count", "in_flight")]
    later = padded.reconcile(NOW + timedelta(minutes=30))
    assert later.scope is Scope.INCREMENTAL
    assert padded.causes(later) == [("installs", key, "panel_count", "unexplained")]


def test_a_difference_under_a_padded_key_is_planned(padded: TwoSides) -> None:
    padded.install(1, crm_panel_count=1)
    report = padded.reconcile(NOW)
    plan = make_plan(padded.engine, padded.config, "default", report.reconciliation_id)
    with padded.engine.connect() as connection:
        changes = list(read_changes(connection, "default", plan.plan_hash))
    assert [(change.key, change.field) for change in changes] == [
        ({"enerflo_install_id": "1"}, "panel_count")
    ]


def test_a_key_with_decimals_is_known_in_quarantine_by_an_incremental_run(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.sql("alter table crm.milestones alter milestone_id type numeric(12,2)")
    sides.with_config(CONFIG + "reconcile: {lookback_minutes: 1, in_flight_minutes: 1}\n", tmp_path)
    sides.install(1)
    sides.crm("milestones", enerflo_install_id=1, milestone_id=5, title="A")
    sides.reconcile(NOW)
    sides.quarantine("milestones", {"install_id": 1, "milestone_id": 5})
    later = sides.reconcile(NOW + timedelta(hours=1))
    assert later.scope is Scope.INCREMENTAL
    assert [cause for *_, cause in sides.causes(later)] == ["quarantined"]


@pytest.mark.parametrize("kind", ["numeric(12,2)", "double precision", "text", "char(12)"])
def test_two_rows_of_a_quarantined_record_are_quarantined(sides: TwoSides, tmp_path: Path, kind: str) -> None:
    sides.sql(f"alter table crm.notes alter enerflo_note_id type {kind}")
    sides.with_config(CONFIG, tmp_path)
    sides.install(1)
    sides.mirror("notes", note_id=9, install_id=1, body="Hi")
    for name in "ab":
        sides.crm("notes", note_id=name, enerflo_note_id="9", enerflo_install_id=1, body="Hi")
    sides.quarantine("notes", {"note_id": 9})
    assert [cause for *_, cause in sides.causes(sides.reconcile(NOW))] == ["quarantined"]
