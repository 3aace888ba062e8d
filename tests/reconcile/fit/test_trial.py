"""A proposed line is tried, and an objection is true: what it calls a further difference is one."""

from __future__ import annotations

from pathlib import Path

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.reconcile.fit.advice import field_advice
from enerflo_sync.reconcile.fit.values import FieldFit
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from tests.reconcile.conftest import TwoSides
from tests.reconcile.fit.test_preview import CONFIG, findings, fit_of, untidy

__all__ = ["untidy"]


def test_one_instant_in_two_spellings_is_no_further_difference_of_days(
    untidy: TwoSides, tmp_path: Path
) -> None:
    """A text column: most rows say the day alone, a few the same instant in another spelling."""
    moment = "to_char(timestamp '2025-01-06 12:30:15' + install_id * interval '1 day', 'YYYY-MM-DD\"T\"HH24{}MI{}SS\"Z\"')"
    spelled = moment.format(r"\:", r"\:")
    untidy.sql(f"update enerflo.installs set battery_configuration = {spelled}")
    untidy.sql("""update salesforce."Opportunity" o set "Battery__c" = case when e.install_id % 10 = 0
        then replace(e.battery_configuration, 'T', ' ') else left(e.battery_configuration, 10) end
      from enerflo.installs e where e.install_id = cast(trim(o."Enerflo_Id__c") as int)""")
    untidy.with_config(CONFIG, tmp_path)
    finding = findings(fit_of(untidy))["fields.Battery__c"]
    assert "further" not in finding.next_step
    assert "Battery__c: {enerflo: battery_configuration, type: date}" in finding.next_step


def test_a_flag_that_the_crm_spells_in_one_way_gets_labels_since_with_them_it_can_be_written(
    untidy: TwoSides,
) -> None:
    with untidy.engine.connect() as connection:
        fold = case_folding(connection)
        (comparison,) = live_comparisons(connection, untidy.config, "default", fold)
    flag = next(one for one in comparison.fields if one.name == "Battery__c")
    spelled = {"boolean_spelling": 19}
    fit = FieldFit(19, spelled, [("true", "Yes", 10, 10), ("false", "No", 9, 9)])
    advice = field_advice(flag, fit, Kind.BOOLEAN, list)
    assert advice is not None
    assert (advice.options["type"], advice.options["values"]) == ("text", {"true": "Yes", "false": "No"})
    assert advice.accepted == 19
    # Where people spell it in several ways, it can only be read.
    advice = field_advice(flag, FieldFit(19, spelled), Kind.BOOLEAN, list)
    assert advice is not None
    assert advice.options["type"] == "boolean"
