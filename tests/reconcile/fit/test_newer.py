"""An unexplained difference that no form explains says which side's record changed later."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from enerflo_sync.reconcile.render.html import render_html
from enerflo_sync.reconcile.render.spelling import newer_sentence, spelling_sentence
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.reconcile.conftest import CONFIG, LONG_AGO, NOW, TwoSides

BEFORE, AFTER = LONG_AGO - timedelta(days=3), LONG_AGO + timedelta(days=3)


@pytest.fixture
def polled(sides: TwoSides) -> TwoSides:
    sides.polled()
    return sides


def hints(report: ReconciliationReport, table: str = "installs") -> dict[str, dict[str, int]]:
    (found,) = [one for one in report.tables if one.table_name == table]
    return {one.field: dict(one.hints) for one in found.by_field}


def test_the_side_whose_record_changed_later_is_told(polled: TwoSides) -> None:
    polled.install(1, crm_panel_count=21, crm_updated_at=AFTER, enerflo_updated_at=BEFORE)
    polled.install(2, crm_panel_count=21, crm_updated_at=BEFORE, enerflo_updated_at=LONG_AGO)
    report = polled.reconcile()
    assert hints(report) == {"panel_count": {"newer_in_crm": 1, "newer_in_enerflo": 1}}


def test_a_form_that_explains_the_difference_is_told_instead(polled: TwoSides) -> None:
    polled.install(1, crm_status="In-progress", crm_updated_at=AFTER, enerflo_updated_at=BEFORE)
    assert hints(polled.reconcile()) == {"status": {"punctuation": 1}}


def test_a_difference_that_has_an_explanation_says_nothing_of_it(polled: TwoSides) -> None:
    polled.install(1, crm_panel_count=21, crm_updated_at=NOW, enerflo_updated_at=BEFORE)
    assert hints(polled.reconcile()) == {"panel_count": {}}


@pytest.mark.parametrize("crm_time", [None, LONG_AGO])
def test_where_no_time_tells_it_nothing_is_said(polled: TwoSides, crm_time: object) -> None:
    polled.install(1, crm_panel_count=21, crm_updated_at=crm_time, enerflo_updated_at=LONG_AGO)
    assert hints(polled.reconcile()) == {"panel_count": {}}


def test_a_day_says_nothing_of_a_change_within_it(polled: TwoSides) -> None:
    polled.sql("alter table crm.installs alter column updated_at type date")
    polled.install(1, crm_panel_count=21, crm_updated_at=AFTER, enerflo_updated_at=AFTER)
    polled.sql("update enerflo.installs set observed_at = :at", at=AFTER + timedelta(days=9))
    assert hints(polled.reconcile()) == {"panel_count": {}}


def test_a_record_without_a_time_of_its_own_is_never_called_the_newer(polled: TwoSides) -> None:
    for note in (1, 2):
        polled.mirror("notes", note_id=note, install_id=1, body="ours", created_at=BEFORE)
    polled.crm("notes", note_id="a", enerflo_install_id=1, enerflo_note_id=1, body="x", updated_at=AFTER)
    polled.crm("notes", note_id="b", enerflo_install_id=1, enerflo_note_id=2, body="x", updated_at=BEFORE)
    polled.install(1)
    assert hints(polled.reconcile(), "notes") == {"body": {"newer_in_crm": 1}}


def test_a_word_of_the_crms_own_is_told_before_it(polled: TwoSides) -> None:
    for install in range(1, 9):
        polled.install(install, crm_status="Sold", crm_updated_at=AFTER, enerflo_updated_at=BEFORE)
    assert hints(polled.reconcile()) == {"status": {"label": 8}}


def test_a_later_report_of_what_changed_says_the_same(polled: TwoSides) -> None:
    polled.install(1, crm_panel_count=21, crm_updated_at=AFTER, enerflo_updated_at=BEFORE)
    first = polled.reconcile()
    assert hints(first) == hints(polled.reconcile(NOW + timedelta(hours=1)))


def test_whichever_side_is_the_source_of_truth(polled: TwoSides, tmp_path: Path) -> None:
    for policy in ("enerflo", "crm", "review", "newest"):
        polled.with_config(
            CONFIG.replace("type: integer}", f"type: integer, source_of_truth: {policy}}}"), tmp_path
        )
        polled.sql("delete from crm.installs; delete from enerflo.installs")
        polled.install(1, crm_panel_count=21, crm_updated_at=AFTER, enerflo_updated_at=BEFORE)
        assert hints(polled.reconcile()) == {"panel_count": {"newer_in_crm": 1}}, policy


def test_the_report_says_it_beside_the_spellings_and_names_the_line(polled: TwoSides) -> None:
    polled.install(
        1, crm_panel_count=21, crm_status="in-progress", crm_updated_at=AFTER, enerflo_updated_at=BEFORE
    )
    polled.install(2, crm_panel_count=21, crm_updated_at=BEFORE, enerflo_updated_at=LONG_AGO)
    report = polled.reconcile()
    table = next(one for one in report.tables if one.table_name == "installs")
    assert newer_sentence(table) == (
        "Unexplained, by the CRM's row having changed later than Enerflo's record: panel_count 1; by Enerflo's record"
        " having changed later than the CRM's row: panel_count 1. source_of_truth: newest goes by these times, and"
        " enerflo-sync what-if says what such a line would change."
    )
    assert "panel_count" not in spelling_sentence(table)
    assert "Unexplained (newer in the CRM)" in " ".join(render_text(report).split())
    for shown in (render_text(report), render_html(report)):
        assert "by the CRM's row having changed later" in " ".join(unescape(shown).split())
