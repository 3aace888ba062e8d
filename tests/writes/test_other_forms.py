"""Texts of the CRM in a form of their own (decimal comma, currency, 03/04/2026): nothing is written over them."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.columns import run_columns
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_declared_columns import declared

ASKED = "has a form of its own"
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


def _as_texts(desk: Desk) -> None:
    desk.sql(
        "alter table crm.installs alter contract_amount type text using trim_scale(contract_amount)::text"
    )
    desk.sql("alter table crm.milestones alter due_at type text using to_jsonb(due_at) #>> '{}'")
    desk.switched_on("both", AT_ONCE)
    desk.carried()


@pytest.fixture
def texts(agreed: Desk) -> Desk:
    """Amounts and due times are texts in the CRM."""
    brought(agreed, _as_texts)
    return agreed


def amount(desk: Desk, said: str | None, enerflo: str) -> int:
    install = int(desk.a_site().install_id)
    desk.sql(
        "update crm.installs set contract_amount = :v, updated_at = now() where enerflo_install_id = :i",
        v=said,
        i=install,
    )
    desk.sql(
        "update enerflo.installs set contract_amount = cast(:v as numeric), observed_at = now()"
        " where install_id = :i",
        v=enerflo,
        i=install,
    )
    return install


def outcome(desk: Desk, field: str) -> tuple[list[Any], list[str]]:
    plan = desk.plan()
    return (
        [(one.direction, one.before, one.after) for one in desk.changes(plan, field=field)],
        [str(one.reason) for one in desk.undecided(plan) if one.field == field],
    )


@pytest.mark.parametrize(
    ("said", "enerflo", "hint"),
    [
        ("4,2", "4.2", "number_as_text"),
        ("4,2", "42", None),
        ("12.345,60", "12345.6", "number_as_text"),
        ("12,345.60", "12345.6", "number_as_text"),
        ("12,345", "12345", "number_as_text"),
        ("$1,200.00", "1200", "number_as_text"),
        ("1200 EUR", "1200", "number_as_text"),
        ("12.5 %", "12.5", "number_as_text"),
        ("(1,200.00)", "1200", None),
        ("1.234.567", "1234567", "number_as_text"),
        ("4.2 kW", "4.3", None),
    ],
)
def test_a_number_as_people_write_it_is_asked_about_and_explained_by_nothing(
    texts: Desk, said: str, enerflo: str, hint: str | None
) -> None:
    amount(texts, said, enerflo)
    written, (asked,) = outcome(texts, "contract_amount")
    assert written == []
    assert ASKED in asked
    report = run_reconcile(texts.context)
    (found,) = texts.sql(
        "select cause, hint from sync.differences where reconciliation_id = :id and field = 'contract_amount'",
        id=report.reconciliation_id,
    )
    assert found["cause"] != "equal_after_normalisation"
    assert (found["hint"] or "").split(":")[0] == (hint or "")


@pytest.mark.parametrize("said", ["n/a", "", "12.345", None])
def test_what_is_no_number_or_a_number_in_our_form_is_written_over(texts: Desk, said: str | None) -> None:
    amount(texts, said, "12345")
    written, asked = outcome(texts, "contract_amount")
    assert written == [("to_crm", said, "12345")]
    assert asked == []


@pytest.mark.parametrize("moved", ["Enerflo", "the CRM", "both"])
@pytest.mark.parametrize("said", ["03/04/2026", "4.3.2026 14:00", "46085", "1772632800000"])
def test_a_day_as_people_write_it_is_neither_sent_nor_written_over(
    texts: Desk, said: str, moved: str
) -> None:
    install = texts.a_site().install_id
    milestone = texts.one(
        "select min(milestone_id) from crm.milestones where enerflo_install_id = :i and due_at is not null",
        i=install,
    )
    if moved != "Enerflo":
        texts.sql(
            "update crm.milestones set due_at = :v, updated_at = now()"
            " where enerflo_install_id = :i and milestone_id = :m",
            v=said,
            i=install,
            m=milestone,
        )
    else:
        # Nobody agreed on it yet.
        texts.sql("delete from sync.agreed where field = 'due_at'")
        texts.sql(
            "update crm.milestones set due_at = :v, updated_at = '2020-01-01'"
            " where enerflo_install_id = :i and milestone_id = :m",
            v=said,
            i=install,
            m=milestone,
        )
    if moved != "the CRM":
        texts.sql(
            "update enerflo.milestones set due_at = '2026-04-03 12:00Z', observed_at = now()"
            " where install_id = :i and milestone_id = :m",
            i=install,
            m=milestone,
        )
        texts.sql(
            "update enerflo.installs set updated_at = now(), observed_at = now() where install_id = :i",
            i=install,
        )
    written, (asked,) = outcome(texts, "due_at")
    assert written == []
    assert ASKED in asked or "cannot be read as its declared type" in asked


@pytest.mark.parametrize("truth", ["newest", "crm"])
@pytest.mark.parametrize(
    ("kind", "said", "direction"),
    [
        ("text", "2026-03-04", None),
        ("timestamptz", "2026-03-04 00:00-07", None),
        ("timestamp", "2026-03-04 00:00", None),
        ("date", "2026-03-04", "equal"),
        ("text", "2026-03-05", "to_enerflo"),
        ("text", "2026-03-04 08:00", "to_enerflo"),
    ],
)
def test_the_day_alone_is_not_sent_over_a_time_of_that_day(
    agreed: Desk, kind: str, said: str, direction: str | None, truth: str
) -> None:
    install = agreed.a_site().install_id
    milestone = agreed.one(
        "select min(milestone_id) from crm.milestones where enerflo_install_id = :i and due_at is not null",
        i=install,
    )
    agreed.sql(
        "update enerflo.milestones set due_at = '2026-03-04 14:22-07' where milestone_id = :m and install_id = :i",
        i=install,
        m=milestone,
    )
    agreed.sql("update crm.milestones set due_at = null where due_at is not null")
    agreed.sql(f"alter table crm.milestones alter due_at type {kind} using due_at::text::{kind}")
    agreed.sql(
        f"update crm.milestones set due_at = cast(cast(:v as text) as {kind}), updated_at = now()"
        " where enerflo_install_id = :i and milestone_id = :m",
        v=said,
        i=install,
        m=milestone,
    )
    due = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"
    in_denver = due.replace("second,", "second, time_zone: America/Denver,").replace("newest", truth)
    agreed.switched_on("both", AT_ONCE, (due, in_denver))
    # Nobody agreed on it yet.
    agreed.sql("delete from sync.agreed where table_name = 'milestones' and field = 'due_at'")
    plan = agreed.plan()
    key = {"enerflo_install_id": install, "milestone_id": milestone}
    written = [one.direction for one in agreed.changes(plan, field="due_at", key=key)]
    asked = [str(one.reason) for one in agreed.undecided(plan) if one.field == "due_at" and one.key == key]
    assert written == ([direction] if direction not in (None, "equal") else [])
    assert ["has only the day" in one for one in asked] == ([True] if direction is None else [])


@pytest.mark.parametrize("listed", [True, False])
def test_a_null_of_a_copy_that_lists_values_of_no_type_is_asked_about(agreed: Desk, listed: bool) -> None:
    agreed.sql("alter table crm.installs add _airbyte_meta jsonb not null default '{\"changes\": []}'")
    install_table = "    crm_table: crm.installs\n"
    agreed.switched_on("both", AT_ONCE, (install_table, install_table + "    write_to: changes\n"))
    agreed.carried()
    install = agreed.a_site().install_id
    meta = '{"sync_id": 7, "changes": [{"field": "contract_amount", "change": "NULLED"}]}'
    agreed.sql(
        "update crm.installs set contract_amount = null, updated_at = now(),"
        " _airbyte_meta = coalesce(cast(:meta as jsonb), _airbyte_meta) where enerflo_install_id = :i",
        meta=meta if listed else None,
        i=install,
    )
    written, asked = outcome(agreed, "contract_amount")
    assert len(written) == (0 if listed else 1)
    assert ["fits no type" in one for one in asked] == ([True] if listed else [])


@pytest.mark.parametrize("said", ["Yes", "No", "1", "Y", "true", "FALSE", " true ", "", None])
def test_a_flag_that_is_spelt_otherwise_than_we_write_it_is_not_written_over(
    agreed: Desk, said: str | None
) -> None:
    declared(
        agreed,
        mapped="      has_lender: {enerflo: has_lender, type: boolean, source_of_truth: enerflo}\n",
        has_lender="{path: company.name, type: boolean}",
    )
    run_columns(agreed.context)
    agreed.sql("alter table crm.installs add has_lender text")
    # The opposite of what the CRM says.
    install, enerflo = agreed.a_site().install_id, said not in ("Yes", "1", "Y", "true", " true ")
    agreed.sql("update crm.installs set has_lender = :v where enerflo_install_id = :i", v=said, i=install)
    agreed.sql("update enerflo.installs set has_lender = :v where install_id = :i", v=enerflo, i=install)
    written, asked = outcome(agreed, "has_lender")
    if said in ("Yes", "No", "1", "Y"):
        assert written == []
        assert ASKED in asked[0]
    else:
        assert [(direction, after) for direction, _, after in written] == [("to_crm", enerflo)]
        assert asked == []


@pytest.mark.parametrize("kind", ["smallint", "integer"])
def test_a_flag_is_written_to_a_column_of_numbers_as_one_or_zero(agreed: Desk, kind: str) -> None:
    declared(
        agreed,
        mapped="      has_lender: {enerflo: has_lender, type: boolean, source_of_truth: enerflo}\n",
        has_lender="{path: company.name, type: boolean}",
    )
    run_columns(agreed.context)
    agreed.sql(f"alter table crm.installs add has_lender {kind} default 0")
    agreed.sql("update enerflo.installs set has_lender = install_id % 2 = 0")
    agreed.sql("update crm.installs set has_lender = null where enerflo_install_id % 3 = 0")
    agreed.carried()
    same = "has_lender = (enerflo_install_id % 2 = 0)::int"
    assert agreed.one(f"select bool_and({same}) from crm.installs") is True
    assert agreed.plan().change_count == 0
