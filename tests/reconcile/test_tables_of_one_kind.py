"""Several tables of one kind: each is compared with all of Enerflo's records of it, under its own name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.explain import run_explain

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)

CONFIG = """
version: 1
accounts: {default: {}}
tables:
  permits:
    of: milestones
    crm_table: crm.permits
    key: {permit_id: milestone_id, site: install_id}
    fields: {title: {enerflo: title, type: text}}
  residential:
    of: installs
    crm_table: crm.residential
    key: {id: install_id}
    updated_at: updated_at
    fields: {state: {enerflo: status_name, type: text}}
  milestones:
    crm_table: crm.milestones
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    updated_at: updated_at
    fields: {title: {enerflo: title, type: text}}
  commercial:
    of: installs
    crm_table: crm.commercial
    key: {id: install_id}
    updated_at: updated_at
    fields: {state: {enerflo: status_name, type: text}}
"""


@pytest.fixture
def several(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Two installs, each in a table of its own, and a milestone in two tables."""
    sides.with_config(CONFIG, tmp_path)
    for table in ("residential", "commercial"):
        sides.sql(f"create table crm.{table} (id bigint primary key, state text, updated_at timestamptz)")
    sides.sql(
        "create table crm.permits (site bigint, permit_id bigint, title text, primary key (site, permit_id))"
    )
    sides.statuses("Sold", "Voided")
    sides.mirror("installs", install_id=1, status_name="Sold", status_id=1)
    sides.mirror("installs", install_id=2, status_name="Voided", status_id=2)
    sides.crm("residential", id=1, state="Lost")
    sides.crm("commercial", id=2, state="Sold")
    sides.mirror("milestones", install_id=1, milestone_id=5, title="Permit")
    sides.crm("milestones", enerflo_install_id=1, milestone_id=5, title="Permit")
    sides.insert("crm.permits", site=1, permit_id=5, title="Paper")
    return sides


def test_each_is_compared_and_stored_under_its_own_name(several: TwoSides) -> None:
    report = several.reconcile()
    assert [(one.table_name, one.matched, one.differing_rows) for one in report.tables] == [
        ("residential", 1, 1),
        ("commercial", 1, 1),
        ("permits", 1, 1),
        ("milestones", 1, 0),
    ]
    expected = [
        ("commercial", {"id": 1}, None, "missing_in_crm"),
        ("commercial", {"id": 2}, "state", "voided"),
        ("permits", {"site": 1, "permit_id": 5}, "title", "unexplained"),
        ("residential", {"id": 1}, "state", "unexplained"),
        ("residential", {"id": 2}, None, "voided"),
    ]
    assert several.causes(report) == expected
    later = several.reconcile(NOW + timedelta(days=1))
    assert later.scope == "incremental"
    assert several.causes(later) == expected


def test_what_is_in_quarantine_or_unpolled_is_told_of_the_kind(several: TwoSides) -> None:
    several.quarantine("installs", {"install_id": 1})
    report = several.reconcile()
    assert ("residential", {"id": 1}, "state", "quarantined") in several.causes(report)
    # What belongs to a record in quarantine is excused with it.
    assert ("permits", {"site": 1, "permit_id": 5}, "title", "quarantined") in several.causes(report)
    residential, _, permits, _ = report.tables
    assert residential.mirror_as_of is None
    assert any("Enerflo's installs were never polled completely" in text for text in residential.remarks)
    assert any("Enerflo's milestones were never polled completely" in text for text in permits.remarks)
    # A value that no status of the company is shows in a table of installs, whatever it is called.
    assert any("state: the CRM holds a value that is no status" in text for text in residential.remarks)
    several.polled()
    assert all(one.mirror_as_of is not None for one in several.reconcile().tables)


def test_a_record_is_explained_by_its_tables_name(several: TwoSides, tmp_path: Path) -> None:
    several.reconcile()
    url = several.engine.url.render_as_string(hide_password=False)
    credentials = Credentials(lambda: "", lambda: "", lambda: url)
    context = AccountContext("default", several.config, tmp_path / "sync.yaml", credentials)
    for name, key, table in (
        ("residential", "1", "residential"),
        ("permit", "5/1", "permits"),
        ("permits", "enerflo:1/5", "permits"),
        ("milestone", "1/5", "milestones"),
    ):
        found = run_explain(context, name, key)
        assert (found.table_name, found.crm_rows) == (table, 1)
    assert run_explain(context, "residential", "2").crm_rows == 0
    with pytest.raises(ConfigurationError, match=r"several tables are of installs.*residential, commercial"):
        run_explain(context, "install", "1")
    with pytest.raises(
        ConfigurationError, match=r"there is no table 'permitt'.*residential, commercial, permit"
    ):
        run_explain(context, "permitt", "1")
    with pytest.raises(ConfigurationError, match=r"the table notes is not mapped"):
        run_explain(context, "note", "1")
    context.close()
