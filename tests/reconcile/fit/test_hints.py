"""Which hint a pair of differing values gets, and that a hint explains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldMapping
from enerflo_sync.reconcile.fit.hint_columns import hint_detail, hint_word
from enerflo_sync.reconcile.fit.hints import HINT_TEXTS, Hint, hint_sql
from enerflo_sync.reconcile.render import ReportFormat, render
from enerflo_sync.reconcile.report import Cause, Scope
from enerflo_sync.reconcile.store import read_differences
from tests.reconcile.conftest import TwoSides


@pytest.mark.parametrize(
    ("kind", "mirror", "mine", "theirs", "hint"),
    [
        ("text", "text", None, "", "empty"),
        ("text", "text", None, "  ", "empty:trim"),
        ("text", "text", "a b", " a b\t", "blanks"),
        ("text", "text", "On Hold", "on hold", "case"),
        ("text", "text", "On Hold", "on hold ", "case:trim"),
        ("text", "text", "7.50", "7.5", "number_as_text"),
        ("text", "text", "2025-06-01T12:00:00Z", "2025-06-01 06:00:00-06", "same_instant"),
        ("text", "text", "2025-06-01T12:00:00Z", "2025-06-01", "day_only"),
        ("text", "text", "A & B", "A &amp; B", "entities"),
        ("text", "text", "(303) 555-0100", "3035550100", "punctuation"),
        ("text", "text", "Powerwall 2 with gateway", "Powerwall 2 with", "truncated:16"),
        ("text", "boolean", "true", "Yes", "boolean_spelling"),
        ("text", "text", "true", "Yes", None),
        ("text", "text", "On Hold", "Completed", None),
        ("text", "text", "On Hold", None, None),
        ("text", "text", "ab", "a", None),
        ("number", "decimal", "7.0137", "7.01", "rounded:0.005"),
        ("number", "decimal", "7.019", "7.01", "rounded:0.01"),
        ("number", "decimal", "30000.4", "30000", "rounded:0.5"),
        ("number", "decimal", "0.3", "0", None),
        ("number", "decimal", "0.07", "7", "factor_100"),
        ("number", "decimal", "7.5", "7500", "factor_1000"),
        ("number", "decimal", "30001", "$30,001.00", "number_as_text"),
        ("number", "decimal", "30001", "about 30", None),
        ("number", "decimal", "20", "21", None),
        ("number", "decimal", None, "", "empty"),
        ("integer", "integer", "20", "20.4", "rounded:0.5"),
        (
            "timestamp",
            "timestamptz",
            "2025-06-01T12:00:30+00:00",
            "2025-06-01T12:00:00+00:00",
            "rounded:minute",
        ),
        (
            "timestamp",
            "timestamptz",
            "2025-06-01T12:00:30.5+00:00",
            "2025-06-01T12:00:30+00:00",
            "rounded:second",
        ),
        ("timestamp", "timestamptz", "2025-06-01T12:00:30+00:00", "2025-06-01T00:00:00+00:00", "day_only"),
        (
            "timestamp",
            "timestamptz",
            "2025-06-01T12:00:30+00:00",
            "2025-06-01T05:00:30+00:00",
            "constant_offset:-420",
        ),
        (
            "timestamp",
            "timestamptz",
            "2025-06-01T12:00:30+00:00",
            "2025-06-01T17:30:30+00:00",
            "constant_offset:330",
        ),
        ("timestamp", "timestamptz", "2025-06-01T12:00:30+00:00", "2025-06-01T05:07:30+00:00", None),
        ("timestamp", "timestamptz", "2025-06-01T12:00:30+00:00", "06/01/2025", None),
        ("date", "timestamptz", "2025-06-01", "2025-05-31", "constant_offset:-1440"),
        ("date", "timestamptz", "2025-06-01", "2025-05-30", None),
        ("boolean", "boolean", "true", "checked", "boolean_spelling"),
        ("boolean", "boolean", "true", "no", None),
        ("json", "jsonb", "{}", "[]", None),
    ],
)
def test_a_pair_of_values_gets_its_hint(
    warehouse: sa.Engine, kind: str, mirror: str, mine: str | None, theirs: str | None, hint: str | None
) -> None:
    mapping = FieldMapping.model_validate({"enerflo": "x", "type": kind})
    query = f"select {hint_sql(mapping, Kind(mirror), 'a', 'b', 'UTC')} from (select %(a)s::text, %(b)s::text) v (a, b)"
    with warehouse.connect() as connection:
        assert connection.exec_driver_sql(query, {"a": mine, "b": theirs}).scalar() == hint


@pytest.mark.parametrize(
    ("hint", "detail"),
    [
        ("truncated:16", {"length": 16}),
        ("rounded:0.005", {"tolerance": 0.005}),
        ("rounded:minute", {"unit": "minute"}),
        ("constant_offset:-420", {"minutes": -420}),
        ("case:trim", {"trim": True}),
        ("case", None),
    ],
)
def test_the_detail_of_a_hint_is_an_object(
    warehouse: sa.Engine, hint: str, detail: Mapping[str, Any] | None
) -> None:
    with warehouse.connect() as connection:
        query = f"select {hint_word('h')}, {hint_detail('h')} from (select %(h)s::text) v (h)"
        found = connection.exec_driver_sql(query, {"h": hint}).one()
    assert tuple(found) == (hint.partition(":")[0], detail)


def test_every_hint_has_its_words() -> None:
    assert set(HINT_TEXTS) == set(Hint)


@pytest.fixture
def spelled(sides: TwoSides) -> TwoSides:
    """Seven installs: one equal, one equal as declared, and five that seem to be mere spelling."""
    sides.install(1)
    sides.install(2, crm_customer_name=" jane doe ")
    for number in (3, 4, 5):
        sides.install(number, enerflo_contract_amount=30000.4)
    sides.install(6, crm_customer_name="Jane  Doe")
    sides.install(7, crm_status="Completed")
    sides.polled()
    return sides


def test_a_report_counts_hints_by_field_and_gives_each_difference_its_own(spelled: TwoSides) -> None:
    report = spelled.reconcile()
    table = report.tables[0]
    assert {one.field: dict(one.hints) for one in table.by_field} == {
        "contract_amount": {"rounded": 3},
        "customer_name": {"punctuation": 1},
        "status": {},
    }
    hints = {(one.field, one.key["enerflo_install_id"]): one.hint for one in table.samples}
    assert hints[("contract_amount", 3)] == "rounded"
    # What is equal as declared needs no advice.
    assert hints[("customer_name", 2)] is None
    stored = read_differences(spelled.engine, spelled.config, "default", report.reconciliation_id)
    assert {(one.field, one.key["enerflo_install_id"]): one.hint for one in stored} == hints


def test_a_hint_is_worked_out_once_and_carried_along(spelled: TwoSides) -> None:
    first = spelled.reconcile()
    spelled.sql("update sync.differences set hint = 'entities:probe' where hint is not null")
    again = spelled.reconcile()
    assert again.scope == Scope.INCREMENTAL
    before, after = (
        {one.field: dict(one.hints) for one in report.tables[0].by_field} for report in (first, again)
    )
    assert {name: sum(found.values()) for name, found in before.items()} == {
        name: found.get("entities", 0) for name, found in after.items()
    }
    assert sum(map(len, after.values())) > 1
    assert spelled.reconcile(full=True).tables[0].by_field == first.tables[0].by_field


def test_a_hint_explains_nothing(spelled: TwoSides) -> None:
    report = spelled.reconcile()
    assert report.unexplained == 5
    causes = {one.field: dict(one.by_cause) for one in report.tables[0].by_field}
    assert causes["contract_amount"] == {Cause.UNEXPLAINED: 3}


@pytest.mark.parametrize("form", [ReportFormat.TEXT, ReportFormat.HTML])
def test_people_read_what_seems_to_be_spelling_and_who_proposes_the_line(
    spelled: TwoSides, form: ReportFormat
) -> None:
    shown = " ".join(render(spelled.reconcile(), form, []).decode().split())
    assert "Perhaps mere spelling: contract_amount 3 by one side being rounded; customer_name 1 by" in shown
    assert "where a line of sync.yaml does, enerflo-sync suggest writes it into a copy" in shown


def test_what_no_line_settles_is_not_said_to_be_written_and_days_differ_by_no_quarters_of_an_hour(
    sides: TwoSides, tmp_path: Path
) -> None:
    sides.install(1, crm_customer_name="Jane  Doe")
    sides.sql("alter table crm.installs add made date")
    sides.sql("update enerflo.installs set created_at = '2025-06-02 03:00+00'")
    sides.sql("update crm.installs set made = '2025-06-01'")
    text = (tmp_path / "sync.yaml").read_text()
    made = "      made: {enerflo: created_at, type: date, source_of_truth: enerflo}\n      customer_name:"
    sides.with_config(text.replace("      customer_name:", made, 1), tmp_path)
    sides.polled()
    shown = " ".join(render(sides.reconcile(), ReportFormat.TEXT, []).decode().split())
    assert "made 1 by an offset as between two time zones" in shown
    assert "suggest writes these lines" not in shown


def test_what_moved_gets_the_hints_of_a_full_run(spelled: TwoSides) -> None:
    spelled.reconcile()
    spelled.sql(
        "update crm.installs set status = 'in-progress', updated_at = now() where enerflo_install_id = 7"
    )
    incremental = spelled.reconcile()
    full = spelled.reconcile(full=True)
    assert [one.hints for one in incremental.tables[0].by_field] == [
        one.hints for one in full.tables[0].by_field
    ]
    assert {"punctuation": 1} in [dict(one.hints) for one in full.tables[0].by_field if one.field == "status"]


def test_names_with_percent_signs_are_read_back(spelled: TwoSides, tmp_path: Path) -> None:
    text = (tmp_path / "sync.yaml").read_text()
    spelled.sql("""alter table crm.installs rename contract_amount to "amount 100%" """)
    spelled.with_config(text.replace("      contract_amount:", '      "amount 100%":'), tmp_path)
    report = spelled.reconcile()
    found: dict[str | None, Any] = {
        one.field: one.hint
        for one in read_differences(spelled.engine, spelled.config, "default", report.reconciliation_id)
    }
    assert found["amount 100%"] == "rounded"
