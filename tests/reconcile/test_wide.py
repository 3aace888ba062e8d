"""Milestones as columns of one row: each column is compared with the milestone that its mapping names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext, Credentials
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.reconcile.fit.preview import table_fits

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
# In Denver it is the day before.
DONE = datetime(2025, 3, 6, 4, 30, tzinfo=UTC)

CONFIG = """
version: 1
accounts: {default: {}}
tables:
  permits:
    of: milestones
    layout: wide
    crm_table: crm."Opportunity"
    key: {Install_Id__c: install_id}
    updated_at: updated_at
    columns:
      Permit_Date__c: {milestone: Permitting, enerflo: completed_at, type: date, time_zone: America/Denver}
      PTO_Due__c: {milestone: 9, enerflo: due_at, type: timestamp}
"""


@pytest.fixture
def wide(sides: TwoSides, tmp_path: Path) -> TwoSides:
    """Two installs with their milestones in columns; all agree."""
    sides.with_config(CONFIG, tmp_path)
    sides.sql(
        'create table crm."Opportunity" ("Install_Id__c" bigint primary key, "Permit_Date__c" date,'
        ' "PTO_Due__c" timestamptz, updated_at timestamptz)'
    )
    sides.statuses("Sold", "Voided")
    for install in (1, 2):
        sides.mirror("installs", install_id=install, status_name="Sold", status_id=1)
        sides.mirror("milestones", install_id=install, milestone_id=5, title=" permitting", completed_at=DONE)
        sides.mirror("milestones", install_id=install, milestone_id=9, title="PTO", due_at=DONE)
        row(sides, install)
    return sides


def row(sides: TwoSides, install: int, **columns: Any) -> None:
    usual = {"Install_Id__c": install, "Permit_Date__c": "2025-03-05", "PTO_Due__c": DONE}
    sides.crm('"Opportunity"', **usual | columns)


def context_of(sides: TwoSides, folder: Path) -> AccountContext:
    url = sides.engine.url.render_as_string(hide_password=False)
    credentials = Credentials(lambda: "", lambda: "", lambda: url)
    return AccountContext("default", sides.config, folder / "sync.yaml", credentials)


def found(sides: TwoSides, now: datetime = NOW, **options: Any) -> list[tuple[Any, ...]]:
    return [
        (key["Install_Id__c"], field, cause)
        for _, key, field, cause in sides.causes(sides.reconcile(now, **options))
    ]


def test_a_row_agrees_with_the_milestones_of_its_install(wide: TwoSides) -> None:
    report = wide.reconcile()
    assert [(one.table_name, one.matched, one.differing_rows) for one in report.tables] == [("permits", 2, 0)]


def test_each_column_is_compared_by_itself_and_looked_at_when_its_milestone_moves(wide: TwoSides) -> None:
    assert found(wide) == []
    wide.sql(
        "update enerflo.milestones set completed_at = :later, observed_at = :now"
        " where install_id = 1 and milestone_id = 5",
        later=DONE + timedelta(days=2),
        now=NOW + timedelta(hours=1),
    )
    wide.sql('update crm."Opportunity" set "PTO_Due__c" = null where "Install_Id__c" = 2')
    later = wide.reconcile(NOW + timedelta(days=1))
    assert later.scope == "incremental"
    expected = [
        ("permits", '{"Install_Id__c": 1}', "Permit_Date__c", '"2025-03-07"', '"2025-03-05"', "unexplained"),
        ("permits", '{"Install_Id__c": 2}', "PTO_Due__c", '"2025-03-06T04:30:00+00:00"', None, "unexplained"),
    ]
    assert wide.stored(later) == expected
    assert wide.stored(wide.reconcile(NOW + timedelta(days=1), full=True)) == expected


def test_a_date_is_the_day_in_the_columns_zone(wide: TwoSides) -> None:
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = \'2025-03-06\' where "Install_Id__c" = 1')
    assert found(wide) == [(1, "Permit_Date__c", "unexplained")]


def test_a_milestone_that_an_install_does_not_have_is_missing_where_the_crm_has_a_value(
    wide: TwoSides,
) -> None:
    wide.sql("delete from enerflo.milestones where install_id = 1 and milestone_id = 5")
    wide.sql(
        "update enerflo.milestones set deleted_at = :now where install_id = 2 and milestone_id = 9",
        now=NOW,
    )
    expected = [(1, "Permit_Date__c", "missing_in_enerflo"), (2, "PTO_Due__c", "missing_in_enerflo")]
    assert found(wide, NOW + timedelta(days=1)) == expected
    (table,) = wide.reconcile(NOW + timedelta(days=1)).tables
    assert (
        "Permit_Date__c: missing milestone: 1 install(s) have no milestone 'Permitting' at Enerflo, and a"
        " value in the CRM; nothing is written there." in table.remarks
    )
    # A milestone and a column that both lack a value agree.
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = null, "PTO_Due__c" = null, updated_at = :now',
             now=NOW + timedelta(days=1))  # fmt: skip
    wide.sql("update enerflo.milestones set completed_at = null, due_at = null")
    assert found(wide, NOW + timedelta(days=2), full=True) == []


def test_a_milestone_that_is_deleted_moves_its_row(wide: TwoSides) -> None:
    assert found(wide) == []
    wide.sql(
        "update enerflo.milestones set deleted_at = :now where install_id = 2 and milestone_id = 9",
        now=NOW + timedelta(hours=1),
    )
    later = wide.reconcile(NOW + timedelta(days=1))
    assert later.scope == "incremental"
    assert [one[2:] for one in wide.causes(later)] == [("PTO_Due__c", "missing_in_enerflo")]


def test_a_title_that_an_install_has_twice_is_told_even_where_one_of_them_agrees(
    wide: TwoSides, tmp_path: Path
) -> None:
    wide.mirror("milestones", install_id=1, milestone_id=6, title="Permitting", completed_at=DONE)
    assert found(wide) == [(1, "Permit_Date__c", "duplicate_identity")]
    (table,) = wide.reconcile().tables
    assert any("1 install(s) have more than one milestone 'Permitting'" in text for text in table.remarks)
    # Also where the CRM has no value: nobody knows whether the two agree.
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = null where "Install_Id__c" = 1')
    assert found(wide) == [(1, "Permit_Date__c", "duplicate_identity")]
    context = context_of(wide, tmp_path)
    assert [one.same for one in run_explain(context, "permits", "1").fields] == [False, True]
    context.close()
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = \'2025-03-05\' where "Install_Id__c" = 1')
    # Of two milestones one that is gone does not count.
    wide.sql("update enerflo.milestones set deleted_at = :now where milestone_id = 6", now=NOW)
    assert found(wide, NOW + timedelta(days=1)) == []


def test_rows_are_told_of_that_only_one_side_has(wide: TwoSides) -> None:
    row(wide, 3)
    wide.mirror("installs", install_id=4, status_name="Sold", status_id=1)
    wide.sql("update enerflo.installs set deleted_at = :now where install_id = 2", now=NOW)
    assert found(wide, NOW + timedelta(days=1)) == [
        (2, None, "deleted_in_enerflo"),
        (3, None, "missing_in_enerflo"),
        (4, None, "missing_in_crm"),
    ]


def test_what_stands_in_quarantine_or_is_voided_excuses_its_row(wide: TwoSides) -> None:
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = null')
    wide.quarantine("milestones", {"install_id": 1, "milestone_id": 5})
    wide.sql("update enerflo.installs set status_name = 'Voided', status_id = 2 where install_id = 2")
    assert found(wide) == [(1, "Permit_Date__c", "quarantined"), (2, "Permit_Date__c", "voided")]


def test_two_wide_tables_and_a_long_one_stand_beside_each_other(wide: TwoSides, tmp_path: Path) -> None:
    second = """
  utility:
    of: milestones
    layout: wide
    crm_table: crm.utility
    key: [id]
    join: {site: install_id}
    columns: {pto: {milestone: pto, enerflo: due_at, type: timestamp}}
  milestones:
    crm_table: crm.milestones
    key: {enerflo_install_id: install_id, milestone_id: milestone_id}
    fields: {due_at: {enerflo: due_at, type: timestamp}}
"""
    wide.with_config(CONFIG + second.lstrip("\n"), tmp_path)
    wide.sql("create table crm.utility (id text primary key, site integer, pto timestamptz)")
    wide.insert("crm.utility", id="a", site=1, pto=DONE)
    wide.insert("crm.utility", id="b", site=2, pto=DONE + timedelta(hours=1))
    for install in (1, 2):
        wide.crm("milestones", enerflo_install_id=install, milestone_id=9, due_at=DONE)
        wide.crm("milestones", enerflo_install_id=install, milestone_id=5)
    report = wide.reconcile()
    assert wide.causes(report) == [("utility", {"id": "b"}, "pto", "unexplained")]


def test_a_title_that_no_install_has_is_said_with_its_line(wide: TwoSides, tmp_path: Path) -> None:
    wide.with_config(CONFIG.replace("Permitting", "Permiting").replace("9,", "8,"), tmp_path)
    with pytest.raises(ConfigurationError) as error:
        wide.reconcile()
    text = str(error.value)
    assert (
        "sync.yaml:12: tables.permits.columns.Permit_Date__c.milestone: found milestone 'Permiting'" in text
    )
    assert "expected one of PTO, permitting" in text
    assert "Did you mean permitting?" in text
    assert "sync.yaml:13: tables.permits.columns.PTO_Due__c.milestone: found milestone 8" in text
    assert "9 (PTO)" in text


def test_while_no_milestone_was_read_nothing_is_said_of_titles(wide: TwoSides) -> None:
    wide.sql("delete from enerflo.milestones")
    assert {cause for _, _, cause in found(wide)} == {"missing_in_enerflo"}


def test_a_row_is_explained(wide: TwoSides, tmp_path: Path) -> None:
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = \'2025-04-01\' where "Install_Id__c" = 1')
    wide.reconcile()
    context = context_of(wide, tmp_path)
    for key in ("1", "enerflo:1"):
        found = run_explain(context, "permits", key)
        permit, pto = found.fields
        assert (permit.field, permit.enerflo.value, permit.crm.value, permit.same) == (  # type: ignore[union-attr]
            "Permit_Date__c",
            "2025-03-05",
            "2025-04-01",
            False,
        )
        assert pto.same
    context.close()


def test_the_key_may_be_a_text_that_is_read_as_a_number(wide: TwoSides, tmp_path: Path) -> None:
    typed = "{Install_Id__c: {enerflo: install_id, type: integer, trim: true}}"
    wide.with_config(CONFIG.replace("{Install_Id__c: install_id}", typed), tmp_path)
    wide.sql('alter table crm."Opportunity" alter "Install_Id__c" type text')
    wide.sql(
        'update crm."Opportunity" set "Install_Id__c" = \' 000\' || "Install_Id__c", "Permit_Date__c" = null'
    )
    report = wide.reconcile()
    assert wide.causes(report) == [
        ("permits", {"Install_Id__c": f" 000{n}"}, "Permit_Date__c", "unexplained") for n in (1, 2)
    ]


def test_the_doctor_says_how_its_values_fit(wide: TwoSides) -> None:
    # Each row says the day in UTC, where the mapping says Denver.
    wide.sql('update crm."Opportunity" set "Permit_Date__c" = \'2025-03-06\'')
    with wide.engine.connect() as connection, connection.begin():
        (fit,) = table_fits(connection, wide.config, "default", Path("sync.yaml"))
    assert fit.keys is not None
    assert (fit.table, fit.keys.enerflo, fit.keys.crm, fit.keys.matched) == ("permits", 2, 2, 2)
