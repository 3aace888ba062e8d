"""Row-level security of a CRM table hides rows from our role, or lets it read rows that it may not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from enerflo_sync.crm.doctor import check_mapping
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.plan import run_plan
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.hidden_rows import GONE_OR_HIDDEN, MAY_BE_HIDDEN
from enerflo_sync.reconcile.report import TableReport
from tests.writes.conftest import Desk
from tests.writes.test_granted_role import as_role, paste

ON_HOLD = 4
ROLE = "clerk of rows"
PASSES_OVER = "the CRM's table passes over the write, by a trigger, rule or policy of its own"


@pytest.fixture
def clerk(agreeing: Desk) -> Iterator[AccountContext]:
    """The account as a role opens it to which policies apply; both sides agree."""
    agreeing.switched_on(
        "crm",
        ("in_flight_minutes: 30", "in_flight_minutes: 0"),
        ("  installs:\n    crm_table", "  installs:\n    delete_in: [crm]\n    crm_table"),
    )
    paste(agreeing, ROLE)
    context = as_role(agreeing, ROLE)
    run_reconcile(context)
    yield context
    context.close()
    agreeing.sql(f'drop owned by "{ROLE}"')
    agreeing.sql(f'drop role "{ROLE}"')


def policies(desk: Desk, **using: str) -> None:
    """Set which rows the role may read, insert, update and delete."""
    for name in ("select", "insert", "update", "delete"):
        condition = using.get(name, using["others"])
        how = "with check" if name == "insert" else "using"
        desk.sql(f"drop policy if exists {name}_some on crm.installs")
        desk.sql(f"create policy {name}_some on crm.installs for {name} {how} ({condition})")
    desk.sql("alter table crm.installs enable row level security")


def two(desk: Desk) -> tuple[int, int]:
    rows = desk.sql(
        "select enerflo_install_id as id from crm.installs where status = :status order by 1 limit 2",
        status=desk.crm("installs", enerflo_install_id=desk.a_site().install_id)["status"],
    )
    return rows[0]["id"], rows[1]["id"]


def installs(context: AccountContext) -> TableReport:
    (table,) = [one for one in run_reconcile(context).tables if one.table_name == "installs"]
    return table


def asked(desk: Desk, context: AccountContext) -> list[str]:
    return [one.reason for one in desk.undecided(run_plan(context)[0]) if one.table_name == "installs"]


def test_a_row_that_it_may_read_and_not_update_is_parked_and_not_called_moved_each_night(
    agreeing: Desk, clerk: AccountContext
) -> None:
    shown, written = two(agreeing)
    policies(agreeing, others="true", update=f"enerflo_install_id <> {shown}")
    for install in (shown, written):
        agreeing.world.set_status(install, ON_HOLD)
    run_poll(agreeing.context)
    plan = run_plan(clerk)[0]
    report = run_apply(clerk, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (1, 1, 0)
    assert report.reasons["parked"] == {PASSES_OVER: 1}
    assert agreeing.crm("installs", enerflo_install_id=written)["status"] == "On Hold"
    again = run_plan(clerk)[0]
    assert again.change_count == 0
    assert [PASSES_OVER in one.reason for one in agreeing.undecided(again)] == [True]


def test_nor_is_one_called_deleted_that_it_may_not_delete(agreeing: Desk, clerk: AccountContext) -> None:
    kept, gone = two(agreeing)
    policies(agreeing, others="true", delete=f"enerflo_install_id <> {kept}")
    agreeing.sql(
        "update enerflo.installs set deleted_at = now() where install_id in (:a, :b)", a=kept, b=gone
    )
    plan = run_plan(clerk)[0]
    report = run_apply(clerk, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, report.moved) == (1, 1, 0)
    assert agreeing.one("select count(*) from crm.installs where enerflo_install_id = :i", i=kept) == 1


def test_a_row_that_a_new_policy_hides_is_not_called_deleted(agreeing: Desk, clerk: AccountContext) -> None:
    hidden, _ = two(agreeing)
    policies(agreeing, others="true")
    assert not any("Row-level security" in one for one in installs(clerk).remarks)
    policies(agreeing, others=f"enerflo_install_id <> {hidden}")
    table = installs(clerk)
    assert table.only_enerflo == 1
    assert any("Row-level security" in one for one in table.remarks)
    assert asked(agreeing, clerk) == [GONE_OR_HIDDEN]


@pytest.mark.parametrize("unique", [False, True])
def test_no_second_row_is_made_of_one_that_a_policy_may_hide(
    agreeing: Desk, clerk: AccountContext, unique: bool
) -> None:
    if unique:
        agreeing.sql("create unique index on crm.installs (enerflo_install_id)")
    policies(agreeing, others="status <> 'Elsewhere'")
    new, missing = agreeing.world.create_install(), agreeing.world.create_install()
    agreeing.sql(
        "insert into crm.installs (enerflo_install_id, status, updated_at) values (:i, 'Elsewhere', now())",
        i=new,
    )
    run_poll(agreeing.context)
    plan = run_plan(clerk)[0]
    run_apply(clerk, plan.plan_hash, approved_by="Pat")
    rows = dict.fromkeys((new, missing), 0) | {
        row["id"]: row["n"]
        for row in agreeing.sql(
            "select enerflo_install_id as id, count(*) as n from crm.installs"
            " where enerflo_install_id in (:a, :b) group by 1",
            a=new,
            b=missing,
        )
    }
    assert rows == {new: 1, missing: 1 if unique else 0}
    reasons = asked(agreeing, clerk)
    assert len(reasons) == (1 if unique else 2)
    assert all(("UniqueViolation" in one) if unique else one == MAY_BE_HIDDEN for one in reasons)


def test_a_policy_that_shows_every_row_hides_none(agreeing: Desk, clerk: AccountContext) -> None:
    policies(agreeing, others="true")
    new = agreeing.world.create_install()
    run_poll(agreeing.context)
    plan = run_plan(clerk)[0]
    run_apply(clerk, plan.plan_hash, approved_by="Pat")
    assert agreeing.one("select count(*) from crm.installs where enerflo_install_id = :i", i=new) == 1
    with clerk.engine.connect() as connection:
        found = check_mapping(connection, clerk.config, "default", Path("sync.yaml"))
    assert not any("row-level security" in one.found for one in found)
    agreeing.sql("create policy fewer on crm.installs as restrictive using (panel_count > 0)")
    with clerk.engine.connect() as connection:
        found = check_mapping(connection, clerk.config, "default", Path("sync.yaml"))
    assert any("row-level security" in one.found for one in found)
