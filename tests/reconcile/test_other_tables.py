"""Leads and change orders compare by the same statements when they are switched on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

CONFIG = """
version: 1
accounts: {default: {}}
tables:
  leads:
    crm_table: crm.leads
    key: {lead_id: integration_record_id}
    updated_at: updated_at
    fields: {email: {enerflo: email, type: text, fold_case: true, personal_data: email}}
  change_orders:
    crm_table: crm.change_orders
    key: {enerflo_change_order_id: change_order_id}
    updated_at: updated_at
    fields: {panel_count: {enerflo: panel_count_new, type: integer}}
"""


def test_leads_and_change_orders_are_compared_in_full_and_incrementally(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.with_config(CONFIG, tmp_path)
    sides.sql("create table crm.leads (lead_id text primary key, email text, updated_at timestamptz)")
    sides.sql(
        "create table crm.change_orders"
        " (enerflo_change_order_id int primary key, panel_count int, updated_at timestamptz)"
    )
    sides.mirror("customers", customer_id=1, integration_record_id="L1", email="a@b.com")
    sides.mirror("customers", customer_id=2, integration_record_id="L2", email="a@b.com")
    sides.mirror("customers", customer_id=3, integration_record_id="L2", email="a@b.com")
    sides.mirror("customers", customer_id=4, integration_record_id=None, email="made@enerflo.com")
    sides.mirror("customers", customer_id=5, integration_record_id="L5", email="a@b.com")
    for lead, email in (("L1", "x@b.com"), ("L2", "a@b.com"), ("L9", "n@b.com")):
        sides.crm("leads", lead_id=lead, email=email)
    sides.quarantine("customers", {"customer_id": 5})
    sides.install(7, enerflo_status_name="Voided", crm_status="Voided")
    sides.mirror("change_orders", change_order_id=1, install_id=7, panel_count_new=20)
    sides.mirror("change_orders", change_order_id=2, install_id=8, panel_count_new=20)
    for order in (1, 2):
        sides.crm("change_orders", enerflo_change_order_id=order, panel_count=21)
    expected = [
        ("change_orders", {"enerflo_change_order_id": 1}, "panel_count", "voided"),
        ("change_orders", {"enerflo_change_order_id": 2}, "panel_count", "unexplained"),
        ("leads", {"lead_id": "L1"}, "email", "unexplained"),
        ("leads", {"lead_id": "L2"}, None, "duplicate_identity"),
        ("leads", {"lead_id": "L5"}, None, "quarantined"),
        ("leads", {"lead_id": "L9"}, None, "missing_in_enerflo"),
    ]
    assert sides.causes(sides.reconcile()) == expected
    later = sides.reconcile(NOW + timedelta(days=1))
    assert later.scope == "incremental"
    assert sides.causes(later) == expected
