"""What comes after a rebuild: reconciliations look at the rows that it wrote, and only at those."""

from __future__ import annotations

from typing import Any

from enerflo_sync.jobs.rebuild import run_rebuild
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.writes.conftest import Desk, desk, polled_warehouse

__all__ = ["desk", "polled_warehouse"]


def differences(desk: Desk, report: ReconciliationReport) -> list[tuple[Any, ...]]:
    rows = desk.sql(
        "select key, field from sync.differences where reconciliation_id = :r and table_name = 'installs'",
        r=report.reconciliation_id,
    )
    return sorted((row["key"]["enerflo_install_id"], row["field"]) for row in rows)


def test_an_incremental_reconciliation_sees_what_a_rebuild_corrected(desk: Desk) -> None:
    one = desk.one("select min(install_id) from enerflo.installs")
    before = differences(desk, run_reconcile(desk.context, full=True))
    # Long ago enough that no lookback has it.
    old = "now() - interval '10 days'"
    desk.sql(f"update enerflo.installs set observed_at = {old}")
    desk.sql("update enerflo.installs set panel_count = 1 where install_id = :i", i=one)
    damaged = differences(desk, run_reconcile(desk.context, full=True))
    assert set(damaged) - set(before) == {(one, "panel_count")}
    assert run_rebuild(desk.context, write=True).differing == 1
    report = run_reconcile(desk.context)
    assert report.scope == "incremental"
    assert differences(desk, report) == before


def test_a_reconciliation_is_told_of_a_row_that_a_new_reading_changes(desk: Desk) -> None:
    one = desk.one("select min(install_id) from enerflo.installs")
    # As if an older release had read it so, and the CRM had taken it over.
    for table, key in (("enerflo.installs", "install_id"), ("crm.installs", "enerflo_install_id")):
        desk.sql(f"update {table} set panel_count = 1 where {key} = :i", i=one)
    desk.sql("update enerflo.installs set observed_at = now() - interval '10 days'")
    desk.sql("update crm.installs set updated_at = now() - interval '10 days'")
    before = differences(desk, run_reconcile(desk.context, full=True))
    assert (one, "panel_count") not in before
    run_rebuild(desk.context, write=True)
    report = run_reconcile(desk.context)
    assert report.scope == "incremental"
    assert set(differences(desk, report)) - set(before) == {(one, "panel_count")}
