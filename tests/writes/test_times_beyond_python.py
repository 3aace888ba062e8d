"""A time of the CRM that Python has no word for keeps nobody from reconciling, planning, applying and asking why."""

from __future__ import annotations

import pytest

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk


def edited_at(desk: Desk, time: str) -> int:
    """Let the CRM's row of an install say another status at ``time``, reconcile, plan, and return the install."""
    install = desk.a_site().install_id
    desk.sql(
        "update crm.installs set updated_at = cast(:time as timestamptz), status = 'On Hold'"
        " where enerflo_install_id = :id",
        time=time,
        id=install,
    )
    before = run_explain(desk.context, "install", str(install), field="status")
    assert before.fields[0].crm is not None
    assert (before.fields[0].crm.value, before.fields[0].crm.changed_at) == ("On Hold", None)
    run_reconcile(desk.context, full=True)
    desk.carried()
    return install


@pytest.mark.parametrize("time", ["infinity", "-infinity", "12000-01-01"])
def test_a_row_that_never_changes_or_always_did_is_explained(agreed: Desk, time: str) -> None:
    install = edited_at(agreed, time)
    after = run_explain(agreed.context, "install", str(install), field="status")
    assert [step.said for step in after.fields[0].steps] == ["On Hold"]
    assert "On Hold" in render_explanation(after)


def test_a_row_of_before_our_era_is_an_older_row_and_waits_for_a_person(agreed: Desk) -> None:
    install = edited_at(agreed, "0044-03-15 BC")
    after = run_explain(agreed.context, "install", str(install), field="status")
    assert (after.fields[0].steps, len(after.fields[0].waiting)) == ([], 1)
    assert "an older row may have come back" in after.fields[0].waiting[0].why
    assert "On Hold" in render_explanation(after)


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
@pytest.mark.parametrize("time", ["infinity", "-infinity", "12000-01-01", "0044-03-15 BC"])
def test_a_value_that_is_such_a_time_is_explained(agreed: Desk, kind: str, time: str) -> None:
    install = agreed.a_site().install_id
    agreed.sql(f"alter table crm.milestones alter due_at type {kind}")
    agreed.sql(
        f"update crm.milestones set due_at = cast(:time as {kind}), updated_at = now()"
        " where enerflo_install_id = :id",
        time=time,
        id=install,
    )
    milestone = agreed.one(
        "select max(milestone_id) from crm.milestones where enerflo_install_id = :id", id=install
    )
    run_reconcile(agreed.context, full=True)
    agreed.plan()
    found = run_explain(agreed.context, "milestone", f"{install}/{milestone}", field="due_at")
    assert found.fields[0].crm is not None
    assert str(found.fields[0].crm.value).startswith(time.split()[0])
    assert time.split()[0] in render_explanation(found)
