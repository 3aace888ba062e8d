"""Two columns that have each other's value get a hint, and the doctor the lines that exchange them."""

from __future__ import annotations

from pathlib import Path

import pytest

from enerflo_sync.crm.doctor import Finding
from enerflo_sync.reconcile.fit.preview import table_fits
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.reconcile.conftest import TwoSides

CONFIG = """\
version: 1
accounts: {default: {}}
tables:
  installs:
    crm_table: crm.installs
    key: {enerflo_install_id: install_id}
    updated_at: updated_at
    fields:
      panel: {enerflo: panel_type, type: text}
      battery: {enerflo: battery_configuration, type: text}
      status: {enerflo: status_name, type: text}
      system_size_kw: {enerflo: system_size_kw, type: number}
      contract_amount: {enerflo: contract_amount, type: number}
"""


@pytest.fixture
def columns(sides: TwoSides, tmp_path: Path) -> TwoSides:
    sides.sql("alter table crm.installs add column panel text, add column battery text")
    sides.with_config(CONFIG, tmp_path)
    sides.polled()
    return sides


def add(sides: TwoSides, install: int, panel: str, battery: str, **more: object) -> None:
    """Put an install with its panel and battery at Enerflo, and the given ones in the CRM."""
    mine = {"enerflo_panel_type": f"Panel {install}", "enerflo_battery_configuration": f"Battery {install}"}
    sides.install(install, **mine, crm_panel=panel, crm_battery=battery, **more)


def exchanged(sides: TwoSides, install: int) -> None:
    add(sides, install, f"Battery {install}", f"Panel {install}")


def hints(report: ReconciliationReport) -> dict[str, dict[str, int]]:
    return {one.field: dict(one.hints) for one in report.tables[0].by_field}


def advice(sides: TwoSides) -> dict[str, Finding]:
    with sides.engine.connect() as connection:
        (fit,) = table_fits(connection, sides.config, "default", Path("sync.yaml"))
    return {finding.what.rpartition(".")[2]: finding for finding in fit.findings}


def test_two_columns_with_each_others_values_have_a_hint_and_lines_that_exchange_them(
    columns: TwoSides, tmp_path: Path
) -> None:
    for install in range(1, 9):
        exchanged(columns, install)
    report = columns.reconcile()
    assert hints(report) == {"battery": {"swapped": 8}, "panel": {"swapped": 8}}
    assert report.unexplained == 16
    lines = {field: finding.next_step for field, finding in advice(columns).items()}
    assert (
        "write panel: {enerflo: battery_configuration, type: text} Write the line of battery"
        in lines["panel"]
    )
    assert "write battery: {enerflo: panel_type, type: text} Write the line of panel" in lines["battery"]
    text = CONFIG.replace("panel_type", "?").replace("battery_configuration", "panel_type")
    columns.with_config(text.replace("?", "battery_configuration"), tmp_path)
    assert columns.reconcile().differences == 0


def test_single_rows_are_named_and_no_line_is_proposed(columns: TwoSides) -> None:
    for install in range(1, 9):
        add(columns, install, f"Panel {install}", f"Battery {install}")
    exchanged(columns, 9)
    add(columns, 10, "Battery 10", "another")
    assert hints(columns.reconcile()) == {"battery": {"swapped": 1}, "panel": {"swapped": 1}}
    finding = advice(columns)["panel"]
    assert "2 rows that differ, 1 by battery having this column's value" in finding.found
    assert finding.next_step == "In 1 of them battery has this column's value: correct those rows in the CRM."


def test_half_an_exchange_is_not_proposed(columns: TwoSides) -> None:
    """Each battery of the CRM is a panel, and half of its panels are batteries."""
    for install in range(1, 9):
        exchanged(columns, install)
    for install in range(9, 17):
        panel = f"Panel {install}"
        columns.install(
            install, enerflo_panel_type=panel, crm_panel=panel, enerflo_battery_configuration=None
        )
    found = advice(columns)
    assert set(found) == {"battery", "panel"}
    assert [one.next_step for one in found.values() if "write" in one.next_step.lower()] == []
    assert "Not all rows of panel have this column's value" in found["battery"].next_step


def test_numbers_are_compared_as_numbers(columns: TwoSides) -> None:
    columns.sql("alter table crm.installs alter contract_amount type numeric(12, 3)")
    figures = {"enerflo_system_size_kw": 7.5, "enerflo_contract_amount": 31000}
    add(columns, 1, "Panel 1", "Battery 1", **figures, crm_system_size_kw=31000, crm_contract_amount=7.5)
    assert hints(columns.reconcile()) == {
        "contract_amount": {"swapped": 1},
        "system_size_kw": {"swapped": 1},
    }
    assert set(advice(columns)) >= {"contract_amount", "system_size_kw"}


def test_columns_of_two_types_and_values_of_two_rows_are_not_swapped(columns: TwoSides) -> None:
    add(columns, 1, "Panel 2", "Battery 1")
    add(columns, 2, "Panel 1", "Battery 2")
    add(columns, 3, "7.5", "Battery 3", crm_system_size_kw=None)
    assert hints(columns.reconcile()) == {"panel": {}, "system_size_kw": {}}
    assert not [one for one in advice(columns).values() if "column's value" in one.found]


def test_a_row_that_moved_has_the_hint_of_a_full_run(columns: TwoSides) -> None:
    exchanged(columns, 1)
    add(columns, 2, "Panel 2", "Battery 2")
    columns.reconcile()
    columns.sql(
        "update crm.installs set panel = 'Battery 2', battery = 'Panel 2' where enerflo_install_id = 2"
    )
    moved = columns.reconcile()
    assert hints(moved) == {"battery": {"swapped": 2}, "panel": {"swapped": 2}}
    assert hints(columns.reconcile(full=True)) == hints(moved)


def test_exchanged_values_are_told_before_which_row_is_newer(columns: TwoSides) -> None:
    exchanged(columns, 1)
    columns.sql("update crm.installs set updated_at = updated_at + interval '1 day'")
    assert hints(columns.reconcile()) == {"panel": {"swapped": 1}, "battery": {"swapped": 1}}
