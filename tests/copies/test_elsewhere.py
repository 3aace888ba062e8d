"""A CRM in another database: it is copied, compared, and changed there, in every kind of database alike."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.copies.carry import RemoteWriter
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.reconcile.report import ReconciliationReport
from tests.copies.conftest import CRM, Elsewhere
from tests.writes.conftest import Desk
from tests.writes.test_changes import ALONE, AT_ONCE, counted

INSTALLS = "    crm_table: crm.installs\n"


def differing(report: ReconciliationReport) -> dict[str, dict[str, int]]:
    found = {
        one.table_name: {str(cause): n for cause, n in one.by_cause.items() if n} for one in report.tables
    }
    return {name: causes for name, causes in found.items() if causes}


def approved(desk: Desk) -> ApplyReport:
    plan = desk.plan()
    return run_apply(desk.context, plan.plan_hash, approved_by="Pat")


@pytest.fixture
def install(away: Desk) -> int:
    """An install whose panel count differs at Enerflo."""
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    away.carried()
    install = away.a_site().install_id
    counted(away, install, 40)
    return install


def test_a_crm_in_another_database_agrees_as_it_did_in_the_warehouse(away: Desk) -> None:
    assert differing(run_reconcile(away.context)) == {}
    assert away.plan().change_count == 0


def test_only_what_changed_is_read_again(away: Desk, elsewhere: Elsewhere) -> None:
    first = run_copy(away.context)
    assert [one.rows_read for one in first] == [one.rows for one in first]
    assert min(one.rows for one in first) > 0
    assert [one.rows_read for one in run_copy(away.context)] == [0] * len(first)
    # An edit that nothing dates.
    install = away.a_site().install_id
    elsewhere.sql("update crm.installs set panel_count = 77 where enerflo_install_id = :id", id=install)
    elsewhere.sql(
        "delete from crm.notes where note_id = (select min(note_id) from (select * from crm.notes) n)"
    )
    again = {one.table_name: one for one in run_copy(away.context)}
    assert 0 < again["installs"].rows_read < 10
    assert again["milestones"].rows_read == 0
    kept = away.one(
        'select panel_count from crm_copies."default.installs" where enerflo_install_id = :id', id=install
    )
    assert kept == 77
    assert away.one('select count(*) from crm_copies."default.notes"') == again["notes"].rows
    assert again["notes"].rows == next(one.rows for one in first if one.table_name == "notes") - 1


def test_a_change_of_enerflo_reaches_the_other_database(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    report = approved(away)
    assert (report.applied, report.handed_over, report.moved, report.parked) == (1, 0, 0, 0)
    (run,) = away.sql("select read, applied, skipped from sync.runs where run_id = :run", run=report.run_id)
    assert (run["read"], run["applied"], run["skipped"]) == (1, 1, 0)
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40
    assert away.agreed("installs", "panel_count", enerflo_install_id=install) == 40
    away.settled()


def test_an_edit_of_the_other_database_reaches_enerflo(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    approved(away)
    status = elsewhere.one("installs", enerflo_install_id=install)["status"]
    other = next(s for s in ("On Hold", "In progress") if s != status)
    elsewhere.sql(
        "update crm.installs set status = :status, updated_at = :now where enerflo_install_id = :id",
        status=other,
        now=elsewhere.given(away.sql("select now() as now")[0]["now"]),
        id=install,
    )
    assert approved(away).applied == 1
    assert away.one("select status_name from enerflo.installs where install_id = :id", id=install) == other
    away.settled()


def test_a_new_record_is_made_in_the_other_database_once(away: Desk, elsewhere: Elsewhere) -> None:
    install = away.a_site().install_id
    away.switched_on("both", CRM, AT_ONCE)
    away.carried()
    elsewhere.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    away.sql("delete from sync.agreed where table_name = 'installs'")
    report = approved(away)
    assert report.applied > 0
    assert elsewhere.one("installs", enerflo_install_id=install)["enerflo_install_id"] == install
    away.settled()


def test_a_row_that_moved_since_the_plan_is_not_overwritten(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    plan = away.plan()
    elsewhere.sql("update crm.installs set panel_count = 41 where enerflo_install_id = :id", id=install)
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 41


def test_another_column_that_moved_does_not_keep_a_change_from_its_row(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    plan = away.plan()
    elsewhere.sql("update crm.installs set panel_type = 'Else' where enerflo_install_id = :id", id=install)
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    row = elsewhere.one("installs", enerflo_install_id=install)
    assert (row["panel_count"], row["panel_type"]) == (40, "Else")


class _Killed(BaseException):
    pass


@pytest.mark.parametrize(("after_write", "edit"), [(False, None), (True, None), (True, 39)])
def test_a_kill_while_carrying_loses_nothing_and_writes_nothing_twice(
    away: Desk,
    elsewhere: Elsewhere,
    install: int,
    monkeypatch: pytest.MonkeyPatch,
    after_write: bool,
    edit: int | None,
) -> None:
    written: list[str] = []
    whole = RemoteWriter.write

    def dies(self: RemoteWriter, writes: Any) -> Any:
        written.extend(write.op for write in writes)
        if after_write:
            whole(self, writes)
        raise _Killed

    plan = away.plan()
    with monkeypatch.context() as patch:
        patch.setattr(RemoteWriter, "write", dies)
        with pytest.raises(_Killed):
            run_apply(away.context, plan.plan_hash, approved_by="Pat")
        assert written == ["update"]
    if edit is not None:
        # A person edits the row before anybody looks again.
        elsewhere.sql("update crm.installs set panel_count = 39 where enerflo_install_id = :id", id=install)
    monkeypatch.setattr(
        RemoteWriter, "write", lambda self, writes: written.extend("!") or whole(self, writes)
    )
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == (edit or 40)
    assert report.applied == (0 if edit else 1)
    assert written == (["update"] if after_write else ["update", "!"])
    assert [change.state for change in away.changes(plan)] == ["superseded" if edit else "applied"]


def test_what_the_other_database_refuses_is_parked_and_stops_nothing_else(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    other = next(
        state.install_id
        for state in map(away.world.installs.get, away.world.installs.live())
        if state.install_id != install and state.has_equipment
    )
    counted(away, other, 43)
    elsewhere.narrow("installs", "panel_count")
    counted(away, install, 300)
    report = approved(away)
    assert elsewhere.one("installs", enerflo_install_id=other)["panel_count"] == 43
    assert report.parked >= 1
    assert report.handed_over == 0
    assert "refuses the row" in next(iter(report.reasons["parked"]))


def test_an_undo_brings_the_value_back(away: Desk, elsewhere: Elsewhere, install: int) -> None:
    before = elsewhere.one("installs", enerflo_install_id=install)["panel_count"]
    plan = away.plan()
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    undo = run_undo(away.context, plan.plan_hash)
    report = run_apply(away.context, undo.plan_hash, approved_by="Pat")
    assert report.applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == before


def test_rows_outside_where_do_not_exist(away: Desk, elsewhere: Elsewhere, install: int) -> None:
    where = f'{INSTALLS}    where: "enerflo_install_id <> {install}"\n'
    away.switched_on("both", CRM, ALONE, AT_ONCE, (INSTALLS, where))
    report = run_reconcile(away.context)
    assert "installs" not in differing(report) or differing(report)["installs"].keys() == {"policy"}
    plan = away.plan()
    assert not away.changes(plan, table_name="installs")
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] != 40


def test_an_edit_between_plan_and_apply_is_not_sent_to_enerflo(
    away: Desk, elsewhere: Elsewhere, install: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(away)
    _status(away, elsewhere, install, "On Hold")
    plan = away.plan()
    assert away.changes(plan, direction="to_enerflo")
    # It comes after the copies were brought up to date for the apply.
    monkeypatch.setattr("enerflo_sync.jobs.apply.run_copy", lambda *_, **__: [])
    _status(away, elsewhere, install, "In progress")
    received = len(away.world.received)
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert len(away.world.received) == received


def _status(desk: Desk, elsewhere: Elsewhere, install: int, status: str) -> None:
    now = elsewhere.given(desk.sql("select now() as now")[0]["now"])
    elsewhere.sql(
        "update crm.installs set status = :status, updated_at = :now where enerflo_install_id = :id",
        status=status,
        now=now,
        id=install,
    )


def test_a_lead_of_the_other_database_learns_enerflos_id(away: Desk, elsewhere: Elsewhere) -> None:
    away.switched_on("both", CRM, AT_ONCE)
    away.carried()
    elsewhere.sql(
        "insert into crm.leads (lead_id, first_name, last_name, mobile, address, city, state, zip, status,"
        " updated_at) values ('L1', 'Jo', 'Doe', '5125550100', '12 Main St', 'Boston', 'MA', '02139',"
        " 'qualified', :now)",
        now=elsewhere.given(away.sql("select now() as now")[0]["now"]),
    )
    away.carried()
    known = away.one("select customer_id from enerflo.customers where integration_record_id = 'L1'")
    assert elsewhere.one("leads", lead_id="L1")["enerflo_customer_id"] == known
    away.settled()


def test_a_row_that_enerflo_deleted_is_marked_in_the_other_database(away: Desk, elsewhere: Elsewhere) -> None:
    elsewhere.sql(f"alter table crm.notes add {elsewhere.quoted('is_deleted')} {elsewhere.types['bool']}")
    away.switched_on(
        "both",
        CRM,
        AT_ONCE,
        (
            "    create_only: true\n",
            "    create_only: true\n    delete_in: [crm]\n    deleted_when: {is_deleted: true}\n",
        ),
    )
    away.carried()
    note = int(away.one('select min(enerflo_note_id) from crm_copies."default.notes"'))
    away.world.delete_note(note)
    run_poll(away.context, full=True)
    assert approved(away).applied == 1
    assert elsewhere.one("notes", enerflo_note_id=note)["is_deleted"] in (1, True)
    away.settled()


def test_without_a_mark_no_row_is_deleted_there(away: Desk, elsewhere: Elsewhere) -> None:
    away.switched_on(
        "both", CRM, AT_ONCE, ("    create_only: true\n", "    create_only: true\n    delete_in: [crm]\n")
    )
    away.carried()
    note = int(away.one('select min(enerflo_note_id) from crm_copies."default.notes"'))
    away.world.delete_note(note)
    run_poll(away.context, full=True)
    report = approved(away)
    assert report.parked == 1
    assert "deleted_when" in next(iter(report.reasons["parked"]))
    assert elsewhere.one("notes", enerflo_note_id=note)


def test_a_new_row_that_would_stand_outside_where_is_taken_back(away: Desk, elsewhere: Elsewhere) -> None:
    install = away.a_site().install_id
    elsewhere.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    away.sql("delete from sync.agreed where table_name = 'installs'")
    where = f'{INSTALLS}    where: "enerflo_install_id <> {install}"\n'
    away.switched_on("both", CRM, AT_ONCE, (INSTALLS, where))
    report = approved(away)
    assert any("outside where" in reason for reason in report.reasons["parked"])
    assert not elsewhere.sql("select * from crm.installs where enerflo_install_id = :id", id=install)


def test_the_report_says_as_of_when_the_copy_is(away: Desk) -> None:
    report = run_reconcile(away.context)
    (table,) = [one for one in report.tables if one.table_name == "installs"]
    (said,) = [one for one in table.remarks if "crm.installs is in another database" in one]
    (cost,) = away.sql(
        "select rows, rows_read, statements from sync.crm_copies where table_name = 'installs'"
    )
    assert cost["statements"] > 0
    assert f"({cost['rows']} rows, of which {cost['rows_read']} were read again: " in said
    assert said.endswith(f"{cost['statements']} statements there).")


def test_a_change_that_takes_its_row_out_of_where_is_taken_back_and_asked_about(
    away: Desk, elsewhere: Elsewhere
) -> None:
    where = "    where: \"status is null or status <> 'On Hold'\"\n"
    away.switched_on("crm", CRM, ALONE, AT_ONCE, (INSTALLS, INSTALLS + where))
    away.carried()
    install = away.a_site().install_id
    before = elsewhere.one("installs", enerflo_install_id=install)["status"]
    counted(away, install, 40)
    away.world.set_status(install, 4)
    run_poll(away.context)
    report = approved(away)
    assert (report.applied, report.parked) == (1, 1)
    assert "outside where" in str(report.reasons["parked"])
    row = elsewhere.one("installs", enerflo_install_id=install)
    assert (row["status"], row["panel_count"]) == (before, 40)
    plan = away.plan()
    assert plan.change_count == 0
    assert [one.field for one in away.undecided(plan)] == ["status"]
    assert run_reconcile(away.context).waiting == 1
