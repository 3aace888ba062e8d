"""The CRM's table is a foreign table (postgres_fdw): compared, written and undone as any other."""

from __future__ import annotations

import pytest

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

ON_HOLD = 4
AT_ONCE = ("in_flight_minutes: 30", "in_flight_minutes: 0")


@pytest.fixture
def foreign(agreeing: Desk) -> Desk:
    """An account whose CRM's installs and notes are tables of another server, which is this one."""
    if not agreeing.sql("select 1 from pg_available_extensions where name = 'postgres_fdw'"):
        pytest.skip("the server has no postgres_fdw")
    url = agreeing.engine.url
    host = url.query.get("host") or url.host
    agreeing.switched_on("crm", AT_ONCE)
    agreeing.sql("create extension postgres_fdw")
    agreeing.sql(
        "create server there foreign data wrapper postgres_fdw options"
        f" (host '{host}', dbname '{url.database}', port '{url.port or 5432}')"
    )
    agreeing.sql(f"create user mapping for current_user server there options (user '{url.username}')")
    agreeing.sql("alter schema crm rename to crm_there")
    agreeing.sql("create schema crm")
    agreeing.sql("import foreign schema crm_there from server there into crm")
    return agreeing


def test_a_foreign_table_is_compared_written_and_undone(foreign: Desk) -> None:
    foreign.carried()
    foreign.settled()
    install = foreign.a_site().install_id
    foreign.world.set_status(install, ON_HOLD)
    new = foreign.world.create_install()
    note = foreign.world.add_note(install, "Call first")
    run_poll(foreign.context)
    plan = foreign.plan()
    report = run_apply(foreign.context, plan.plan_hash, approved_by="Pat")
    assert report.applied == plan.change_count
    assert foreign.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    assert foreign.crm("installs", enerflo_install_id=new)["status"] is not None
    assert foreign.crm("notes", enerflo_note_id=note)["body"] == "Call first"
    assert run_reconcile(foreign.context).unexplained == 0
    foreign.settled()
    undo = run_undo(foreign.context, plan.plan_hash)
    report = run_apply(foreign.context, undo.plan_hash, approved_by="Pat")
    assert report.applied == undo.change_count > 0
    assert foreign.crm("installs", enerflo_install_id=install)["status"] != "On Hold"


def test_an_edit_there_is_found_and_not_overwritten(foreign: Desk) -> None:
    foreign.carried()
    install = foreign.a_site().install_id
    foreign.world.resubmit_install(install, panel_count=41)
    run_poll(foreign.context)
    plan = foreign.plan()
    foreign.sql("update crm_there.installs set panel_count = 77 where enerflo_install_id = :i", i=install)
    report = run_apply(foreign.context, plan.plan_hash, approved_by="Pat")
    assert report.moved >= 1
    assert foreign.crm("installs", enerflo_install_id=install)["panel_count"] == 77
    run_reconcile(foreign.context)
    # Back-dated: nothing of the row tells when it was changed.
    foreign.sql("update crm_there.installs set deal_id = 'other' where enerflo_install_id = :i", i=install)
    report_ = run_reconcile(foreign.context)
    assert {one.field for one in report_.tables[0].by_field} >= {"deal_id"}


def test_a_row_that_the_server_refuses_is_parked_and_the_others_are_written(foreign: Desk) -> None:
    foreign.carried()
    first, second = (
        row["enerflo_install_id"]
        for row in foreign.sql("select enerflo_install_id from crm.installs order by 1 limit 2")
    )
    foreign.sql(
        "update crm.installs set panel_count = 99 where enerflo_install_id in (:a, :b)", a=first, b=second
    )
    plan = foreign.plan()
    foreign.sql(
        f"alter table crm_there.installs add constraint c check (enerflo_install_id <> {first}) not valid"
    )
    report = run_apply(foreign.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked) == (1, 1)
    assert foreign.crm("installs", enerflo_install_id=second)["panel_count"] != 99


def test_a_file_is_compared_and_what_cannot_be_written_there_stops_nothing_else(
    agreeing: Desk,
) -> None:
    if not agreeing.sql("select 1 from pg_available_extensions where name = 'file_fdw'"):
        pytest.skip("the server has no file_fdw")
    agreeing.switched_on("crm", AT_ONCE)
    install = agreeing.a_site().install_id
    columns = agreeing.one(
        "select string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' order by attnum)"
        " from pg_attribute where attrelid = cast('crm.installs' as regclass) and attnum > 0 and not attisdropped"
    )
    place = agreeing.one("select current_setting('data_directory')") + "/installs.csv"
    agreeing.sql(f"copy crm.installs to '{place}' with (format csv)")
    agreeing.sql("create extension file_fdw")
    agreeing.sql("create server files foreign data wrapper file_fdw")
    agreeing.sql("alter table crm.installs rename to former")
    agreeing.sql(
        f"create foreign table crm.installs ({columns}) server files options (filename '{place}', format 'csv')"
    )
    assert run_reconcile(agreeing.context).unexplained == 0
    agreeing.world.set_status(install, ON_HOLD)
    note = agreeing.world.add_note(install, "Call first")
    run_poll(agreeing.context)
    plan = agreeing.plan()
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.parked, agreeing.changes(plan, table_name="installs")) == (5, 0, [])
    assert agreeing.one("select count(*) from crm.notes where enerflo_note_id = :n", n=note) == 1
