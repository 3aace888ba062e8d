"""What a difference says of both sides where it is no single value: one-sided records and repeated keys."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from enerflo_sync.reconcile.render import render_html
from enerflo_sync.reconcile.render.csv_lines import write_csv
from enerflo_sync.reconcile.render.text import render_text
from enerflo_sync.reconcile.render.wording import key_under
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import read_differences

if TYPE_CHECKING:
    from tests.reconcile.conftest import TwoSides


def said(sides: TwoSides, report: ReconciliationReport) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return what is stored of both sides, by cause and the key as text."""
    return {
        (cause, key): tuple(None if value is None else json.loads(value) for value in (mine, theirs))
        for _, key, _, mine, theirs, cause in sides.stored(report)
    }


def test_a_record_on_one_side_says_on_which_and_under_which_key(sides: TwoSides) -> None:
    sides.mirror("installs", install_id=1)
    sides.crm("installs", enerflo_install_id=2)
    sides.mirror("installs", install_id=3)
    sides.quarantine("installs", {"install_id": 3})
    report = sides.reconcile()
    assert said(sides, report) == {
        ("missing_in_crm", '{"enerflo_install_id": 1}'): ({"install_id": 1}, None),
        ("missing_in_enerflo", '{"enerflo_install_id": 2}'): (None, {"enerflo_install_id": 2}),
        ("quarantined", '{"enerflo_install_id": 3}'): ({"install_id": 3}, None),
    }
    text = render_text(report)
    for side in ("install_id 1", "enerflo_install_id 2", "install_id 3", "no record"):
        assert side in text
        assert side in render_html(report)
    assert "no value" not in text
    assert "not told" not in text


def test_a_repeated_key_says_what_each_side_has_with_personal_data_masked(sides: TwoSides) -> None:
    sides.sql("alter table crm.installs drop constraint installs_pkey")
    sides.install(1, enerflo_customer_name="Jane Doe", crm_customer_name="Jane Doe", crm_panel_count=4)
    sides.crm("installs", enerflo_install_id=1, customer_name="John Roe", panel_count=5)
    sides.crm("installs", enerflo_install_id=9, panel_count=1)
    sides.crm("installs", enerflo_install_id=9, panel_count=2)
    report = sides.reconcile()
    found = said(sides, report)
    mine, theirs = found[("duplicate_identity", '{"enerflo_install_id": 1}')]
    assert (mine["rows"], mine["keys"], mine["values"][0]["panel_count"]) == (1, [{"install_id": 1}], 20)
    assert (theirs["rows"], sorted(one["panel_count"] for one in theirs["values"])) == (2, [4, 5])
    mine, theirs = found[("duplicate_identity", '{"enerflo_install_id": 9}')]
    assert (mine, theirs["rows"]) == (None, 2)
    text, out = render_text(report), io.BytesIO()
    assert "1 row: 1" in text
    assert "2 rows: 9, 9" in text
    write_csv(report, read_differences(sides.engine, sides.config, "default", report.reconciliation_id), out)
    shown = out.getvalue().decode() + text + render_html(report)
    assert "Roe" not in shown
    assert "Jane" not in shown
    assert "2 rows: 1 (" in out.getvalue().decode()
    assert "panel_count 5" in out.getvalue().decode()


@pytest.mark.parametrize(
    ("declared", "cause"),
    [("", "left_apart"), (", null_overwrites: false", "policy")],
    ids=["default", "declared"],
)
def test_policy_is_said_of_a_rule_that_was_declared(
    sides: TwoSides, tmp_path_factory: pytest.TempPathFactory, declared: str, cause: str
) -> None:
    line = "panel_count: {enerflo: panel_count, type: integer"
    text = sides.config.file.read_text()
    assert line in text
    text = text.replace(line, f"{line}, source_of_truth: enerflo{declared}")
    sides.with_config(text, tmp_path_factory.mktemp("config"))
    sides.install(1, enerflo_panel_count=None, crm_panel_count=4)
    assert [row[-1] for row in sides.stored(sides.reconcile())] == [cause]


def test_a_default_that_is_written_out_later_is_a_policy_from_the_next_run_on(
    sides: TwoSides, tmp_path_factory: pytest.TempPathFactory
) -> None:
    line = "panel_count: {enerflo: panel_count, type: integer"
    text = sides.config.file.read_text().replace(line, f"{line}, source_of_truth: enerflo")
    sides.with_config(text, tmp_path_factory.mktemp("config"))
    sides.install(1, enerflo_panel_count=None, crm_panel_count=4)
    assert [row[-1] for row in sides.stored(sides.reconcile())] == ["left_apart"]
    declared = text.replace("source_of_truth: enerflo}", "source_of_truth: enerflo, null_overwrites: false}")
    assert declared != text
    sides.with_config(declared, tmp_path_factory.mktemp("config"))
    report = sides.reconcile()
    assert [row[-1] for row in sides.stored(report)] == ["policy"]


def test_a_rejected_record_that_the_mirror_lacks_is_not_called_missing(sides: TwoSides) -> None:
    sides.crm("installs", enerflo_install_id=3)
    sides.quarantine("installs", {"install_id": 3})
    report = sides.reconcile()
    assert said(sides, report) == {
        ("quarantined", '{"enerflo_install_id": 3}'): (None, {"enerflo_install_id": 3})
    }
    for shown in (render_text(report), render_html(report)):
        assert "in quarantine" in shown
        assert "no record" not in shown


def test_a_key_of_other_columns_than_the_head_says_is_shown_with_their_names() -> None:
    first, other = ({"Id": "a0X1"}, {"Enerflo_Install_Id__c": 7})
    assert (key_under(first, first), key_under(first, other)) == ("a0X1", "Enerflo_Install_Id__c 7")
