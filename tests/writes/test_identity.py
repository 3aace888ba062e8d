"""A pair of values belongs to one record of each side: a row that names another record has no base."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

KEY = "    key: {enerflo_install_id: install_id}\n    updated_at: updated_at\n    fields:\n      deal_id"
OWN_KEY = (
    "    key: [project_id]\n    join: {enerflo_install_id: install_id}\n"
    '    on_insert: {project_id: "p-{install_id}"}\n'
    "    updated_at: updated_at\n    fields:\n      deal_id"
)
NEWEST = "fold_case: true, source_of_truth: newest}"


def projects(desk: Desk, *, unique: bool = True, status: str = "newest", mode: str = "both") -> Desk:
    """Installs that the CRM names by a key of its own, both of whose sides agreed once."""
    desk.sql("alter table crm.installs drop constraint if exists installs_pkey")
    for index in desk.sql(
        "select indexrelid::regclass as name from pg_index where indrelid = 'crm.installs'::regclass"
    ):
        desk.sql(f"drop index {index['name']}")
    desk.sql(
        "delete from crm.installs a using crm.installs b where a.ctid > b.ctid and"
        " a.enerflo_install_id = b.enerflo_install_id"
    )
    desk.sql("alter table crm.installs add project_id text")
    desk.sql("update crm.installs set project_id = concat('p-', enerflo_install_id)")
    if unique:
        desk.sql("alter table crm.installs add primary key (project_id)")
        desk.sql("alter table crm.installs add unique (enerflo_install_id)")
    # A row may be there for a while without its record.
    desk.sql("alter table crm.installs alter enerflo_install_id drop not null")
    desk.switched_on(mode, (KEY, OWN_KEY), (NEWEST, NEWEST.replace("newest", status)))
    desk.carried()
    assert desk.plan().change_count == 0
    return desk


def in_progress(desk: Desk) -> list[int]:
    return [row.install_id for row in desk.world.truth.installs() if row.status_name == "In progress"]


def relink(desk: Desk, row: int, record: int, **values: Any) -> None:
    """Let the row of one install name another install, whose own row goes; maybe with an edit."""
    desk.sql("delete from crm.installs where project_id = :id", id=f"p-{record}")
    sets = "".join(f", {name} = :{name}" for name in values)
    desk.sql(
        f"update crm.installs set enerflo_install_id = :record, updated_at = now(){sets}"
        " where project_id = :id",
        id=f"p-{row}",
        record=record,
        **values,
    )


def of(desk: Desk, plan: Any, install: int) -> list[Any]:
    key = {"project_id": f"p-{install}"}
    return [one for one in (*desk.changes(plan), *desk.undecided(plan)) if one.key == key]


def status_of(desk: Desk, install: int) -> str:
    found = desk.world.truth.install(install)
    assert found is not None
    return found.status_name


@pytest.mark.parametrize("status", ["review", "newest", "crm", "enerflo"])
def test_a_relinked_row_has_no_base(desk: Desk, status: str) -> None:
    projects(desk, status=status)
    first, other = in_progress(desk)[:2]
    relink(desk, first, other, status="On Hold")
    # A change of one install of a few waits for a person, in a plan beside the rest.
    plans = run_plan(desk.context)
    (found,) = [one for plan in plans for one in of(desk, plan, first) if one.field == "status"]
    assert any(found in desk.undecided(plan) for plan in plans) is (status == "review")
    facts = desk.sql(
        "select facts, agreed_at, agreed_row from sync.plan_changes"
        " where plan_hash = any(:plans) and field = 'status'",
        plans=[plan.plan_hash for plan in plans],
    )
    assert all("base_known" not in row["facts"] for row in facts)
    assert [(row["agreed_at"], row["agreed_row"]) for row in facts] == [(None, None)] * len(facts)
    if status == "review":
        for plan in plans:
            run_apply(desk.context, plan.plan_hash, approved_by="Pat")
        assert status_of(desk, other) == "In progress"


@pytest.mark.parametrize("status", ["newest", "crm"])
def test_a_relinked_row_sends_nothing_that_was_agreed_on_for_the_record_before(
    desk: Desk, status: str
) -> None:
    projects(desk, status=status)
    first, other = in_progress(desk)[:2]
    desk.world.set_status(other, 4)
    run_poll(desk.context)
    relink(desk, first, other)
    plans = run_plan(desk.context)
    assert [one.field for plan in plans for one in desk.changes(plan) if one.direction == "to_enerflo"] == []
    (asked,) = {one.reason for plan in plans for one in desk.undecided(plan) if one.field == "status"}
    assert "named another record" in str(asked)
    for plan in plans:
        run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert status_of(desk, other) == "On Hold"
    # What a person writes there from then on is an edit.
    desk.sql(
        "update crm.installs set status = 'Cancelled', updated_at = now() where project_id = :id",
        id=f"p-{first}",
    )
    desk.carried()
    assert status_of(desk, other) == "Cancelled"


def test_a_relinked_row_agrees_anew_and_is_a_base_from_then_on(desk: Desk) -> None:
    projects(desk, status="review")
    first, other = in_progress(desk)[:2]
    relink(desk, first, other)
    desk.carried()
    pairs = desk.sql(
        "select distinct enerflo_key from sync.agreed where key ->> 'project_id' = :id and field = 'status'",
        id=f"p-{first}",
    )
    assert [pair["enerflo_key"] for pair in pairs] == [{"install_id": other}]
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where project_id = :id",
        id=f"p-{first}",
    )
    desk.carried()
    assert status_of(desk, other) == "On Hold"
    assert status_of(desk, first) == "In progress"


def test_the_record_that_a_relinked_row_named_before_is_not_made_again(desk: Desk) -> None:
    """The row that the other record had is gone: an import may have numbered the rows anew. A person is asked."""
    projects(desk, status="review", mode="crm")
    first, other = in_progress(desk)[:2]
    relink(desk, first, other)
    for _ in range(2):
        # Before and after its pairs are replaced.
        report = run_reconcile(desk.context, full=True)
        causes = desk.sql(
            "select cause from sync.differences where reconciliation_id = :id and field is null",
            id=report.reconciliation_id,
        )
        assert [row["cause"] for row in causes if row["cause"] != "duplicate_identity"] == ["deleted_in_crm"]
        desk.plan()


def test_where_the_other_record_still_has_its_row_the_row_was_relinked(desk: Desk) -> None:
    """No import numbered the rows anew: the record that the row named before may get a row again."""
    projects(desk, unique=False, status="review", mode="crm")
    first, other = in_progress(desk)[:2]
    desk.sql(
        "update crm.installs set enerflo_install_id = :other, updated_at = now() where project_id = :id",
        other=other,
        id=f"p-{first}",
    )
    report = run_reconcile(desk.context, full=True)
    causes = desk.sql(
        "select cause from sync.differences where reconciliation_id = :id and field is null order by 1",
        id=report.reconciliation_id,
    )
    assert [row["cause"] for row in causes] == ["duplicate_identity", "missing_in_crm"]


def test_a_row_that_is_relinked_between_plan_and_apply_is_not_written(desk: Desk) -> None:
    projects(desk)
    first, other = in_progress(desk)[:2]
    desk.world.set_status(first, 4)
    run_poll(desk.context)
    plan = desk.plan()
    assert desk.changes(plan, field="status")
    relink(desk, first, other)
    report = run_apply(desk.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert desk.crm("installs", project_id=f"p-{first}")["status"] == "In progress"


def test_an_undo_leaves_a_row_alone_that_names_another_record_by_now(desk: Desk) -> None:
    projects(desk)
    first, other = in_progress(desk)[:2]
    desk.world.set_status(first, 4)
    run_poll(desk.context)
    applied = desk.carried()
    relink(desk, first, other)
    undo = run_undo(desk.context, applied.plan_hash)
    assert not desk.changes(undo, field="status")
    assert [one.reason for one in desk.undecided(undo) if one.field == "status"] == [
        "its row names another record of Enerflo by now"
    ]


def test_explain_shows_no_pair_of_the_record_that_a_row_named_before(desk: Desk) -> None:
    projects(desk)
    first, other = in_progress(desk)[:2]
    relink(desk, first, other, status="On Hold")
    told = run_explain(desk.context, "install", f"p-{first}", field="status")
    (story,) = told.fields
    assert story.agreed is None


def test_a_pair_of_which_the_record_is_unknown_is_no_base_until_both_sides_are_equal(desk: Desk) -> None:
    projects(desk, status="review")
    first, other = in_progress(desk)[:2]
    desk.sql("update sync.agreed set enerflo_key = null")
    desk.sql(
        "update crm.installs set status = 'On Hold', updated_at = now() where project_id = :id",
        id=f"p-{first}",
    )
    desk.sql("update crm.installs set updated_at = now() where project_id = :id", id=f"p-{other}")
    plan = desk.plan()
    assert [one.field for one in of(desk, plan, first)] == ["status"]
    assert desk.undecided(plan)
    pair = "select enerflo_key from sync.agreed where key ->> 'project_id' = :id and field = 'status'"
    assert desk.one(pair, id=f"p-{other}") == {"install_id": other}
    assert desk.one(pair, id=f"p-{first}") is None
