"""When a reconciliation calls a difference planned: only where its plan may be applied."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.reconcile.report import Cause
from tests.writes.conftest import Desk

AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


def causes(desk: Desk, *, full: bool) -> dict[Cause, int]:
    (table,) = (
        table for table in run_reconcile(desk.context, full=full).tables if table.table_name == "installs"
    )
    return {cause: number for cause, number in table.by_cause.items() if number}


def two_edits(desk: Desk) -> None:
    """Differ in a field that goes to the CRM, and in one that goes to Enerflo."""
    install_id = desk.one("select min(enerflo_install_id) from crm.installs where status <> 'On Hold'")
    desk.sql(
        "update crm.installs set panel_count = 99, status = 'On Hold', updated_at = now()"
        " where enerflo_install_id = :i",
        i=install_id,
    )


@pytest.mark.parametrize("full", [True, False])
def test_a_plan_that_only_shows_explains_nothing(desk: Desk, full: bool) -> None:
    desk.configured(AT_ONCE)
    two_edits(desk)
    assert causes(desk, full=full) == {Cause.UNEXPLAINED: 2}
    assert desk.plan().change_count
    assert causes(desk, full=full) == {Cause.UNEXPLAINED: 2}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize(("mode", "planned"), [("crm", 1), ("enerflo", 1), ("both", 2), ("report", 0)])
def test_a_plan_explains_what_the_mode_lets_it_write(desk: Desk, mode: str, planned: int, full: bool) -> None:
    desk.configured(AT_ONCE)
    two_edits(desk)
    causes(desk, full=True)
    desk.plan()
    desk.switched_on(mode, AT_ONCE)
    assert causes(desk, full=full).get(Cause.PLANNED, 0) == planned
    # The same plan, and nobody may apply it any more.
    desk.configured(AT_ONCE)
    assert Cause.PLANNED not in causes(desk, full=full)
