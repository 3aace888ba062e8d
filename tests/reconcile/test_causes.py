"""Every difference gets exactly one cause, the first that fits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from enerflo_sync.reconcile.causes import FIELD_RULES, ROW_RULES
from enerflo_sync.reconcile.report import Cause

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


def test_rows_that_agree_give_no_difference(sides: TwoSides) -> None:
    sides.polled()
    sides.install(1)
    report = sides.reconcile()
    assert sides.stored(report) == []
    assert (report.differences, report.within_budget) == (0, True)
    assert report.tables[0].matched == 1


def test_a_changed_field_is_unexplained_with_both_values_as_json(sides: TwoSides) -> None:
    sides.install(1, crm_status="Completed", crm_contract_amount=29999.5, crm_panel_count=None)
    report = sides.reconcile()
    key = '{"enerflo_install_id": 1}'
    assert sides.stored(report) == [
        ("installs", key, "contract_amount", '"30000"', '"29999.5"', "unexplained"),
        ("installs", key, "panel_count", "20", None, "unexplained"),
        ("installs", key, "status", '"In progress"', '"Completed"', "unexplained"),
    ]
    assert report.unexplained == 3
    assert report.tables[0].differing_rows == 1


def test_a_record_on_one_side_is_one_row_without_a_field(sides: TwoSides) -> None:
    sides.mirror("installs", install_id=1)
    sides.crm("installs", enerflo_install_id=2)
    sides.mirror("notes", note_id=8, install_id=2)
    sides.crm("notes", note_id="n-9", enerflo_note_id=9, enerflo_install_id=2)
    sides.crm("notes", note_id="n-new", enerflo_note_id=None, enerflo_install_id=2)
    assert sides.causes(sides.reconcile()) == [
        ("installs", {"enerflo_install_id": 1}, None, "missing_in_crm"),
        ("installs", {"enerflo_install_id": 2}, None, "missing_in_enerflo"),
        ("notes", {"enerflo_note_id": 8}, None, "missing_in_crm"),
        ("notes", {"note_id": "n-9"}, None, "missing_in_enerflo"),
        ("notes", {"note_id": "n-new"}, None, "missing_in_enerflo"),
    ]


def test_other_spelling_within_the_declared_rules_is_equal_after_normalisation(sides: TwoSides) -> None:
    sides.install(1, crm_status=" IN PROGRESS", crm_system_size_kw=7.505, crm_customer_name="JANE DOE ")
    sides.install(2, crm_system_size_kw=7.52)
    sides.install(3, enerflo_customer_name=None, crm_customer_name="  ")
    sides.install(4, enerflo_customer_name="ÉMILE Ünal", crm_customer_name="émile ÜNAL")
    assert sides.causes(sides.reconcile()) == [
        ("installs", {"enerflo_install_id": 1}, "customer_name", "equal_after_normalisation"),
        ("installs", {"enerflo_install_id": 1}, "status", "equal_after_normalisation"),
        ("installs", {"enerflo_install_id": 1}, "system_size_kw", "equal_after_normalisation"),
        ("installs", {"enerflo_install_id": 2}, "system_size_kw", "unexplained"),
        ("installs", {"enerflo_install_id": 3}, "customer_name", "equal_after_normalisation"),
        ("installs", {"enerflo_install_id": 4}, "customer_name", "equal_after_normalisation"),
    ]


def test_null_is_not_the_empty_text_unless_declared(sides: TwoSides) -> None:
    sides.install(1, enerflo_status_name=None, crm_status="")
    assert sides.causes(sides.reconcile())[0][2:] == ("status", "unexplained")


def test_a_record_that_enerflo_deleted_and_the_crm_holds_is_deleted_in_enerflo(sides: TwoSides) -> None:
    sides.install(1, enerflo_deleted_at=NOW - timedelta(days=1))
    sides.mirror("installs", install_id=2, deleted_at=NOW - timedelta(days=1))
    report = sides.reconcile()
    assert sides.causes(report) == [("installs", {"enerflo_install_id": 1}, None, "deleted_in_enerflo")]
    assert (report.tables[0].enerflo_rows, report.tables[0].only_crm) == (0, 1)


def test_a_voided_install_explains_its_own_differences_and_those_of_what_belongs_to_it(
    sides: TwoSides,
) -> None:
    sides.install(1, enerflo_status_name=" voided", crm_panel_count=1)
    sides.mirror("installs", install_id=2, status_name="Voided")
    sides.mirror("milestones", install_id=1, milestone_id=5, title="Site survey")
    sides.crm("milestones", enerflo_install_id=1, milestone_id=6)
    sides.mirror("notes", note_id=8, install_id=1)
    sides.crm("notes", note_id="n1", enerflo_install_id=1)
    sides.mirror("notes", note_id=9, install_id=77)
    report = sides.reconcile()
    assert {cause for table, key, _, cause in sides.causes(report) if key != {"enerflo_note_id": 9}} == {
        "voided"
    }
    assert len(sides.causes(report)) == 8
    assert ("notes", {"enerflo_note_id": 9}, None, "missing_in_crm") in sides.causes(report)


def test_a_void_status_may_be_declared_by_its_id(
    sides: TwoSides, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = sides.config.file.read_text() + "statuses: {voided: [666]}\n"
    sides.with_config(text, tmp_path_factory.mktemp("config"))
    sides.install(1, enerflo_status_id=666, crm_panel_count=1)
    sides.install(2, enerflo_status_name="Voided", crm_panel_count=1)
    assert [cause for *_, cause in sides.causes(sides.reconcile())] == [
        "voided",
        "unexplained",
        "unexplained",
    ]


def test_a_difference_younger_than_the_delay_is_in_flight_on_whichever_side_it_is_young(
    sides: TwoSides,
) -> None:
    sides.install(1, crm_panel_count=1, crm_updated_at=NOW - timedelta(minutes=29))
    sides.install(2, crm_panel_count=1, enerflo_observed_at=NOW - timedelta(minutes=29))
    sides.install(3, crm_panel_count=1, crm_updated_at=NOW - timedelta(minutes=31))
    sides.install(4, crm_panel_count=1, crm_updated_at=None)
    assert [cause for *_, cause in sides.causes(sides.reconcile())] == [
        "in_flight",
        "in_flight",
        "unexplained",
        "unexplained",
    ]


def test_a_crm_time_far_in_the_future_excuses_nothing(sides: TwoSides) -> None:
    sides.install(1, crm_panel_count=1, crm_updated_at=NOW + timedelta(days=400))
    assert [cause for *_, cause in sides.causes(sides.reconcile())] == ["unexplained"]


def test_a_missing_record_is_missing_however_young_it_is(sides: TwoSides) -> None:
    sides.mirror("installs", install_id=1, observed_at=NOW)
    assert [cause for *_, cause in sides.causes(sides.reconcile())] == ["missing_in_crm"]


def test_an_open_quarantine_item_explains_its_record_and_what_belongs_to_a_quarantined_install(
    sides: TwoSides,
) -> None:
    sides.quarantine("installs", {"install_id": 1})
    sides.quarantine("milestones", {"install_id": 2, "milestone_id": 5}, item="i2")
    sides.quarantine("installs", {"install_id": 3}, item="i3", state="dismissed")
    sides.quarantine("installs", {"install_id": "not a number"}, item="i4")
    sides.install(1, crm_panel_count=1, enerflo_status_name="Voided", crm_status="Voided")
    sides.crm("milestones", enerflo_install_id=1, milestone_id=5)
    sides.crm("milestones", enerflo_install_id=2, milestone_id=5)
    sides.crm("milestones", enerflo_install_id=2, milestone_id=6)
    sides.crm("installs", enerflo_install_id=3)
    sides.crm("notes", note_id="n1", enerflo_install_id=1)
    causes = {(table, str(key)): cause for table, key, _, cause in sides.causes(sides.reconcile())}
    assert causes == {
        ("installs", "{'enerflo_install_id': 1}"): "quarantined",
        ("installs", "{'enerflo_install_id': 3}"): "missing_in_enerflo",
        ("milestones", "{'milestone_id': 5, 'enerflo_install_id': 1}"): "quarantined",
        ("milestones", "{'milestone_id': 5, 'enerflo_install_id': 2}"): "quarantined",
        ("milestones", "{'milestone_id': 6, 'enerflo_install_id': 2}"): "missing_in_enerflo",
        ("notes", "{'note_id': 'n1'}"): "quarantined",
    }


def test_a_key_that_two_crm_rows_have_is_one_difference_that_names_them(sides: TwoSides) -> None:
    sides.mirror("notes", note_id=8, install_id=1, body="Hello")
    for note_id in ("b", "a"):
        sides.crm("notes", note_id=note_id, enerflo_note_id=8, enerflo_install_id=1, body="Hello")
    report = sides.reconcile()
    assert sides.causes(report) == [("notes", {"enerflo_note_id": 8}, None, "duplicate_identity")]
    value = '{"keys": [{"note_id": "a"}, {"note_id": "b"}], "rows": 2}'
    assert sides.stored(report)[0][4] == value
    assert sides.stored(report)[0][3] is not None
    assert "2 CRM rows share 1 key;" in " ".join(report.tables[2].remarks)
    assert (report.tables[2].matched, report.tables[2].crm_rows) == (0, 2)


def test_a_crm_table_without_a_unique_key_may_hold_an_install_twice(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs drop constraint installs_pkey")
    sides.sql("alter table crm.installs alter enerflo_install_id drop not null")
    sides.install(1)
    sides.crm("installs", enerflo_install_id=1, status="Completed")
    sides.crm("installs", enerflo_install_id=None, status="Completed")
    sides.install(2, crm_panel_count=1)
    assert sides.causes(sides.reconcile()) == [
        ("installs", {"enerflo_install_id": 1}, None, "duplicate_identity"),
        ("installs", {"enerflo_install_id": 2}, "panel_count", "unexplained"),
        ("installs", {"enerflo_install_id": None}, None, "missing_in_enerflo"),
    ]


def test_a_quarantined_record_with_two_crm_rows_is_quarantined(sides: TwoSides) -> None:
    sides.quarantine("notes", {"note_id": 8})
    sides.quarantine("installs", {"install_id": 5}, item="i2")
    sides.mirror("notes", note_id=9, install_id=5)
    for number, note_id in enumerate("abcd"):
        sides.crm("notes", note_id=note_id, enerflo_note_id=8 + number % 2)
    assert [cause for *_, cause in sides.causes(sides.reconcile())] == ["quarantined", "quarantined"]


def test_another_account_s_mirror_is_not_compared(sides: TwoSides) -> None:
    sides.install(1)
    sides.mirror("installs", account="other", install_id=99)
    assert sides.stored(sides.reconcile()) == []


@pytest.mark.parametrize("rules", [ROW_RULES, FIELD_RULES])
def test_the_rules_stand_in_the_order_of_the_causes(rules: Sequence[tuple[Cause, str]]) -> None:
    order = list(Cause)
    places = [order.index(cause) for cause, _ in rules]
    assert places == sorted(places)


def test_every_cause_has_a_rule_but_what_is_left_and_what_is_held_back() -> None:
    assert {cause for cause, _ in (*ROW_RULES, *FIELD_RULES)} == set(Cause) - {
        Cause.UNEXPLAINED,
        Cause.GONE_AT_ONCE,
    }
