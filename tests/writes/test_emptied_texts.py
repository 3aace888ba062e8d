"""A text that one side emptied takes a value away from the other one, as a null does: a person approves it."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.plan.report import PlanReport
from tests.writes.conftest import Desk

FIRST = ("first_to_enerflo: true", "first_to_enerflo: false")


def emptied(desk: Desk, *, mobile: str, also: str = "") -> None:
    """The CRM has another text instead of a mobile number, as an import may write it."""
    desk.sql(
        f"update crm.leads set mobile = :m{also}, updated_at = now() where lead_id = (select min(lead_id)"
        " from crm.leads where enerflo_customer_id is not null and mobile <> '')",
        m=mobile,
    )


def plans(desk: Desk) -> list[PlanReport]:
    return [plan for plan in run_plan(desk.context) if plan.change_count]


@pytest.mark.parametrize("blank", ["", " \t"])
def test_an_emptied_text_waits_for_a_person(agreed: Desk, blank: str) -> None:
    agreed.switched_on(
        "both", FIRST, ("percent: 10", "percent: 100"), ("new_mapping: true", "new_mapping: false")
    )
    emptied(agreed, mobile=blank, also=", city = 'Austin Hills'")
    without, waiting = plans(agreed)
    (free,), (held,) = agreed.changes(without), agreed.changes(waiting)
    assert (free.field, without.needs_approval) == ("city", False)
    assert (held.field, held.direction) == ("mobile", "to_enerflo")
    assert waiting.reasons == ["It takes 1 value away (approval.nulling)."]


def test_where_everything_waits_it_is_counted_among_the_reasons(agreed: Desk) -> None:
    emptied(agreed, mobile="")
    (plan,) = plans(agreed)
    assert "It takes 1 value away (approval.nulling)." in plan.reasons


def test_another_text_does_not(agreed: Desk) -> None:
    agreed.switched_on(
        "both", FIRST, ("percent: 10", "percent: 100"), ("new_mapping: true", "new_mapping: false")
    )
    emptied(agreed, mobile="5125550199")
    (plan,) = plans(agreed)
    assert not plan.needs_approval
