"""A key that holds personal data is masked as its field is, in every output; a key that is an id stays."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq
import pytest

from enerflo_sync.reconcile.render.formats import ReportFormat, write_report
from enerflo_sync.reconcile.store import read_differences
from tests.reconcile.conftest import CONFIG

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

BY_EMAIL = """
  leads:
    crm_table: crm.leads
    key: {email: email}
    updated_at: updated_at
    fields:
      email: {enerflo: email, type: text, personal_data: email}
      first_name: {enerflo: first_name, type: text}
"""


@pytest.fixture
def by_email(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Leads whose key is their e-mail: one differs, one is missing in the CRM, one is there twice."""
    sides.sql("create table crm.leads (email text, first_name text, updated_at timestamptz)")
    sides.with_config(CONFIG.rstrip("\n") + BY_EMAIL, tmp_path)
    for number, name in enumerate(("differs", "missing", "twice"), 1):
        sides.mirror("customers", customer_id=number, email=f"ann.{name}@example.com", first_name="Ann")
    for name in ("differs", "twice", "twice"):
        sides.crm("leads", email=f"ann.{name}@example.com", first_name="Anna")
    sides.install(7, crm_panel_count=1)
    return sides


@pytest.mark.parametrize("form", ReportFormat)
def test_keys_are_masked_in_every_format(by_email: TwoSides, form: ReportFormat) -> None:
    report = by_email.reconcile()
    out = io.BytesIO()
    differences = read_differences(by_email.engine, by_email.config, "default", report.reconciliation_id)
    write_report(report, form, out, differences, by_email.config.tables_for("default"))
    match form:
        case ReportFormat.PARQUET:
            text = str(pq.read_table(out).to_pylist())
        case ReportFormat.XLSX:
            text = str([sheet.to_dict() for sheet in pd.read_excel(out, sheet_name=None).values()])
        case _:
            text = out.getvalue().decode()
    assert "…@….com" in text
    assert "ann." not in text


def test_keys_are_whole_where_they_are_revealed_and_ids_always(by_email: TwoSides) -> None:
    name = by_email.reconcile().reconciliation_id
    shown, revealed = (
        list(read_differences(by_email.engine, by_email.config, "default", name, reveal=reveal))
        for reveal in (False, True)
    )
    assert {"enerflo_install_id": 7} in [one.key for one in shown]
    assert [one.key for one in shown if one.table_name == "leads"] == [{"email": "…@….com"}] * 3
    assert {one.key.get("email") for one in revealed} > {"ann.differs@example.com", "ann.missing@example.com"}
