"""The last milestone that is completed in the CRM completes the install, as far as its mapping lets it."""

from __future__ import annotations

import pytest

from enerflo_sync.sync.completion import LAST_MILESTONE
from enerflo_sync.sync.plan_report import PlanReport
from tests.sync.conftest import Desk

STATUS = "trim: true, fold_case: true, source_of_truth: newest}\n      system_size_kw"


def finished(desk: Desk, install_id: int) -> PlanReport:
    """Complete an install's last milestone in the CRM, and plan."""
    last = desk.one(
        "select milestone_id from enerflo.milestones where install_id = :id and deleted_at is null"
        " order by sequence desc limit 1",
        id=install_id,
    )
    desk.sql(
        "update crm.milestones set completed_at = now() - interval '1 minute', updated_at = now()"
        " where enerflo_install_id::text = :id and milestone_id::text = :last",
        id=str(install_id),
        last=str(last),
    )
    return desk.plan()


@pytest.mark.parametrize(
    ("direction", "completes"), [("both", True), ("to_enerflo", True), ("to_crm", False), ("none", False)]
)
def test_it_is_bound_by_the_direction_of_the_status(desk: Desk, direction: str, completes: bool) -> None:
    desk.switched_on("both", (STATUS, STATUS.replace("newest", f"newest, direction: {direction}")))
    desk.carried()
    plan = finished(desk, desk.a_site().install_id)
    assert len(desk.changes(plan, table_name="milestones", direction="to_enerflo")) == 1
    assert len(desk.changes(plan, rule=LAST_MILESTONE)) == completes


@pytest.mark.parametrize(
    ("kind", "key"), [("text", str), ("char(12)", str), ("numeric", int), ("bigint", int)]
)
def test_its_change_has_the_key_that_the_crm_has(desk: Desk, kind: str, key: type[str | int]) -> None:
    for table in ("installs", "milestones"):
        desk.sql(f"alter table crm.{table} alter enerflo_install_id type {kind}")
    desk.switched_on("both")
    desk.carried()
    install_id = desk.a_site().install_id
    plan = finished(desk, install_id)
    assert [change.key for change in desk.changes(plan, rule=LAST_MILESTONE)] == [
        {"enerflo_install_id": key(install_id)}
    ]
    desk.carried()
    (story,) = desk.workplace.explain("install", str(install_id), field="status").fields
    assert [step.new_value for step in story.steps] == ["Completed"]
