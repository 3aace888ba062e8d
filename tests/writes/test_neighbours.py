"""Accounts share the tables of a warehouse: no run reads or changes what is stored of another account."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.plan import run_plan
from tests.writes.conftest import Desk
from tests.writes.neighbour import Neighbour
from tests.writes.test_identity import in_progress, projects, status_of
from tests.writes.test_key_changes import CALM, KEYS, MILESTONES, RENAMED, TYPED
from tests.writes.test_refused import edit
from tests.writes.test_twins import edited, twin


def test_edits_of_both_sides_are_carried_as_if_there_were_no_other_account(agreed: Desk) -> None:
    first, second, third, fourth = in_progress(agreed)[:4]
    # Our own write is the last one of this row: that does not make the CRM the side that changed later.
    edit(agreed, third, panel_count=99)
    agreed.carried()
    neighbour = Neighbour(agreed)
    edit(agreed, first, status="On Hold")
    agreed.sql(
        "update enerflo.installs set status_name = 'Completed', status_id = 1303, updated_at = now(), observed_at"
        " = now() where account = 'default' and install_id = :i",
        i=second,
    )
    # As if somebody had edited it just before our write.
    agreed.sql("update crm.installs set status = 'On Hold' where enerflo_install_id = :i", i=third)
    agreed.sql(
        "update sync.agreed set crm_time = crm_time - interval '1 hour' where account = 'default'"
        " and table_name = 'installs' and field = 'status' and key ->> 'enerflo_install_id' = :key",
        key=str(third),
    )
    agreed.sql(
        "update enerflo.installs set status_name = 'Completed', observed_at = now(), updated_at = (select left_at"
        "  from sync.own_writes where account = 'default' and key ->> 'enerflo_install_id' = :key"
        "  and side = 'crm') - interval '1 millisecond' where account = 'default' and install_id = :i",
        key=str(third),
        i=third,
    )
    agreed.sql(
        "update crm.milestones set due_at = '2033-01-01', updated_at = now()"
        " where enerflo_install_id = :i and milestone_id ="
        " (select min(milestone_id) from crm.milestones where enerflo_install_id = :i)",
        i=first,
    )
    agreed.sql("delete from crm.milestones where enerflo_install_id = :i", i=fourth)
    found = set()
    for plan in run_plan(agreed.context):
        found |= {
            (one.table_name, one.key["enerflo_install_id"], one.field, one.direction, one.rule)
            for one in agreed.changes(plan)
        }
        assert {one.reason for one in agreed.undecided(plan)} <= {
            "it was deleted from the CRM since both agreed"
        }
        run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert found == {
        ("installs", first, "status", "to_enerflo", "only_side_moved"),
        ("installs", second, "status", "to_crm", "only_side_moved"),
        ("installs", third, "status", "to_crm", "later_time"),
        ("milestones", first, "due_at", "to_enerflo", "only_side_moved"),
    }
    assert status_of(agreed, first) == "On Hold"
    assert agreed.crm("installs", enerflo_install_id=second)["status"] == "Completed"
    assert agreed.plan().change_count == 0
    neighbour.assert_untouched()


def test_what_a_person_refused_is_the_accounts_own(agreed: Desk) -> None:
    first, second = in_progress(agreed)[:2]
    for install in (first, second):
        edit(agreed, install, status="On Hold")
    plan = agreed.plan()
    run_reject(agreed.context, plan.plan_hash, by="Sam", reason="no")
    neighbour = Neighbour(agreed)
    edit(agreed, second, status="Completed")
    plan = agreed.plan()
    assert [(one.key["enerflo_install_id"], one.after) for one in agreed.changes(plan)] == [
        (second, "Completed")
    ]
    assert [one.key["enerflo_install_id"] for one in agreed.undecided(plan)] == [first]
    edit(agreed, first, status="In progress")
    run_apply(agreed.context, agreed.plan().plan_hash, approved_by="Pat")
    edit(agreed, first, status="On Hold")
    assert len(agreed.changes(agreed.plan())) == 1
    neighbour.assert_untouched()
    # The other account's refusals bind nothing here.
    agreed.sql("delete from sync.refusals where account = 'default'")
    edit(agreed, second, status="On Hold")
    assert len(agreed.changes(agreed.plan())) == 2


def test_which_rows_were_one_of_several_is_the_accounts_own(desk: Desk) -> None:
    projects(desk, unique=False)
    install, other = in_progress(desk)[:2]
    twin(desk, install, "copy", "On Hold")
    desk.carried()
    desk.sql("delete from crm.installs where project_id = 'copy'")
    neighbour = Neighbour(desk)
    began = desk.one("select now() - interval '1 microsecond'")
    desk.sql(
        "insert into sync.agreed_twins (account, table_name, key, field, seen_at)"
        " select 'neighbour', table_name, key, field, now() from sync.agreed where account = 'neighbour'"
        " on conflict do nothing"
    )
    desk.carried()
    assert desk.one("select count(*) from sync.agreed_twins where account = 'default'") < desk.one(
        "select count(*) from sync.agreed_twins where account = 'neighbour'"
    )
    for row in (install, other):
        edited(desk, f"p-{row}", "Cancelled")
    desk.carried()
    assert [status_of(desk, row) for row in (install, other)] == ["Cancelled", "Cancelled"]
    # But for the rows that this test has put there.
    desk.sql("delete from sync.agreed_twins where account = 'neighbour' and seen_at > :at", at=began)
    neighbour.assert_untouched()


@pytest.mark.parametrize("change", [RENAMED, TYPED])
def test_pairs_move_along_with_the_keys_of_their_own_account(desk: Desk, change: str) -> None:
    desk.switched_on("both", *CALM)
    desk.carried()
    neighbour = Neighbour(desk)
    install = in_progress(desk)[0]
    desk.sql(change)
    desk.switched_on("both", *CALM, (MILESTONES, KEYS[change]))
    column = "install" if change is RENAMED else "enerflo_install_id"
    desk.sql(
        f"update crm.milestones set due_at = '2033-01-01', updated_at = now() where {column} = :i", i=install
    )
    plan = desk.plan()
    assert {(one.direction, one.rule) for one in desk.changes(plan)} == {("to_enerflo", "only_side_moved")}
    assert [one.endswith(": all agreed values moved along.") for one in plan.reasons] == [True]
    neighbour.assert_untouched()
