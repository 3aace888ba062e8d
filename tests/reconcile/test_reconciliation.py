"""A reconciliation as a whole: what it says, what it keeps, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import load_report, read_differences

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def test_a_mirror_that_was_never_polled_is_never_within_budget(sides: TwoSides) -> None:
    report = sides.reconcile()
    assert (report.differences, report.mirror_as_of, report.within_budget) == (0, None, False)
    assert "never polled" in " ".join(report.tables[0].remarks)
    sides.polled()
    later = sides.reconcile()
    assert later.mirror_as_of == NOW - timedelta(days=30)
    assert later.within_budget


def test_empty_sides_are_said(sides: TwoSides) -> None:
    sides.polled()
    remarks = sides.reconcile(full=True).tables[0].remarks
    assert remarks == ["The mirror holds no installs.", "crm.installs is empty."]


def test_the_report_counts_records_causes_and_fields(sides: TwoSides) -> None:
    for number in (1, 2, 3):
        sides.install(number)
    sides.install(4, crm_panel_count=1, crm_contract_amount=1)
    sides.install(5, crm_panel_count=1, crm_status="IN PROGRESS")
    sides.mirror("installs", install_id=6)
    sides.crm("installs", enerflo_install_id=7)
    table = sides.reconcile().tables[0]
    assert (table.crm_table, table.mode) == ("crm.installs", "report")
    assert (table.enerflo_rows, table.crm_rows, table.matched) == (6, 6, 5)
    assert (table.only_enerflo, table.only_crm, table.differing_rows) == (1, 1, 2)
    assert table.by_cause == {
        Cause.MISSING_IN_CRM: 1,
        Cause.MISSING_IN_ENERFLO: 1,
        Cause.EQUAL_AFTER_NORMALISATION: 1,
        Cause.UNEXPLAINED: 3,
    }
    assert [(count.field, count.differences, dict(count.by_cause)) for count in table.by_field] == [
        ("panel_count", 2, {Cause.UNEXPLAINED: 2}),
        ("contract_amount", 1, {Cause.UNEXPLAINED: 1}),
        ("status", 1, {Cause.EQUAL_AFTER_NORMALISATION: 1}),
    ]


def test_samples_show_every_cause_the_gravest_first_and_mask_personal_data(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.with_config(sides.config.file.read_text() + "reconcile: {samples: 3}\n", tmp_path)
    for number in range(1, 9):
        sides.install(number, crm_customer_name="John Roe")
    sides.install(9, crm_status="in progress")
    samples = sides.reconcile().tables[0].samples
    assert [sample.cause for sample in samples] == ["unexplained", "unexplained", "equal_after_normalisation"]
    assert (samples[0].enerflo_value, samples[0].crm_value, samples[0].masked) == ("J… D…", "J… R…", True)
    assert (samples[2].enerflo_value, samples[2].masked) == ("In progress", False)


def test_a_status_that_the_company_does_not_have_is_said(sides: TwoSides) -> None:
    sides.statuses("In progress", "Completed")
    sides.install(1, crm_status="completed ")
    sides.install(2, crm_status="Finished")
    sides.install(3, crm_status="Finished")
    remarks = " ".join(sides.reconcile().tables[0].remarks)
    assert "status: the CRM holds a value that is no status of the company: Finished (2)." in remarks


def test_a_stored_report_comes_back_whole_and_the_trend_grows(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1)
    first = sides.reconcile(reconciliation_id="first")
    second = sides.reconcile(NOW + timedelta(hours=1), reconciliation_id="second")
    assert load_report(sides.engine, "default") == second
    assert load_report(sides.engine, "default", "first") == first
    assert [(point.reconciliation_id, point.differences) for point in second.trend] == [
        ("first", 1),
        ("second", 1),
    ]
    with pytest.raises(ConfigurationError, match="no reconciliation third"):
        load_report(sides.engine, "default", "third")
    with pytest.raises(ConfigurationError, match="Run enerflo-sync reconcile"):
        load_report(sides.engine, "other")


def test_a_retried_task_replaces_what_its_first_attempt_stored(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1)
    sides.reconcile(reconciliation_id="r")
    assert len(sides.stored(sides.reconcile(reconciliation_id="r"))) == 1


def test_stored_differences_stream_masked_unless_revealed(sides: TwoSides) -> None:
    sides.install(2, crm_customer_name="John Roe", crm_panel_count=1)
    sides.mirror("installs", install_id=1)
    report = sides.reconcile()
    name = report.reconciliation_id
    found = list(read_differences(sides.engine, sides.config, "default", name))
    assert [(dict(one.key), one.field, one.enerflo_value) for one in found] == [
        ({"enerflo_install_id": 1}, None, {"install_id": 1}),
        ({"enerflo_install_id": 2}, "customer_name", "J… D…"),
        ({"enerflo_install_id": 2}, "panel_count", 20),
    ]
    bare = read_differences(sides.engine, sides.config, "default", name, reveal=True, cause=Cause.UNEXPLAINED)
    assert [one.crm_value for one in bare] == ["John Roe", 1]
    assert list(read_differences(sides.engine, sides.config, "default", name, table_name="notes")) == []


def test_old_differences_go_and_their_reports_stay(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1)
    old = sides.reconcile(NOW)
    new = sides.reconcile(NOW + timedelta(days=91))
    assert (sides.stored(old), len(sides.stored(new))) == ([], 1)
    assert load_report(sides.engine, "default", old.reconciliation_id).differences == 1


def test_a_dropped_table_or_column_is_named_with_its_line_and_nothing_is_stored(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs rename panel_count to panels_count")
    sides.sql("drop table crm.notes")
    with pytest.raises(ConfigurationError) as caught:
        sides.reconcile()
    text = str(caught.value)
    assert (
        "sync.yaml:14: tables.installs.fields.panel_count: found no column panel_count in crm.installs"
        in text
    )
    assert "Did you mean panels_count?" in text
    assert "no table crm.notes" in text
    with pytest.raises(ConfigurationError):
        load_report(sides.engine, "default")


def test_progress_names_each_table_once_and_ends_at_the_total(sides: TwoSides) -> None:
    seen: list[tuple[str, int, int]] = []
    sides.reconcile(progress=lambda *step: seen.append(step))
    assert seen == [("installs", 0, 3), ("milestones", 1, 3), ("notes", 2, 3), ("", 3, 3)]


def test_rows_are_counted_as_they_were_when_the_comparison_began(sides: TwoSides) -> None:
    with sides.engine.connect() as other:
        # The notes cannot be counted before the first table's turn.
        other.exec_driver_sql("lock table crm.notes in access exclusive mode")

        def meanwhile(table: str, _done: int, _total: int) -> None:
            if table == "installs":
                other.exec_driver_sql("insert into crm.notes (note_id, enerflo_note_id) values ('n1', 1)")
                other.commit()

        report = sides.reconcile(progress=meanwhile)
    assert [table.crm_rows for table in report.tables] == [0, 0, 0]
    assert [table.crm_rows for table in sides.reconcile().tables] == [0, 0, 1]


def test_ages_are_measured_by_the_database_s_clock_unless_told(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1)
    sides.sql("update crm.installs set updated_at = now() - interval '5 minutes'")
    assert [one.cause for one in reconcile(sides.engine, sides.config, "default").tables[0].samples] == [
        "in_flight"
    ]


ODD_NAMES = """
version: 1
accounts:
  default:
    tables: {installs: {crm_table: '"Sales: 100%.EU"."Ünit Tab"'}}
tables:
  installs:
    crm_table: none.none
    key: {"Install: Id": install_id}
    updated_at: Änderung %
    time_zone: America/Denver
    fields:
      "o.e'1": {enerflo: status_name, type: text, values: {"o.e1": "50% c.c1"}}
      SELECT: {enerflo: panel_count, type: integer}
"""


def test_any_names_of_schemas_tables_and_columns_work_in_both_scopes(sides: TwoSides, tmp_path: Path) -> None:
    sides.with_config(ODD_NAMES, tmp_path)
    with sides.engine.begin() as connection:
        connection.exec_driver_sql(
            """create schema "Sales: 100%%.EU"; create table "Sales: 100%%.EU"."Ünit Tab"
            ("Install: Id" text primary key, "o.e'1" varchar(20), "SELECT" int, "Änderung %%" timestamp);
            insert into "Sales: 100%%.EU"."Ünit Tab" values
            ('1', '50%% c.c1', 20, '2025-01-01'), ('2', 'x', 20, null), ('x3', 'x', 20, '2025-01-01')"""
        )
    sides.mirror("installs", install_id=1, status_name="o.e1", panel_count=20)
    sides.mirror("installs", install_id=2, status_name="y", panel_count=20)
    expected = [
        ("installs", {"Install: Id": "2"}, "o.e'1", "unexplained"),
        ("installs", {"Install: Id": "x3"}, None, "missing_in_enerflo"),
    ]
    assert sides.causes(sides.reconcile()) == expected
    with sides.engine.begin() as connection:
        connection.exec_driver_sql("""delete from "Sales: 100%%.EU"."Ünit Tab" where "Install: Id" = '1'""")
    later = sides.reconcile(NOW + timedelta(days=1))
    assert later.scope == "incremental"
    assert sides.causes(later) == [("installs", {"Install: Id": "1"}, None, "missing_in_crm"), *expected]
