"""Another mapping for a while, looser or mistaken: what a person refused or took back stays so, as no value differs."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import read_refusals, run_reject
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk
from tests.writes.test_changed_mapping import QUICK
from tests.writes.test_refused import edit

SIZE = "type: number, tolerance: 0.005, source_of_truth: enerflo}\n      panel_type"
COUNT = "panel_count: {enerflo: panel_count, type: integer, "
MISTAKEN = (f"{COUNT}source", f"{COUNT.replace('panel_count, ', 'install_id, ')}source")
BODY = "      body:\n        {enerflo: body, type: text,"
TIME = "started_at: {enerflo: started_at, type: timestamp, precision: "
BY_CRM = (f"{TIME}second, source_of_truth: newest", f"{TIME}second, source_of_truth: crm")


def kept_out(desk: Desk, looser: tuple[str, str], *others: tuple[str, str]) -> None:
    """Refuse what is planned, and assert that it stays refused under looser options and after them."""
    plan = desk.plan()
    assert plan.change_count == 1
    run_reject(desk.context, plan.plan_hash, by="Sam Hill")
    desk.switched_on("both", QUICK, *others, looser)
    for _ in range(2):
        assert desk.plan().change_count == 0
    desk.switched_on("both", QUICK, *others)
    for _ in range(2):
        plan = desk.plan()
        assert desk.changes(plan) == []
        (told,) = desk.undecided(plan)
        assert told.reason.startswith("refused by Sam Hill")
    assert [one.decided_by for one in read_refusals(desk.context)] == ["Sam Hill"]


def test_a_tolerance_that_was_larger_for_a_while(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    size = agreed.crm("installs", enerflo_install_id=install)["system_size_kw"]
    edit(agreed, install, system_size_kw=size + 1)
    kept_out(agreed, (SIZE, SIZE.replace("0.005", "5")))
    # A value that both sides have is another one, and ends the refusal.
    edit(agreed, install, system_size_kw=size)
    assert agreed.plan().change_count == 0
    assert read_refusals(agreed.context) == []
    edit(agreed, install, system_size_kw=size + 1)
    assert agreed.plan().change_count == 1


def test_a_null_that_was_ignored_for_a_while(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    edit(agreed, agreed.a_site().install_id, panel_count=None)
    kept_out(agreed, (f"{COUNT}source", f"{COUNT}null: ignore, source"))


@pytest.mark.parametrize("both", [True, False])
def test_a_day_that_was_enough_for_a_while(agreed: Desk, both: bool) -> None:
    agreed.switched_on("both", QUICK, BY_CRM)
    agreed.sql(
        "update crm.milestones set started_at = date_trunc('day', started_at) + interval '61 minutes',"
        " updated_at = now() where (enerflo_install_id, milestone_id) = (select enerflo_install_id, milestone_id"
        "   from crm.milestones where enerflo_install_id = :i and started_at is not null limit 1)",
        i=agreed.a_site().install_id,
    )
    if not both:
        # As where both sides never agreed on it before.
        agreed.sql("delete from sync.agreed where table_name = 'milestones' and field = 'started_at'")
    kept_out(agreed, (f"{TIME}second", f"{TIME}day"), BY_CRM)


def test_a_column_that_was_mapped_by_mistake_for_a_while(agreed: Desk) -> None:
    """Nobody approved a plan of the mistake."""
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    edit(agreed, install, panel_count=99)
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam Hill")
    agreed.switched_on("both", QUICK, MISTAKEN)
    assert agreed.plan().change_count > 1
    agreed.switched_on("both", QUICK)
    assert agreed.changes(agreed.plan()) == []
    # A value that differs is planned.
    edit(agreed, install, panel_count=98)
    assert [change.before for change in agreed.changes(agreed.plan())] == [98]
    edit(agreed, install, panel_count=99)
    assert [change.before for change in agreed.changes(agreed.plan())] == [99]


def test_a_new_row_of_which_a_field_was_mapped_by_mistake_for_a_while(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    agreed.world.add_note(agreed.a_site().install_id, "Not for the CRM.")
    run_poll(agreed.context)
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam Hill")
    agreed.switched_on("both", QUICK, (BODY, BODY.replace("enerflo: body", "enerflo: author_id")))
    agreed.plan()
    agreed.switched_on("both", QUICK)
    assert agreed.changes(agreed.plan()) == []
    assert [one.decided_by for one in read_refusals(agreed.context)] == ["Sam Hill"]


def test_under_a_mapping_that_is_in_use_a_value_that_differs_ends_a_refusal(agreed: Desk) -> None:
    agreed.switched_on("both", QUICK)
    install = agreed.a_site().install_id
    edit(agreed, install, panel_count=99)
    run_reject(agreed.context, agreed.plan().plan_hash, by="Sam Hill")
    agreed.switched_on("both", QUICK, (f"{TIME}second", f"{TIME}minute"))
    edit(agreed, install, panel_count=98)
    plan = agreed.plan()
    assert [change.before for change in agreed.changes(plan)] == [98]
    assert len(read_refusals(agreed.context)) == 1
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert agreed.plan().change_count == 0
    assert read_refusals(agreed.context) == []


@pytest.mark.parametrize("policy", ["newest", "enerflo"])
def test_what_an_undo_left_apart_is_not_judged_anew(agreed: Desk, policy: str) -> None:
    """A column of `newest` keeps the times of its pairs, which move on as somebody writes the row."""
    strict = SIZE.replace("source_of_truth: enerflo}", f"source_of_truth: {policy}, direction: to_crm}}")
    agreed.switched_on("both", QUICK, (SIZE, strict))
    agreed.carried()
    install = agreed.a_site().install_id
    agreed.sql(
        "update enerflo.installs set system_size_kw = system_size_kw + 1, updated_at = now(), observed_at = now()"
        " where install_id = :i",
        i=install,
    )
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    run_apply(agreed.context, run_undo(agreed.context, plan.plan_hash).plan_hash, approved_by="Pat")
    # Somebody saves the row as it is.
    edit(agreed, install, enerflo_install_id=install)
    agreed.switched_on("both", QUICK, (SIZE, strict.replace("0.005", "5")))
    assert agreed.plan().change_count == 0
    agreed.switched_on("both", QUICK, (SIZE, strict))
    plan = agreed.plan()
    assert (plan.change_count, plan.undecided) == (0, {})
    assert any("as they were left" in reason for reason in plan.kept)
