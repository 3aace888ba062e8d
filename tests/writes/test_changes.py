"""A CRM table that is only a copy: approved changes are handed over, and count when the copy shows them."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.explain.text import render_explanation
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.report import Cause, TableReport
from tests.writes.conftest import Desk
from tests.writes.kept import brought

INSTALLS = "    crm_table: crm.installs\n"
HANDED = (INSTALLS, f"{INSTALLS}    write_to: changes\n")
# It follows from the number of panels.
ALONE = (
    "      system_size_kw: {enerflo: system_size_kw, type: number, tolerance: 0.005, source_of_truth: enerflo}\n",
    "",
)
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")
NO_LOOKBACK = ("keep_days: 90\n  lookback_minutes: 15", "keep_days: 90\n  lookback_minutes: 0")
ON_HOLD = 4


@pytest.fixture
def copied(agreed: Desk) -> Desk:
    """An account whose CRM's installs are a copy, and are changed by what is handed over."""
    brought(agreed, _copy)
    return agreed


def _copy(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs add _fivetran_synced timestamptz default now()")
    agreed.switched_on("both", HANDED, ALONE, AT_ONCE)
    agreed.carried()
    assert handed(agreed) == []


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


def another_status(desk: Desk, install: int) -> str:
    """Return a status of the company that the CRM's row does not have."""
    rows = desk.sql(
        "select s.name from enerflo.install_statuses s, crm.installs c where c.enerflo_install_id = :id"
        " and s.name <> c.status and s.name not in ('Voided', 'Completed', 'On Hold') order by 1 limit 1",
        id=install,
    )
    return str(rows[0]["name"])


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


def test_a_change_that_the_copy_shows_is_applied_and_agreed_on(copied: Desk, install: int) -> None:
    plan, _ = approved(copied)
    copy_shows(copied, install, panel_count=40)
    assert causes(copied) == {}
    assert copied.plan().change_count == 0
    assert handed(copied) == []
    (row,) = handed(copied, every=True)
    assert (row["state"], row["ended_at"] is not None) == ("arrived", True)
    decisions = [(one["decision"], one["evidence"]) for one in copied.ledger(plan_hash=plan.plan_hash)]
    assert decisions[-1] == ("applied", "copy:crm.installs")
    assert [change.state for change in copied.changes(plan)] == ["applied"]
    (pair,) = copied.sql(
        "select value, agreed_by from sync.agreed where table_name = 'installs' and field = 'panel_count'"
        " and key = jsonb_build_object('enerflo_install_id', cast(:id as bigint))",
        id=install,
    )
    assert (pair["value"], pair["agreed_by"]) == (40, "push")
    copied.settled()


def test_an_acknowledged_change_is_on_its_way_until_the_copy_shows_it(copied: Desk, install: int) -> None:
    approved(copied)
    (waiting,) = copied.sql("select * from sync.crm_changes_open")
    assert (waiting["record_key"], waiting["column"], waiting["after"]) == (str(install), "panel_count", "40")
    copied.sql(
        "update sync.crm_changes_open set acknowledged_at = now() where change_id = :id",
        id=waiting["change_id"],
    )
    assert copied.sql("select * from sync.crm_changes_open") == []
    assert causes(copied) == {"on_its_way": 1}
    assert copied.plan().change_count == 0
    copy_shows(copied, install, panel_count=40)
    copied.plan()
    (row,) = handed(copied, every=True)
    assert (row["state"], row["acknowledged_at"] is not None) == ("arrived", True)


@pytest.mark.parametrize("full", [True, False])
def test_what_does_not_arrive_in_time_is_late_and_no_all_clear(
    copied: Desk, install: int, full: bool
) -> None:
    # With a key of its own what did not move is taken over from the reconciliation before.
    copied.switched_on("both", HANDED, ALONE, AT_ONCE, NO_LOOKBACK)
    copied.sql("alter table crm.installs add primary key (enerflo_install_id)")
    plan, _ = approved(copied)
    assert causes(copied, full=full) == {"on_its_way": 1}
    copied.sql("update sync.crm_changes set made_at = made_at - interval '25 hours'")
    found = table(copied, full=full)
    assert dict(found.by_cause) == {Cause.UNEXPLAINED: 1}
    (said,) = [remark for remark in found.remarks if "late" in remark]
    assert "1 change is late: it was handed over more than 24 hours ago" in said
    assert plan.plan_hash[:12] in said
    assert "No tool acknowledged" in said
    assert not run_reconcile(copied.context).within_budget
    assert copied.plan().change_count == 0
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    assert causes(copied, full=full) == {"on_its_way": 1}


def test_a_value_that_moves_on_takes_the_place_of_the_older_change(copied: Desk, install: int) -> None:
    first, _ = approved(copied)
    counted(copied, install, 44)
    assert causes(copied) == {"edited_in_enerflo": 1}
    _second, report = approved(copied)
    assert report.handed_over == 1
    older, newer = handed(copied, every=True)
    assert (older["state"], newer["state"], newer["after"]) == ("superseded", "open", 44)
    assert [one["decision"] for one in copied.ledger(plan_hash=first.plan_hash)] == [
        "handed_over",
        "superseded",
    ]
    copy_shows(copied, install, panel_count=44)
    assert copied.plan().change_count == 0
    assert [row["state"] for row in handed(copied, every=True)] == ["superseded", "arrived"]
    assert all(row["ended_at"] for row in handed(copied, every=True))
    copied.settled()


def test_an_older_change_that_comes_through_first_is_no_edit_by_a_person(copied: Desk, install: int) -> None:
    approved(copied)
    counted(copied, install, 44)
    approved(copied)
    copy_shows(copied, install, panel_count=40)
    plan = copied.plan()
    assert plan.change_count == 0
    assert plan.undecided == {}
    assert [row["state"] for row in handed(copied, every=True)] == ["arrived", "open"]
    assert causes(copied) == {"on_its_way": 1}
    copy_shows(copied, install, panel_count=44)
    assert copied.plan().change_count == 0
    assert [row["state"] for row in handed(copied, every=True)] == ["arrived", "arrived"]
    copied.settled()


@pytest.mark.parametrize("truth", ["enerflo", "newest"])
def test_nor_is_one_that_a_copy_brings_which_stopped_meanwhile(
    copied: Desk, install: int, truth: str
) -> None:
    """The tool that copies stood still for longer than the change was to be looked for."""
    panels = "panel_count: {enerflo: panel_count, type: integer, source_of_truth: enerflo}"
    copied.switched_on("both", HANDED, ALONE, AT_ONCE, (panels, panels.replace("h: enerflo", f"h: {truth}")))
    approved(copied)
    counted(copied, install, 44)
    approved(copied)
    long = "interval '30 hours'"
    copied.sql(f"update crm.installs set _fivetran_synced = _fivetran_synced - {long}")
    copied.sql(f"update sync.crm_changes set made_at = made_at - {long}, state_at = state_at - {long}")
    copied.plan()
    # It brings a value that another tool took over before the next one took its place.
    copy_shows(copied, install, panel_count=40)
    plan = copied.plan()
    assert copied.changes(plan, direction="to_enerflo") == []
    assert plan.undecided == {}
    assert [row["state"] for row in handed(copied, every=True)] == ["arrived", "open"]
    # What nobody wrote is forgotten once the copy goes on.
    copied.sql(f"update sync.crm_changes set made_at = made_at - {long}, state_at = state_at - {long}")
    copy_shows(copied, install, panel_count=44)
    assert copied.plan().change_count == 0
    assert all(row["ended_at"] for row in handed(copied, every=True))


def test_a_value_that_goes_back_is_not_carried_any_more_and_is_mended_where_it_was(
    copied: Desk, install: int
) -> None:
    before = copied.crm("installs", enerflo_install_id=install)["panel_count"]
    approved(copied)
    counted(copied, install, before)
    assert causes(copied) == {}
    assert copied.plan().change_count == 0
    (row,) = handed(copied, every=True)
    assert (row["state"], row["reason"]) == (
        "superseded",
        "Enerflo says again what the CRM's copy shows",
    )
    # A tool had taken it over all the same.
    copy_shows(copied, install, panel_count=40)
    _, report = approved(copied)
    assert report.handed_over == 1
    assert [(one["state"], one["after"]) for one in handed(copied, every=True)] == [
        ("arrived", 40),
        ("open", before),
    ]


def test_a_persons_edit_meanwhile_is_a_conflict_as_usual(copied: Desk, install: int) -> None:
    copied.world.set_status(install, ON_HOLD)
    run_poll(copied.context)
    _, report = approved(copied)
    assert report.handed_over == 2
    status = another_status(copied, install)
    copy_shows(copied, install, status=status)
    assert causes(copied) == {"on_its_way": 1, "conflict": 1}
    plan = copied.plan()
    (change,) = copied.changes(plan)
    # The CRM's row was changed later.
    assert (change.field, change.direction, change.after) == ("status", "to_enerflo", status)
    states = {row["column"]: (row["state"], row["reason"]) for row in handed(copied, every=True)}
    assert states["status"] == ("superseded", "the CRM's copy shows another value")
    assert states["panel_count"][0] == "open"


def test_both_directions_in_one_table(copied: Desk, install: int) -> None:
    status = another_status(copied, install)
    copy_shows(copied, install, status=status)
    _plan, report = approved(copied)
    assert (report.applied, report.handed_over) == (1, 1)
    row = copied.world.truth.install(install)
    assert row is not None
    assert row.status_name == status
    copied.plan()
    copy_shows(copied, install, panel_count=40)
    copied.settled()


def test_a_copy_that_moved_since_the_plan_is_left_alone(copied: Desk, install: int) -> None:
    plan = copied.plan()
    copy_shows(copied, install, panel_count=77)
    report = run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert (report.handed_over, report.moved) == (0, 1)
    assert handed(copied, every=True) == []
    assert [change.before for change in copied.changes(copied.plan())] == [77]


def test_a_copy_that_is_synced_between_plan_and_apply_is_no_other_row(copied: Desk, install: int) -> None:
    plan = copied.plan()
    copied.sql("update crm.installs set _fivetran_synced = now() + interval '1 minute'")
    report = run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert (report.handed_over, report.moved) == (1, 0)


def test_undone_before_a_tool_took_it_over_it_is_withdrawn_and_stays_so(copied: Desk, install: int) -> None:
    before = copied.crm("installs", enerflo_install_id=install)["panel_count"]
    plan, _ = approved(copied)
    undo = run_undo(copied.context, plan.plan_hash)
    (change,) = copied.changes(undo)
    assert (change.before, change.after, change.rule) == (40, before, "withdraw")
    report = run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.handed_over) == (1, 0)
    (row,) = handed(copied, every=True)
    assert (row["state"], row["reason"]) == ("withdrawn", "it was undone before a tool took it over")
    assert [change.state for change in copied.changes(plan)] == ["superseded"]
    assert causes(copied) == {"left_apart": 1}
    assert copied.plan().change_count == 0
    counted(copied, install, 44)
    _, again = approved(copied)
    assert [row["after"] for row in handed(copied)] == [44]
    assert again.handed_over == 1


def test_undone_after_a_tool_took_it_over_waits_until_it_arrives(copied: Desk, install: int) -> None:
    plan, _ = approved(copied)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    undo = run_undo(copied.context, plan.plan_hash)
    assert undo.change_count == 0
    (why,) = undo.undecided
    assert why.startswith("a tool took it over, and the CRM's copy does not show it yet")


def test_a_tool_that_takes_over_what_is_being_undone_is_not_overtaken(copied: Desk, install: int) -> None:
    plan, _ = approved(copied)
    undo = run_undo(copied.context, plan.plan_hash)
    copied.sql("update sync.crm_changes set acknowledged_at = now()")
    report = run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert [row["state"] for row in handed(copied)] == ["open"]


def test_undone_after_it_arrived_the_inverse_is_handed_over(copied: Desk, install: int) -> None:
    before = copied.crm("installs", enerflo_install_id=install)["panel_count"]
    plan, _ = approved(copied)
    copy_shows(copied, install, panel_count=40)
    undo = run_undo(copied.context, plan.plan_hash)
    (change,) = copied.changes(undo)
    assert (change.before, change.after, change.rule) == (40, before, "undo")
    report = run_apply(copied.context, undo.plan_hash, approved_by="Pat")
    assert (report.applied, report.handed_over) == (0, 1)
    assert copied.plan().change_count == 0
    (row,) = handed(copied)
    assert (row["kind"], row["after"], row["copy_value"]) == ("undo", before, 40)
    copy_shows(copied, install, panel_count=before)
    assert copied.plan().change_count == 0
    assert [one["state"] for one in handed(copied, every=True)] == ["arrived", "arrived"]
    assert causes(copied) == {"left_apart": 1}


def test_an_apply_that_is_killed_hands_nothing_over_twice(
    copied: Desk, install: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = copied.plan()

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("enerflo_sync.apply.apply_plan.apply_to_crm", killed)
        with pytest.raises(KeyboardInterrupt):
            run_apply(copied.context, plan.plan_hash, approved_by="Pat")
    assert handed(copied, every=True) == []
    for expected in (1, 1):
        report = run_apply(copied.context, plan.plan_hash, approved_by="Pat")
        assert report.handed_over == expected
    assert len(handed(copied, every=True)) == 1
    with pytest.raises(sa.exc.IntegrityError):
        copied.sql(
            "insert into sync.crm_changes (account, change_id, table_name, crm_table, key, op, plan_hash, kind,"
            " approved_by, made_at, state, state_at) select account, change_id, table_name, crm_table, key, op,"
            " plan_hash, kind, approved_by, made_at, state, state_at from sync.crm_changes"
        )


def test_what_a_person_refuses_is_not_handed_over(copied: Desk, install: int) -> None:
    plan = copied.plan()
    run_reject(copied.context, plan.plan_hash, by="Pat", reason=None)
    assert copied.plan().change_count == 0
    assert handed(copied, every=True) == []


def test_explain_tells_where_a_change_is(copied: Desk, install: int) -> None:
    plan, _ = approved(copied)
    told = run_explain(copied.context, "install", str(install), field="panel_count")
    text = render_explanation(told)
    flat = " ".join(text.split())
    assert f"by plan {plan.plan_hash[:12]}, and the CRM's copy does not show it yet" in flat
    assert "40 was handed over for the CRM in run" in flat
    copy_shows(copied, install, panel_count=40)
    copied.plan()
    flat = " ".join(
        render_explanation(run_explain(copied.context, "install", str(install), field="panel_count")).split()
    )
    assert "it was handed over, and the CRM's copy shows it" in flat
    assert "On its way" not in flat
