"""A CRM table that is only a copy: approved changes are handed over, and count when the copy shows them."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.apply.run import ApplyReport
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.report import Cause, TableReport
from tests.writes.conftest import Desk

INSTALLS = "    crm_table: crm.installs\n"
HANDED = (INSTALLS, f"{INSTALLS}    write_to: changes\n")
# It follows from the number of panels.
ALONE = (
    "      system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.005, source_of_truth: enerflo}\n",
    "",
)
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
ON_HOLD = 4


@pytest.fixture
def copied(agreed: Desk) -> Desk:
    """An account whose CRM's installs are a copy, and are changed by what is handed over."""
    agreed.sql("alter table crm.installs add _fivetran_synced timestamptz default now()")
    agreed.switched_on("both", HANDED, ALONE, AT_ONCE)
    agreed.carried()
    assert handed(agreed) == []
    return agreed


@pytest.fixture
def install(copied: Desk) -> int:
    """An install whose panel count differs at Enerflo."""
    state = copied.a_site()
    counted(copied, state.install_id, 40)
    return state.install_id


def counted(desk: Desk, install: int, panels: int) -> None:
    """Enerflo gets another panel count, and the mirror knows."""
    desk.world.resubmit_install(install, panel_count=panels)
    run_poll(desk.context)


def handed(desk: Desk, *, every: bool = False) -> list[Any]:
    rows = desk.sql("select * from sync.crm_changes order by number")
    return rows if every else [row for row in rows if row["state"] == "open"]


def approved(desk: Desk) -> tuple[PlanReport, ApplyReport]:
    plan = desk.plan()
    return plan, run_apply(desk.context, plan.plan_hash, approved_by="Pat")


def copy_shows(desk: Desk, install: int, **columns: Any) -> None:
    """Copy the CRM's row anew, as a copy tool does."""
    sets = ", ".join(f"{name} = :{name}" for name in columns)
    desk.sql(
        f"update crm.installs set {sets}, updated_at = now(), _fivetran_synced = now()"
        " where enerflo_install_id = :id",
        id=install,
        **columns,
    )


def table(desk: Desk, *, full: bool = False) -> TableReport:
    (found,) = (one for one in run_reconcile(desk.context, full=full).tables if one.table_name == "installs")
    return found


def causes(desk: Desk, *, full: bool = False) -> dict[str, int]:
    return {str(cause): number for cause, number in table(desk, full=full).by_cause.items() if number}


def test_a_change_is_handed_over_and_the_copy_is_not_touched(copied: Desk, install: int) -> None:
    before = copied.crm("installs", enerflo_install_id=install)
    plan, report = approved(copied)
    assert (report.handed_over, report.applied, report.moved) == (1, 0, 0)
    assert copied.crm("installs", enerflo_install_id=install) == before
    (row,) = handed(copied)
    assert (row["column"], row["before"], row["after"], row["op"]) == (
        "panel_count",
        before["panel_count"],
        40,
        "update",
    )
    assert (row["key"], row["plan_hash"], row["approved_by"]) == (
        {"enerflo_install_id": install},
        plan.plan_hash,
        "Pat",
    )
    assert [one["decision"] for one in copied.ledger(plan_hash=plan.plan_hash)] == ["handed_over"]
    for full in (True, False):
        assert causes(copied, full=full) == {"on_its_way": 1}
    assert copied.plan().change_count == 0
