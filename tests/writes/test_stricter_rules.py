"""Rules that became stricter after a plan was made, and a person who approves it without applying it."""

from __future__ import annotations

import pytest

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_approve
from tests.writes.conftest import Desk
from tests.writes.test_refused import edit, installs

FREE = (("first_to_enerflo: true", "first_to_enerflo: false"), ("new_mapping: true", "new_mapping: false"))
STRICTER = (FREE[0], ("new_mapping: true", "new_mapping: false\n  second_person: true\n  always: true"))


def test_one_person_is_not_enough_for_a_plan_that_needed_nobody_when_it_was_made(agreed: Desk) -> None:
    agreed.switched_on("both", *FREE)
    edit(agreed, installs(agreed)[0], panel_count=99)
    plan = agreed.plan()
    assert plan.change_count == 1
    assert not plan.needs_approval
    agreed.switched_on("both", *STRICTER)
    decided = run_approve(agreed.context, plan.plan_hash, by="Maria", undecided=True)
    assert (decided.state, decided.first_approved_by) == ("open", "Maria")
    with pytest.raises(ConfigurationError, match="A second person has to"):
        run_apply(agreed.context, plan.plan_hash)
    assert agreed.world.received == []
    run_approve(agreed.context, plan.plan_hash, by="Jo")
    done = run_apply(agreed.context, plan.plan_hash)
    assert done.decided_by == "Maria and Jo"


def test_nor_is_the_one_person_who_approved_it_before_the_rules_became_stricter(agreed: Desk) -> None:
    agreed.switched_on("both", *FREE)
    edit(agreed, installs(agreed)[0], panel_count=99)
    plan = agreed.plan()
    run_approve(agreed.context, plan.plan_hash, by="Maria")
    agreed.switched_on("both", *STRICTER)
    with pytest.raises(ConfigurationError, match="A second person has to"):
        run_apply(agreed.context, plan.plan_hash)
    assert agreed.world.received == []
    assert agreed.sql(
        "select state, first_approval ->> 'by' as by from sync.plans where plan_hash = :h", h=plan.plan_hash
    ) == [{"state": "open", "by": "Maria"}]
    done = run_apply(agreed.context, plan.plan_hash, approved_by="Jo")
    assert (done.decided_by, done.applied) == ("Maria and Jo", 1)


def test_a_plan_that_needs_nobody_under_the_present_rules_either_needs_one_person_alone(agreed: Desk) -> None:
    agreed.switched_on("both", *FREE)
    edit(agreed, installs(agreed)[0], panel_count=99)
    plan = agreed.plan()
    agreed.switched_on("both", FREE[0], ("new_mapping: true", "new_mapping: false\n  second_person: true"))
    assert run_approve(agreed.context, plan.plan_hash, by="Maria").state == "approved"
    assert run_apply(agreed.context, plan.plan_hash).applied == 1


def test_a_plan_of_another_mapping_is_approved_for_nothing(agreed: Desk) -> None:
    agreed.switched_on("both", *FREE)
    edit(agreed, installs(agreed)[0], panel_count=99)
    plan = agreed.plan()
    agreed.switched_on(
        "both", *STRICTER, ("\n  installs:\n    crm_table", "\n  sites:\n    of: installs\n    crm_table")
    )
    run_approve(agreed.context, plan.plan_hash, by="Maria")
    with pytest.raises(ConfigurationError, match="the mapping changed since it was made"):
        run_apply(agreed.context, plan.plan_hash)
