"""Values that the CRM says in words of its own get a hint, once enough rows show that they stand for one value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from enerflo_sync.crm.keys import case_folding
from enerflo_sync.reconcile.fit import labels
from enerflo_sync.reconcile.fit.labels import LABEL_ROWS, LABELS, label_statement
from enerflo_sync.reconcile.live import live_comparisons
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
@pytest.mark.parametrize("first_rows", [1, labels.FIRST_ROWS])
def test_what_may_be_another_value_is_no_label(
    stages: TwoSides,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    stage: str,
    installs: range,
    first_rows: int,
) -> None:
    """Whether the rows that say so are among the first of the table, or after them."""
    monkeypatch.setattr(labels, "FIRST_ROWS", first_rows)
    add(stages, range(1, 8), "Completed", "Closed Won")
    add(stages, installs, status, stage)
    assert hints(stages.reconcile()) == {}


def test_a_label_is_one_also_where_the_table_has_more_than_its_first_rows(
    stages: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "FIRST_ROWS", 1)
    add(stages, range(10, 16), "In Progress", "In Progress")
    add(stages, range(1, 8), "Completed", "Closed Won")
    assert hints(stages.reconcile()) == {"label": 7}


def test_neither_table_is_read_whole_where_the_first_rows_say_that_it_is_no_label(
    stages: TwoSides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "FIRST_ROWS", 5)
    add(stages, range(30, 33), "Completed", "Completed")
    add(stages, range(1, 8), "Completed", "Closed Won")
    report = stages.reconcile()
    with stages.engine.connect() as connection:
        (comparison,) = live_comparisons(connection, stages.config, "default", case_folding(connection))
        named = {"account": "default", "reconciliation_id": report.reconciliation_id}
        explain = f"explain (analyze, format json) {label_statement(comparison)}"
        (found,) = connection.exec_driver_sql(explain, named).scalar_one()
        connection.rollback()
    reads = [node for node in _nodes(found["Plan"]) if node.get("Relation Name") == "installs"]
    # The first rows of the CRM's table, and neither all of them nor the mirror's.
    assert sum(node["Actual Rows"] * node["Actual Loops"] for node in reads) == 5


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def test_a_field_of_many_values_has_no_labels(stages: TwoSides) -> None:
    add(stages, range(1, 8), "Completed", "Closed Won")
    for install in range(100, 100 + LABELS):
        add(stages, range(install, install + 1), f"Stage {install}", f"Other {install}")
    assert hints(stages.reconcile()) == {}


def test_names_of_people_are_no_labels(stages: TwoSides, tmp_path: Path) -> None:
    stages.with_config(CONFIG.replace("type: text", "type: text, personal_data: name"), tmp_path)
    add(stages, range(1, 8), "Ann Miller", "Joan Smith")
    assert hints(stages.reconcile()) == {}
