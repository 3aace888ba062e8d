"""Where rows are matched by something else than the mirror's own key, a tombstone may stand beside a live record."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes
from enerflo_sync.reconcile.report import Scope
from tests.reconcile.conftest import LONG_AGO, NOW

if TYPE_CHECKING:
    from enerflo_sync.reconcile.report import ReconciliationReport
    from tests.reconcile.conftest import TwoSides

CONFIG = """
version: 1
accounts: {default: {mode: crm}}
reconcile: {lookback_minutes: 1}
tables:
  leads:
    crm_table: crm.leads
    key: {lead_id: integration_record_id}
    updated_at: updated_at
    delete_in: [crm]
    fields: {city: {enerflo: city, type: text, source_of_truth: enerflo}}
"""
CONFIGS = {
    "key": CONFIG,
    "join": CONFIG.replace(
        "key: {lead_id: integration_record_id}", "key: [id]\n    join: {lead_id: integration_record_id}"
    ),
}
GONE = {"deleted_at": LONG_AGO}


@pytest.fixture(params=CONFIGS)
def leads(sides: TwoSides, tmp_path: Path, request: pytest.FixtureRequest) -> TwoSides:
    """Leads that are matched by Enerflo's record of the CRM's id, which several customers may have."""
    sides.sql(
        "create table crm.leads (lead_id text primary key, id text generated always as ('x' || lead_id) stored,"
        " city text, updated_at timestamptz)"
    )
    sides.with_config(CONFIGS[request.param], tmp_path)
    return sides


def customer(sides: TwoSides, customer_id: int, lead: str, **columns: Any) -> None:
    values = {"customer_id": customer_id, "integration_record_id": lead, "city": "Provo"}
    sides.mirror("customers", **values | columns)


def planned(sides: TwoSides, report: ReconciliationReport) -> list[tuple[str, Any]]:
    plan = make_plan(sides.engine, sides.config, "default", report.reconciliation_id)
    with sides.engine.connect() as connection:
        return [(change.op, change.field) for change in read_changes(connection, "default", plan.plan_hash)]


@pytest.mark.parametrize("first", ["live", "deleted"])
def test_a_row_whose_record_lives_is_not_deleted_for_another_that_is_gone(
    leads: TwoSides, first: str
) -> None:
    customer(leads, 1, "L1", **(GONE if first == "deleted" else {}))
    customer(leads, 2, "L1", **({} if first == "deleted" else GONE))
    leads.crm("leads", lead_id="L1", city="Provo")
    report = leads.reconcile(NOW)
    assert leads.causes(report) == []
    assert planned(leads, report) == []


def test_of_several_that_are_gone_one_is_found(leads: TwoSides) -> None:
    for number in (1, 2, 3):
        customer(leads, number, "L1", **GONE)
    leads.crm("leads", lead_id="L1", city="Provo")
    report = leads.reconcile(NOW)
    assert [cause for *_, cause in leads.causes(report)] == ["deleted_in_enerflo"]
    assert planned(leads, report) == [("delete", None)]


CHANGES = {
    "the last is deleted": "update enerflo.customers set deleted_at = :seen where customer_id = 2",
    "the first comes back": "update enerflo.customers set deleted_at = null, observed_at = :seen"
    " where customer_id = 1",
    "it takes another key": "update enerflo.customers set integration_record_id = 'L2', observed_at = :seen"
    " where customer_id = 2",
    "its row is deleted": "delete from crm.leads where cast(:seen as timestamptz) is not null",
}


@pytest.mark.parametrize(
    ("change", "causes"),
    [
        ("the last is deleted", ["deleted_in_enerflo"]),
        ("the first comes back", ["duplicate_identity"]),
        ("it takes another key", ["deleted_in_enerflo", "missing_in_crm"]),
        ("its row is deleted", ["missing_in_crm"]),
    ],
)
def test_an_incremental_run_sees_who_stands_for_a_row_now(
    leads: TwoSides, change: str, causes: list[str]
) -> None:
    customer(leads, 1, "L1", **GONE)
    customer(leads, 2, "L1")
    leads.crm("leads", lead_id="L1", city="Provo")
    leads.reconcile(NOW)
    seen = NOW + timedelta(hours=1)
    leads.sql(CHANGES[change], seen=seen)
    incremental = leads.reconcile(seen + timedelta(minutes=20), reconciliation_id="incremental")
    full = leads.reconcile(seen + timedelta(minutes=20), reconciliation_id="full", full=True)
    assert incremental.scope is Scope.INCREMENTAL
    assert [cause for *_, cause in leads.causes(incremental)] == causes
    assert leads.stored(incremental) == leads.stored(full)
