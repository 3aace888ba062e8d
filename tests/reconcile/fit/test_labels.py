"""Values that the CRM says in words of its own get a hint, once enough rows show that they stand for one value."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from enerflo_sync.reconcile.fit.labels import LABEL_ROWS, LABELS
from enerflo_sync.reconcile.report import ReconciliationReport, Scope
from tests.reconcile.conftest import NOW, TwoSides
from tests.reconcile.fit.test_swapped import CONFIG as SWAPPED

CONFIG = SWAPPED.partition("      panel:")[0] + "      stage: {enerflo: status_name, type: text}\n"


@pytest.fixture
def stages(sides: TwoSides, tmp_path: Path) -> TwoSides:
    sides.sql("alter table crm.installs add column stage text")
    sides.with_config(CONFIG, tmp_path)
    sides.polled()
    return sides


def add(sides: TwoSides, installs: range, status: str, stage: str) -> None:
    for install in installs:
        sides.install(install, enerflo_status_name=status, crm_stage=stage)


def hints(report: ReconciliationReport) -> dict[str, int]:
    return {hint: rows for one in report.tables[0].by_field for hint, rows in one.hints.items()}


def test_a_value_that_always_stands_for_one_of_enerflos_is_a_label(stages: TwoSides) -> None:
    add(stages, range(1, 8), "Completed", "Closed Won")
    add(stages, range(10, 16), "In Progress", "In Progress")
    report = stages.reconcile()
    assert hints(report) == {"label": 7}
    assert report.unexplained == 7


def test_it_is_told_of_rows_that_differ_later_and_of_those_before_them(stages: TwoSides) -> None:
    add(stages, range(1, LABEL_ROWS), "Completed", "Closed Won")
    assert hints(stages.reconcile()) == {}
    add(stages, range(20, 21), "Completed", "Closed Won")
    assert hints(stages.reconcile()) == {"label": LABEL_ROWS}
    add(stages, range(21, 22), "Completed", "Closed Won")
    report = stages.reconcile()
    assert hints(report) == {"label": LABEL_ROWS + 1}
    assert report.scope is Scope.INCREMENTAL


def test_what_was_a_label_stays_one_until_all_rows_are_compared(stages: TwoSides, tmp_path: Path) -> None:
    """Neither table is read whole for a row more with a label that is known."""
    stages.with_config(CONFIG + "reconcile: {lookback_minutes: 1, in_flight_minutes: 1}\n", tmp_path)
    add(stages, range(1, 8), "Completed", "Closed Won")
    stages.reconcile()
    later = NOW + timedelta(minutes=10)
    moved = {"enerflo_observed_at": later, "crm_updated_at": later}
    for install in range(30, 33):
        stages.install(install, enerflo_status_name="Completed", crm_stage="Completed", **moved)
    stages.install(40, enerflo_status_name="Completed", crm_stage="Closed Won", **moved)
    report = stages.reconcile(NOW + timedelta(minutes=20))
    assert (report.scope, hints(report)) == (Scope.INCREMENTAL, {"label": 8})
    assert hints(stages.reconcile(NOW + timedelta(minutes=21), full=True)) == {}


@pytest.mark.parametrize(
    ("status", "stage", "installs"),
    [
        # The CRM knows Enerflo's word as well: those rows are late.
        ("Completed", "Completed", range(30, 33)),
        # What the CRM says is a word of Enerflo's, where both agree on it.
        ("Closed Won", "Closed Won", range(30, 31)),
        # It stands for several values.
        ("Completed", "Closed Lost", range(30, 33)),
    ],
)
def test_what_may_be_another_value_is_no_label(
    stages: TwoSides, status: str, stage: str, installs: range
) -> None:
    add(stages, range(1, 8), "Completed", "Closed Won")
    add(stages, installs, status, stage)
    assert hints(stages.reconcile()) == {}


def test_a_field_of_many_values_has_no_labels(stages: TwoSides) -> None:
    add(stages, range(1, 8), "Completed", "Closed Won")
    for install in range(100, 100 + LABELS):
        add(stages, range(install, install + 1), f"Stage {install}", f"Other {install}")
    assert hints(stages.reconcile()) == {}


def test_names_of_people_are_no_labels(stages: TwoSides, tmp_path: Path) -> None:
    stages.with_config(CONFIG.replace("type: text", "type: text, personal_data: name"), tmp_path)
    add(stages, range(1, 8), "Ann Miller", "Joan Smith")
    assert hints(stages.reconcile()) == {}
