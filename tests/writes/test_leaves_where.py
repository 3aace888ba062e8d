"""A change of ours that would take its row out of ``where``, or mark it as deleted, is asked and not made."""

from __future__ import annotations

import pytest

from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from tests.writes.conftest import Desk

ON_HOLD = 4
INSTALLS = "    crm_table: crm.installs\n"
WHERE = "    where: \"status <> 'On Hold' or panel_count is null\"\n"
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
OUTSIDE = "its row would stand outside where"


def chosen(desk: Desk, option: str = WHERE, mode: str = "crm") -> Desk:
    desk.switched_on(mode, (INSTALLS, INSTALLS + option), AT_ONCE)
    desk.carried()
    desk.settled()
    return desk


def put_on_hold(desk: Desk) -> int:
    install = desk.a_site().install_id
    desk.world.set_status(install, ON_HOLD)
    run_poll(desk.context)
    return install


def status_of(desk: Desk, install: int) -> str:
    return str(desk.crm("installs", enerflo_install_id=install)["status"])


def cause_of(desk: Desk, install: int) -> set[tuple[str | None, str]]:
    report = run_reconcile(desk.context)
    rows = desk.sql(
        "select field, cause from sync.differences where reconciliation_id = :id and table_name = 'installs'"
        " and key = jsonb_build_object('enerflo_install_id', cast(:i as bigint))",
        id=report.reconciliation_id,
        i=install,
    )
    return {(row["field"], row["cause"]) for row in rows}


@pytest.mark.parametrize(
    "option", [WHERE, "    deleted_when: {status: On Hold}\n", WHERE + "    write_to: changes\n"]
)
def test_a_value_that_takes_its_row_out_is_a_question_and_is_not_written(agreed: Desk, option: str) -> None:
    chosen(agreed, option)
    before = status_of(agreed, agreed.a_site().install_id)
    install = put_on_hold(agreed)
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    (asked,) = [one for one in agreed.undecided(plan) if one.field == "status"]
    assert str(asked.reason).startswith("its row would")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert status_of(agreed, install) == before
    assert agreed.sql("select 1 from sync.crm_changes") == []
    # Neither the next reconciliation nor explain takes the sides for settled.
    assert {field for field, _ in cause_of(agreed, install)} == {"status"}
    text = render_explanation(run_explain(agreed.context, "install", str(install)))
    assert "its row would" in text
    # Whoever moves the row out by hand is answered.
    agreed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :i", i=install)
    assert agreed.changes(agreed.plan()) == []


def test_the_other_fields_of_the_row_are_written(agreed: Desk) -> None:
    chosen(agreed)
    state = agreed.a_site()
    agreed.world.resubmit_install(state.install_id, panel_count=41)
    install = put_on_hold(agreed)
    agreed.carried()
    row = agreed.crm("installs", enerflo_install_id=install)
    assert (row["panel_count"], row["status"] == "On Hold") == (41, False)


def test_two_values_that_take_their_row_out_together_are_both_questions(agreed: Desk) -> None:
    chosen(agreed, "    where: \"not (status = 'On Hold' and panel_count = 41)\"\n")
    agreed.world.resubmit_install(agreed.a_site().install_id, panel_count=41)
    install = put_on_hold(agreed)
    plan = agreed.plan()
    assert {one.field for one in agreed.changes(plan)}.isdisjoint({"status", "panel_count"})
    assert {one.field for one in agreed.undecided(plan)} >= {"status", "panel_count"}
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert status_of(agreed, install) != "On Hold"


def test_a_value_that_keeps_its_row_inside_is_written(agreed: Desk) -> None:
    chosen(agreed, '    where: "status is not null"\n')
    install = put_on_hold(agreed)
    agreed.carried()
    assert status_of(agreed, install) == "On Hold"


@pytest.mark.parametrize("how", ["trigger", "view", "generated"])
def test_a_row_that_the_table_itself_puts_outside_is_taken_back_and_parked(agreed: Desk, how: str) -> None:
    if how == "trigger":
        agreed.sql("alter table crm.installs add archived boolean not null default false")
        chosen(agreed, '    where: "not archived"\n')
        agreed.sql(
            "create function crm.archives() returns trigger language plpgsql as $$ begin"
            " new.archived := new.status = 'On Hold'; return new; end $$"
        )
        agreed.sql(
            "create trigger a before update on crm.installs for each row execute function crm.archives()"
        )
    elif how == "generated":
        agreed.sql(
            "alter table crm.installs add archived boolean generated always as (status = 'On Hold') stored"
        )
        chosen(agreed, '    where: "archived is not true"\n')
    else:
        agreed.sql("alter table crm.installs rename to all_installs")
        agreed.sql("create view crm.installs as select * from crm.all_installs where status <> 'On Hold'")
        chosen(agreed, "")
    install = put_on_hold(agreed)
    report = run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (0, 1)
    assert "would" in str(report.reasons["parked"])
    assert status_of(agreed, install) != "On Hold"
    plan = agreed.plan()
    assert agreed.changes(plan) == []
    assert "status" in [one.field for one in agreed.undecided(plan)]
