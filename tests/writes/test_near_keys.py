"""A record whose row spells its key otherwise gets no second row."""

from __future__ import annotations

import pytest

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.reconcile.near_keys import OTHER_SPELLING
from tests.writes.conftest import Desk


def test_no_second_row_is_made_of_what_the_crm_names_in_another_spelling(agreed: Desk) -> None:
    agreed.switched_on("crm")
    near, gone = (
        row["id"] for row in agreed.sql("select enerflo_install_id as id from crm.installs limit 2")
    )
    agreed.sql("alter table crm.installs alter enerflo_install_id type text")
    agreed.sql(
        "update crm.installs set enerflo_install_id = '00' || :id where enerflo_install_id = :id",
        id=str(near),
    )
    agreed.sql("delete from crm.installs where enerflo_install_id = :id", id=str(gone))
    agreed.sql("delete from sync.agreed")
    plan = agreed.plan()
    made = {change.key["enerflo_install_id"] for change in agreed.changes(plan) if change.op == "insert"}
    assert made == {str(gone)}
    (asked,) = [one for one in agreed.undecided(plan) if one.key == {"enerflo_install_id": str(near)}]
    assert asked.reason == OTHER_SPELLING
    report: ApplyReport = run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert report.applied
    rows = agreed.sql(
        "select enerflo_install_id as id from crm.installs where ltrim(enerflo_install_id, '0') = :id",
        id=str(near),
    )
    assert [row["id"] for row in rows] == [f"00{near}"]


@pytest.mark.parametrize("handed_over", [False, True])
@pytest.mark.parametrize("spelled", ["00{}", "INS-{}", "{} (old)"])
def test_a_row_that_somebody_makes_after_the_plan_in_another_spelling_gets_no_second_one(
    agreed: Desk, spelled: str, handed_over: bool
) -> None:
    table = "    crm_table: crm.installs\n"
    agreed.switched_on("crm", *([(table, f"{table}    write_to: changes\n")] if handed_over else []))
    by_hand, lacking = (
        str(row["id"]) for row in agreed.sql("select enerflo_install_id as id from crm.installs limit 2")
    )
    agreed.sql("alter table crm.installs alter enerflo_install_id type text")
    agreed.sql(
        "delete from crm.installs where enerflo_install_id in (:one, :other)", one=by_hand, other=lacking
    )
    agreed.sql("delete from sync.agreed")
    plan = agreed.plan()
    agreed.sql(
        "insert into crm.installs (enerflo_install_id, updated_at) values (:id, now())",
        id=spelled.format(by_hand),
    )
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    ended = {
        change.key["enerflo_install_id"]: change.state
        for change in agreed.changes(plan, table_name="installs", op="insert")
    }
    made = "handed_over" if handed_over else "applied"
    assert (ended[by_hand], ended[lacking]) == ("moved", made)
    (asked,) = [one for one in agreed.undecided(agreed.plan()) if one.key == {"enerflo_install_id": by_hand}]
    assert asked.reason == OTHER_SPELLING


def test_a_key_that_lost_its_last_digits_keeps_each_record_that_it_may_be_from_being_made(
    agreed: Desk,
) -> None:
    agreed.switched_on("crm")
    lacking = [
        str(row["id"]) for row in agreed.sql("select enerflo_install_id as id from crm.installs limit 2")
    ]
    agreed.sql("alter table crm.installs alter enerflo_install_id type text")
    agreed.sql("delete from crm.installs where enerflo_install_id = any(:ids)", ids=lacking)
    agreed.sql("delete from sync.agreed")
    plan = agreed.plan()
    made = agreed.changes(plan, table_name="installs", op="insert")
    assert {change.key["enerflo_install_id"] for change in made} == set(lacking)
    # Both are 4400000 and some.
    agreed.sql("insert into crm.installs (enerflo_install_id, updated_at) values ('4.4E+06', now())")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert {change.state for change in agreed.changes(plan, table_name="installs", op="insert")} == {"moved"}
    asked = {
        one.key["enerflo_install_id"]: one.reason
        for one in agreed.undecided(agreed.plan())
        if one.table_name == "installs"
    }
    assert {key: asked.get(key) for key in lacking} == dict.fromkeys(lacking, OTHER_SPELLING)


@pytest.mark.parametrize("edit", ["panel_type = 'Roof'", "is_deleted = true"], ids=["outside", "marked"])
@pytest.mark.parametrize("since", [False, True], ids=["before the plan", "since the plan"])
def test_a_row_that_does_not_count_keeps_its_record_from_being_made_in_any_spelling(
    agreed: Desk, edit: str, since: bool
) -> None:
    agreed.sql("alter table crm.installs add is_deleted boolean not null default false")
    table = "    crm_table: crm.installs\n"
    chosen = "    where: \"coalesce(panel_type, '') <> 'Roof'\"\n    deleted_when: {is_deleted: true}\n"
    agreed.switched_on("crm", (table, table + chosen))
    near, gone = (
        str(row["id"]) for row in agreed.sql("select enerflo_install_id as id from crm.installs limit 2")
    )
    agreed.sql("alter table crm.installs alter enerflo_install_id type text")
    agreed.sql("delete from sync.agreed")
    spelled = f"update crm.installs set enerflo_install_id = '00' || enerflo_install_id, {edit}"
    agreed.sql("delete from crm.installs where enerflo_install_id = :id", id=gone)
    if since:
        agreed.sql(
            "create table public.aside as select * from crm.installs where enerflo_install_id = :id", id=near
        )
        agreed.sql("delete from crm.installs where enerflo_install_id = :id", id=near)
        plan = agreed.plan()
        agreed.sql("insert into crm.installs select * from public.aside")
        agreed.sql(f"{spelled} where enerflo_install_id = :id", id=near)
    else:
        agreed.sql(f"{spelled} where enerflo_install_id = :id", id=near)
        plan = agreed.plan()
        (asked,) = [one for one in agreed.undecided(plan) if one.key == {"enerflo_install_id": near}]
        assert asked.reason == OTHER_SPELLING
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    ids = [row["id"] for row in agreed.sql("select enerflo_install_id as id from crm.installs")]
    assert (gone in ids, f"00{near}" in ids, near in ids) == (True, True, False)
