"""Tables as they really are in other databases: types, texts, flags, rights and conditions of their own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.copies.due import RowWrite
from enerflo_sync.copies.remote_writes import RemoteWriter, Written
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.report import PlanReport
from tests.copies.conftest import CRM, Elsewhere, MariaDB, OtherPostgreSQL, Snowflake
from tests.copies.interrupted import interrupted
from tests.copies.test_elsewhere import INSTALLS, approved, install
from tests.pgbouncer import bouncers
from tests.warehouse.test_tls import certificate
from tests.writes.conftest import Desk
from tests.writes.sending import posts
from tests.writes.test_changes import ALONE, AT_ONCE, counted

__all__ = ["install"]
DELETES = "    create_only: true\n    delete_in: [crm]\n    deleted_when: {is_deleted: true}\n"


def only(elsewhere: Elsewhere, *kinds: type[Elsewhere]) -> None:
    if not isinstance(elsewhere, kinds):
        pytest.skip(f"a world of {' and '.join(kind.__name__ for kind in kinds)}")


def test_a_condition_over_columns_that_are_not_mapped_lets_plans_be_judged(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    elsewhere.sql(f"alter table crm.installs add {elsewhere.quoted('kind')} {elsewhere.short}")
    elsewhere.sql("update crm.installs set kind = 'solar'")
    where = f"{INSTALLS}    where: \"kind = 'solar'\"\n"
    away.switched_on("both", CRM, ALONE, AT_ONCE, (INSTALLS, where))
    assert approved(away).applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40


def test_a_new_row_is_whole_in_columns_of_fixed_length_and_of_listed_words(
    away: Desk, elsewhere: Elsewhere
) -> None:
    only(elsewhere, OtherPostgreSQL, MariaDB)
    statuses = [row["name"] for row in away.sql("select distinct status_name as name from enerflo.installs")]
    words = ", ".join("'" + one.replace("'", "''") + "'" for one in statuses)
    if isinstance(elsewhere, OtherPostgreSQL):
        elsewhere.sql(f"create type crm.state as enum ({words})")
        elsewhere.sql("alter table crm.installs alter status type crm.state using cast(status as crm.state)")
        elsewhere.sql("alter table crm.installs alter panel_type type char(60)")
    else:
        elsewhere.sql(f"alter table crm.installs modify status enum ({words}), modify panel_type char(60)")
    away.switched_on("both", CRM, AT_ONCE)
    away.carried()
    install = away.a_site().install_id
    before = elsewhere.one("installs", enerflo_install_id=install)
    elsewhere.sql("delete from crm.installs where enerflo_install_id = :id", id=install)
    away.sql("delete from sync.agreed where table_name = 'installs'")
    approved(away)
    after = elsewhere.one("installs", enerflo_install_id=install)
    assert (after["status"], after["panel_type"]) == (before["status"], before["panel_type"])
    away.settled()


def test_texts_and_times_that_the_warehouse_cannot_hold_stop_nothing(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    """A zero byte in a text, a time without end, a date of zeros: each is one value of one row."""
    if isinstance(elsewhere, OtherPostgreSQL):
        elsewhere.sql("update crm.notes set updated_at = 'infinity'")
    elif isinstance(elsewhere, MariaDB):
        elsewhere.sql("alter table crm.notes modify updated_at datetime(6)")
        with elsewhere.engine.begin() as connection:
            connection.exec_driver_sql("set sql_mode = ''")
            connection.exec_driver_sql("update crm.notes set updated_at = '0000-00-00', author = 'a\\0b'")
    elif isinstance(elsewhere, Snowflake):
        elsewhere.sql("update crm.notes set author = 'a' || chr(0) || 'b'")
    else:
        elsewhere.sql("update crm.notes set updated_at = 'infinity', author = 'a' || chr(0) || 'b'")
    assert {one.table_name for one in run_copy(away.context)} >= {"notes", "installs"}
    assert approved(away).applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40


@pytest.mark.parametrize(
    ("truth", "day"),
    [("enerflo", "2026-02-00"), ("newest", "2026-00-00"), ("crm", "0000-02-03"), ("newest", "2026-02-29")],
)
def test_a_date_with_zeros_is_not_taken_for_none(
    away: Desk, elsewhere: Elsewhere, truth: str, day: str
) -> None:
    """February 2026, as an old application writes it where MariaDB is not strict: no date, and not nothing."""
    only(elsewhere, MariaDB)
    elsewhere.sql("alter table crm.milestones modify due_at date")
    due = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"
    days = due.replace("timestamp, precision: second", "date, time_zone: America/Denver")
    for policy in ("enerflo", f"{truth}, null_overwrites: true"):
        away.switched_on("both", CRM, AT_ONCE, (due, days.replace("newest", policy)))
        away.carried()
    (row, other) = away.sql(
        'select enerflo_install_id, milestone_id from crm_copies."default.milestones" where due_at is not null'
        " order by 1, 2 limit 2"
    )
    of_row = "where enerflo_install_id = {enerflo_install_id} and milestone_id = {milestone_id}"
    with elsewhere.engine.begin() as connection:
        connection.exec_driver_sql("set sql_mode = 'ALLOW_INVALID_DATES'")
        for key, said_day in ((row, day), (other, "0000-00-00")):
            said = f"update crm.milestones set due_at = '{said_day}', updated_at = utc_timestamp(6) "
            connection.exec_driver_sql(said + of_row.format(**key))
    plan = away.plan()
    # Zeros alone are how such a database writes nothing.
    assert [change.key for change in away.changes(plan)] == [dict(other)]
    (asked,) = away.undecided(plan)
    assert (asked.key, "fits no type" in str(asked.reason)) == (dict(row), True)
    run_apply(away.context, plan.plan_hash, approved_by="Pat")
    found = elsewhere.sql("select cast(due_at as char) as day from crm.milestones " + of_row.format(**row))
    assert found[0]["day"] == day


def test_a_date_with_zeros_that_comes_after_the_plan_is_not_overwritten(
    away: Desk, elsewhere: Elsewhere
) -> None:
    only(elsewhere, MariaDB)
    elsewhere.sql("alter table crm.milestones modify due_at date")
    due = "due_at: {enerflo: due_at, type: timestamp, precision: second, source_of_truth: newest}"
    days = due.replace("timestamp, precision: second", "date, time_zone: America/Denver")
    away.switched_on("both", CRM, AT_ONCE, (due, days.replace("newest", "enerflo")))
    away.carried()
    elsewhere.sql("update crm.milestones set due_at = null where due_at is not null limit 1")
    plan = away.plan()
    (change,) = away.changes(plan)
    of_row = "where enerflo_install_id = {enerflo_install_id} and milestone_id = {milestone_id}"
    with elsewhere.engine.begin() as connection:
        connection.exec_driver_sql("set sql_mode = ''")
        said = "update crm.milestones set due_at = '2026-02-00' "
        connection.exec_driver_sql(said + of_row.format(**change.key))
    report = run_apply(away.context, plan.plan_hash, approved_by="Pat")
    assert (report.applied, report.moved) == (0, 1)
    day = elsewhere.sql(
        "select cast(due_at as char) as day from crm.milestones " + of_row.format(**change.key)
    )
    assert day[0]["day"] == "2026-02-00"


@pytest.mark.parametrize("flag", ["whole number", "bit"])
def test_a_flag_of_any_type_marks_a_deleted_row(away: Desk, elsewhere: Elsewhere, flag: str) -> None:
    kind = "bit(1)" if flag == "bit" else elsewhere.types["int4"]
    if flag == "bit":
        only(elsewhere, MariaDB)
    elsewhere.sql(f"alter table crm.notes add {elsewhere.quoted('is_deleted')} {kind}")
    away.switched_on("both", CRM, AT_ONCE, ("    create_only: true\n", DELETES))
    away.carried()
    rows = away.one('select count(*) from crm_copies."default.notes"')
    note_id = int(away.one('select min(enerflo_note_id) from crm_copies."default.notes"'))
    away.world.delete_note(note_id)
    run_poll(away.context, full=True)
    assert approved(away).applied == 1
    assert elsewhere.one("notes", enerflo_note_id=note_id)["is_deleted"] in (1, True, b"\x01")
    assert away.one('select count(*) from crm_copies."default.notes"') == rows
    away.settled()


def test_a_note_whose_id_the_other_database_refuses_is_not_sent_again(
    away: Desk, elsewhere: Elsewhere
) -> None:
    only(elsewhere, MariaDB, OtherPostgreSQL)
    away.switched_on("both", CRM, AT_ONCE)
    away.carried()
    if isinstance(elsewhere, MariaDB):
        elsewhere.sql(
            "create trigger crm.closed before update on crm.notes for each row if new.enerflo_note_id is not"
            " null then signal sqlstate '45000' set message_text = 'no'; end if"
        )
    else:
        elsewhere.sql("alter table crm.notes add check (note_id <> 'N1' or enerflo_note_id is null)")
    install = away.a_site().install_id
    elsewhere.sql(
        "insert into crm.notes (note_id, enerflo_install_id, author, body, updated_at)"
        " values ('N1', :i, 'Ann', 'Call back', :now)",
        i=install,
        now=elsewhere.given(away.sql("select now() as now")[0]["now"]),
    )
    run_poll(away.context)
    away.carried()
    assert len(posts(away)) == 1
    for _ in range(2):
        run_poll(away.context)
        away.sql("update sync.ledger set recorded_at = recorded_at - interval '2 days'")
        away.carried()
    assert len(posts(away)) == 1
    rows = elsewhere.sql("select note_id from crm.notes where body = 'Call back'")
    assert [row["note_id"] for row in rows] == ["N1"]


def test_a_table_that_never_stands_still_is_not_compared(away: Desk, elsewhere: Elsewhere) -> None:
    columns = ["enerflo_install_id", "deal_id", "customer_name", "status", "system_size_kw", "panel_type"]
    columns += ["panel_count", "battery_configuration", "updated_at"]
    random = "rand()" if isinstance(elsewhere, MariaDB) else "random()"
    elsewhere.sql(
        f"create view crm.moving as select {', '.join(columns)}, {random} as contract_amount from crm.installs"
    )
    away.switched_on("both", CRM, (INSTALLS, "    crm_table: crm.moving\n"))
    with pytest.raises(RetriableError, match=r"crm\.moving.*changes faster"):
        run_copy(away.context)
    assert away.sql("select * from sync.crm_copies where table_name = 'installs'") == []


def test_a_login_that_is_refused_and_a_right_that_is_missing_are_said(
    away: Desk, elsewhere: Elsewhere
) -> None:
    only(elsewhere, MariaDB, OtherPostgreSQL)
    if isinstance(elsewhere, MariaDB):
        elsewhere.sql("create or replace user reader@localhost identified by 'right'")
        elsewhere.sql("grant select on crm.* to reader@localhost")
        away.environ["CRM_URL"] = elsewhere.url.replace("root@", "reader:wrong@")
    else:
        away.environ["CRM_URL"] = (
            elsewhere.url.rpartition("/")[0] + "/nowhere?" + elsewhere.url.partition("?")[2]
        )
    away.switched_on("both", CRM)
    away.context.__dict__.pop("crm", None)
    with pytest.raises(ConfigurationError, match="refuses the login or does not know the database") as caught:
        run_copy(away.context)
    assert "wrong" not in str(caught.value)
    line = away.context.config.line("accounts", "default", "crm")
    assert str(caught.value).startswith(f"{away.context.config.file}:{line}: accounts.default.crm: ")


def test_a_login_that_was_locked_is_told_as_a_login(away: Desk, elsewhere: Elsewhere) -> None:
    """Not as a server that is away, which a person would wait for."""
    only(elsewhere, MariaDB, OtherPostgreSQL)
    if isinstance(elsewhere, MariaDB):
        elsewhere.sql("create or replace user locked@localhost identified by 'right' account lock")
    else:
        elsewhere.sql("drop role if exists locked")
        elsewhere.sql("create role locked nologin password 'right'")
    try:
        place = sa.make_url(elsewhere.url).set(username="locked", password="right")
        away.environ["CRM_URL"] = place.render_as_string(hide_password=False)
        away.read_configuration()
        away.context.__dict__.pop("crm", None)
        with pytest.raises(ConfigurationError, match="refuses the login"):
            run_copy(away.context)
    finally:
        elsewhere.sql("drop user locked@localhost" if isinstance(elsewhere, MariaDB) else "drop role locked")


def test_a_server_that_is_not_proven_to_be_the_one_that_is_meant_is_refused_and_not_tried_again(
    away: Desk, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    only(elsewhere, MariaDB, OtherPostgreSQL)
    root, _ = certificate(tmp_path, "other", "localhost")
    with ExitStack() as running:
        if isinstance(elsewhere, MariaDB):
            # It has made itself a certificate, which no authority has signed.
            place = sa.make_url(elsewhere.url).update_query_dict({"ssl_ca": str(root)})
        else:
            start = running.enter_context(bouncers())
            place = sa.make_url(start(elsewhere.url, "session")).set(host="localhost")
            place = place.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(root)})
        refused_as_unproven(away, place)


def refused_as_unproven(away: Desk, place: sa.URL) -> None:
    away.environ["CRM_URL"] = place.render_as_string(hide_password=False)
    away.switched_on("both", CRM)
    away.context.__dict__.pop("crm", None)
    with pytest.raises(
        ConfigurationError, match="did not prove that it is the server that is meant"
    ) as caught:
        run_copy(away.context)
    assert "Check host and TLS options of its url" in str(caught.value)


def test_what_a_role_may_not_write_is_said_and_waits(away: Desk, elsewhere: Elsewhere, install: int) -> None:
    only(elsewhere, MariaDB)
    elsewhere.sql("create or replace user reader@localhost identified by 'right'")
    elsewhere.sql("grant select on crm.* to reader@localhost")
    away.environ["CRM_URL"] = elsewhere.url.replace("root@", "reader:right@").replace("/mysql?", "/crm?")
    away.switched_on("both", CRM, ALONE, AT_ONCE)
    away.context.__dict__.pop("crm", None)
    plan = away.plan()
    with pytest.raises(ConfigurationError, match=r"refuses a right while writing crm\.installs"):
        approved(away)
    elsewhere.sql("grant update on crm.* to reader@localhost")
    # Rights on a whole database count for new connections.
    away.context.close()
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40


def test_a_server_that_only_reads_is_said_and_what_is_open_waits(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    """A replica, or a connection to one: all is compared, and nothing can be written."""
    only(elsewhere, MariaDB, OtherPostgreSQL)
    place = sa.make_url(elsewhere.url)
    if isinstance(elsewhere, MariaDB):
        elsewhere.sql("create or replace user reader@localhost identified by 'right'")
        elsewhere.sql("grant select, insert, update on crm.* to reader@localhost")
        place = place.set(username="reader", password="right", database="crm")
        elsewhere.sql("set global read_only = 1")
    else:
        place = place.update_query_dict({"options": "-c default_transaction_read_only=on"})
    try:
        away.environ["CRM_URL"] = place.render_as_string(hide_password=False)
        away.read_configuration()
        away.context.__dict__.pop("crm", None)
        plan = away.plan()
        with pytest.raises(RetriableError, match="only reads at this address") as caught:
            approved(away)
    finally:
        if isinstance(elsewhere, MariaDB):
            elsewhere.sql("set global read_only = 0")
    assert "address of the one that takes writes" in str(caught.value)
    away.environ["CRM_URL"] = elsewhere.url
    away.read_configuration()
    away.context.__dict__.pop("crm", None)
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40


def test_a_row_that_moves_in_the_moment_before_it_is_written_is_left_alone(
    away: Desk, elsewhere: Elsewhere, install: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was read before says that the row is as planned: only the write itself can tell."""
    whole = RemoteWriter.write
    edits = ["update crm.installs set panel_count = 41 where enerflo_install_id = :id"]

    def edited_before(self: RemoteWriter, writes: Sequence[RowWrite]) -> Written:
        if edits:
            elsewhere.sql(edits.pop(), id=install)
        return whole(self, writes)

    # DuckDB's file is one process's, so the edit and the write share it.
    monkeypatch.setattr(RemoteWriter, "write", edited_before)
    report = approved(away)
    assert edits == []
    assert (report.applied, report.moved) == (0, 1)
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 41


def dates_its_rows(elsewhere: Elsewhere) -> None:
    """Let MariaDB itself move ``updated_at`` with each write."""
    elsewhere.sql(
        "alter table crm.installs modify updated_at timestamp(6) null on update current_timestamp(6)"
    )


def edited_on_both_sides(away: Desk, elsewhere: Elsewhere, install: int) -> PlanReport:
    """Plan a panel count of Enerflo's; the CRM edited the status an hour ago, and Enerflo after the plan."""
    counted(away, install, 50)
    elsewhere.sql(
        "update crm.installs set status = 'On Hold', updated_at = now(6) - interval 1 hour"
        " where enerflo_install_id = :id",
        id=install,
    )
    plan = away.plan()
    # Enerflo's times are whole seconds, and the mirror knows of an edit in this one.
    time.sleep(1.1)
    away.world.set_status(install, 323)
    time.sleep(1.5)
    return plan


def test_our_own_write_makes_no_other_field_of_the_row_the_later_one(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    """The database itself moves updated_at with each write."""
    only(elsewhere, MariaDB)
    dates_its_rows(elsewhere)
    away.carried()
    plan = edited_on_both_sides(away, elsewhere, install)
    part = Part(only=["installs.panel_count"])
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat", part=part).applied == 1
    run_poll(away.context)
    (change,) = away.changes(away.plan(), table_name="installs", field="status")
    assert (change.direction, change.rule) == ("to_crm", "later_time")


@pytest.mark.parametrize("stopped", ["report", "enerflo"])
def test_what_is_open_is_not_written_once_the_tables_mode_does_not_allow_it(
    away: Desk, elsewhere: Elsewhere, install: int, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    only(elsewhere, OtherPostgreSQL)
    interrupted(away, away.plan(), monkeypatch)
    # Somebody stops it, and another table goes on.
    table = "  installs:\n    crm_table: crm.installs\n"
    away.switched_on("both", CRM, AT_ONCE, (table, f"{table}    mode: {stopped}\n"))
    elsewhere.sql("update crm.milestones set title = 'Another' where enerflo_install_id = :id", id=install)
    report = approved(away)
    assert report.applied > 0
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] != 40
    assert away.one("select count(*) from sync.crm_changes where state = 'open'") == 1
    # And it goes on where it stopped.
    away.switched_on("both", CRM, AT_ONCE)
    elsewhere.sql("update crm.milestones set title = 'Another' where enerflo_install_id = :id", id=install)
    approved(away)
    assert elsewhere.one("installs", enerflo_install_id=install)["panel_count"] == 40
