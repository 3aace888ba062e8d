"""A person refuses a plan of before while the next one follows new names, also where that one is cut off."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from enerflo_sync.errors import ConflictError
from enerflo_sync.jobs.approval import read_refusals, run_reject
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan import make
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk
from tests.writes.test_renamed_tables import QUICK, RENAMED

AGREED = "delete from sync.agreed where (key ->> 'enerflo_install_id')::bigint = :i"


class _CutOffError(Exception):
    """The job ended here."""


def refused_under_new_names(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, plan: PlanReport, *, goes_on: bool
) -> bool:
    """Plan, and let a person refuse an older plan between its two transactions; return whether that is stored."""
    heard, note = [], make.note_arriving

    def meanwhile(*given: Any) -> None:
        with suppress(ConflictError):
            run_reject(desk.context, plan.plan_hash, by="Eve", undecided=True)
            heard.append(True)
        if not goes_on:
            raise _CutOffError
        note(*given)

    with monkeypatch.context() as patch, suppress(_CutOffError):
        patch.setattr(make, "note_arriving", meanwhile)
        desk.plan()
    return bool(heard)


def a_new_row(desk: Desk) -> PlanReport:
    """Plan the row of an install that the CRM lacks."""
    desk.switched_on("both", QUICK)
    site = desk.one("select max(enerflo_install_id) from crm.installs")
    for statement in (
        AGREED,
        "delete from crm.milestones where enerflo_install_id = :i",
        "delete from crm.installs where enerflo_install_id = :i",
    ):
        desk.sql(statement, i=site)
    plan = desk.plan()
    assert desk.changes(plan, table_name="installs", op="insert")
    return plan


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_no_to_a_new_row_of_a_table_that_gets_another_name_is_not_lost(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, goes_on: bool
) -> None:
    plan = a_new_row(agreed)
    agreed.switched_on("both", QUICK, RENAMED)
    stored = refused_under_new_names(agreed, monkeypatch, plan, goes_on=goes_on)
    changes = [
        change for one in run_plan(agreed.context) for change in agreed.changes(one, table_name="jobs")
    ]
    # The person learns that the no does not count, or no later plan has the row.
    assert stored is not bool(changes)
    assert bool(read_refusals(agreed.context)) is stored


def test_a_no_to_a_plan_of_before_after_an_undo_of_nothing_is_not_lost(agreed: Desk) -> None:
    plan = a_new_row(agreed)
    agreed.switched_on("both", QUICK, RENAMED)
    assert run_undo(agreed.context, plan.plan_hash).change_count == 0
    with pytest.raises(ConflictError, match="a later plan superseded it"):
        run_reject(agreed.context, plan.plan_hash, by="Eve", undecided=True)
    assert agreed.changes(agreed.plan(), table_name="jobs", op="insert")
