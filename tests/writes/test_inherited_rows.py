"""Rows that a table inherits from another of the same key: neither is written, as nobody knows which is meant."""

from __future__ import annotations

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.poll import run_poll
from tests.writes.conftest import Desk

_ARCHIVED = "insert into crm.archive select * from only crm.installs where enerflo_install_id = :i"
_STATUSES = "select status from crm.installs where enerflo_install_id = :i"


def test_a_row_that_comes_into_a_table_below_since_the_plan_keeps_the_write_from_both(agreeing: Desk) -> None:
    agreeing.sql("create unique index on crm.installs (enerflo_install_id)")
    agreeing.sql("create table crm.archive () inherits (crm.installs)")
    install = agreeing.a_site().install_id
    before = agreeing.one(_STATUSES, i=install)
    agreeing.world.set_status(install, 4)
    run_poll(agreeing.context)
    plan = agreeing.plan()
    agreeing.sql(_ARCHIVED, i=install)
    report = run_apply(agreeing.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    assert [row["status"] for row in agreeing.sql(_STATUSES, i=install)] == [before, before]


def test_rows_of_one_key_are_a_question_and_not_written(agreeing: Desk) -> None:
    agreeing.sql("create unique index on crm.installs (enerflo_install_id)")
    agreeing.sql("create table crm.archive () inherits (crm.installs)")
    install = agreeing.a_site().install_id
    agreeing.sql(_ARCHIVED, i=install)
    agreeing.world.set_status(install, 4)
    run_poll(agreeing.context)
    plan = agreeing.plan()
    assert agreeing.changes(plan) == []
    assert agreeing.undecided(plan)
