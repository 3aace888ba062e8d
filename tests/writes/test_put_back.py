"""A load of the CRM's table that takes our writes back and dates all rows anew is nobody's edit of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from enerflo_sync.crm.decision import BLOCKING_RULES
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.jobs.poll import run_poll
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.put_back import put_back
from tests.writes.conftest import Desk
from tests.writes.test_newest import crm_status
from tests.writes.test_older_rows import NEWEST, asked
from tests.writes.test_refused import status_at_enerflo

PUT_BACK = (
    "the CRM's value is one that our write had replaced, and came back when many rows were written at once"
)


def evening_of(desk: Desk, table: str = "installs") -> Callable[..., None]:
    """Copy a table of the CRM; return what loads the copy in its place, with a time of its own for each row."""
    desk.sql(f"create table crm.evening as select * from crm.{table}")

    def load(time: str = "now()") -> None:
        desk.sql(
            f"truncate crm.{table}; insert into crm.{table} select * from crm.evening;"
            f" update crm.{table} set updated_at = {time}"
        )

    return load


def on_hold(desk: Desk) -> tuple[int, Callable[..., None]]:
    """Put an install on hold at Enerflo and in the CRM; return it, and what loads the CRM's table of before."""
    install: int = desk.a_site().install_id
    load = evening_of(desk)
    desk.world.set_status(install, 4)
    run_poll(desk.context)
    desk.carried()
    assert desk.crm("installs", enerflo_install_id=install)["status"] == "On Hold"
    return install, load


@pytest.fixture(params=["newest", "review"])
def loaded(request: pytest.FixtureRequest, agreed: Desk) -> Desk:
    """An account whose two sides agree, and where an edit of either side goes to the other."""
    agreed.switched_on("both", (NEWEST, NEWEST.replace("newest", request.param)))
    return agreed


def test_a_load_that_dates_its_rows_sends_no_value_that_we_had_replaced(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    load()
    (reason,) = asked(loaded)
    assert PUT_BACK in reason
    # Of the next night, too.
    load()
    assert len(asked(loaded)) == 1
    loaded.carried()
    assert status_at_enerflo(loaded, install) == 4


def test_the_question_stands_when_the_other_rows_were_written_since(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    load()
    (reason,) = asked(loaded)
    loaded.sql(
        "update crm.installs set updated_at = now() - interval '5 minutes' where enerflo_install_id <> :i",
        i=install,
    )
    for _ in range(2):
        assert asked(loaded) == [reason]
    crm_status(loaded, install, "Pending KCA")
    (change,) = loaded.changes(loaded.plan(), field="status")
    assert (change.direction, change.after) == ("to_enerflo", "Pending KCA")


def test_nor_where_enerflo_goes_on_meanwhile(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    loaded.world.set_status(install, 3)
    run_poll(loaded.context)
    loaded.carried()
    # The load brings the value of before both writes.
    load()
    (reason,) = asked(loaded)
    assert PUT_BACK in reason


def test_nor_where_all_keys_are_spelled_otherwise_since_our_write(agreed: Desk) -> None:
    agreed.sql("alter table crm.installs alter enerflo_install_id type text")
    key = "    key: {enerflo_install_id: install_id}\n"
    typed = "    key: {enerflo_install_id: {enerflo: install_id, type: integer, trim: true}}\n"
    agreed.switched_on("both", (key, typed))
    agreed.settled()
    install = agreed.a_site().install_id
    agreed.sql("create table crm.evening as select * from crm.installs")
    agreed.world.set_status(install, 4)
    run_poll(agreed.context)
    agreed.carried()
    agreed.sql("update crm.installs set enerflo_install_id = '00' || enerflo_install_id, updated_at = now()")
    agreed.settled()
    agreed.sql(
        "update crm.installs t set status = e.status, updated_at = now() + interval '1 second'"
        " from crm.evening e where t.enerflo_install_id = '00' || e.enerflo_install_id"
    )
    (reason,) = asked(agreed)
    assert PUT_BACK in reason
    agreed.carried()
    assert status_at_enerflo(agreed, install) == 4


def test_nor_where_both_sides_changed(agreed: Desk) -> None:
    install, load = on_hold(agreed)
    agreed.world.set_status(install, 3)
    run_poll(agreed.context)
    load("now() + interval '1 second'")
    (reason,) = asked(agreed)
    assert PUT_BACK in reason
    assert status_at_enerflo(agreed, install) == 3


def test_a_person_who_takes_our_write_back_edits(loaded: Desk) -> None:
    before = status_at_enerflo(loaded, loaded.a_site().install_id)
    install, _ = on_hold(loaded)
    status = loaded.one("select status from crm.evening where enerflo_install_id = :i", i=install)
    crm_status(loaded, install, status)
    loaded.carried()
    assert status_at_enerflo(loaded, install) == before


def test_so_does_a_load_that_brings_another_value(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    loaded.sql("update crm.evening set status = 'Pending KCA' where enerflo_install_id = :i", i=install)
    load()
    (change,) = loaded.changes(loaded.plan(), field="status")
    assert (change.direction, change.after) == ("to_enerflo", "Pending KCA")


def test_what_was_sent_to_enerflo_since_is_no_value_that_we_replaced(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    before = loaded.one("select status from crm.evening where enerflo_install_id = :i", i=install)
    crm_status(loaded, install, before)
    loaded.carried()
    loaded.sql("update crm.evening set status = 'Pending KCA' where enerflo_install_id = :i", i=install)
    load()
    loaded.carried()
    loaded.sql("update crm.evening set status = :s where enerflo_install_id = :i", i=install, s=before)
    load()
    (change,) = loaded.changes(loaded.plan(), field="status")
    assert (change.direction, change.after) == ("to_enerflo", before)


def test_where_the_crm_is_right_its_load_is_right(agreed: Desk) -> None:
    agreed.switched_on("both", (NEWEST, NEWEST.replace("newest", "review")))
    _, load = on_hold(agreed)
    agreed.switched_on("both", (NEWEST, NEWEST.replace("newest", "crm")))
    load()
    (change,) = agreed.changes(agreed.plan(), field="status")
    assert (change.direction, change.before) == ("to_enerflo", "On Hold")


def test_a_table_of_few_rows_tells_nothing(loaded: Desk) -> None:
    install, _ = on_hold(loaded)
    loaded.sql(
        "delete from crm.evening where enerflo_install_id not in"
        " (select enerflo_install_id from crm.evening order by enerflo_install_id = :i desc limit 9)",
        i=install,
    )
    loaded.sql("update crm.installs set updated_at = now() - interval '2 days'")
    loaded.sql(
        "update crm.installs c set status = e.status, updated_at = now() from crm.evening e"
        " where e.enerflo_install_id = c.enerflo_install_id"
    )
    (change,) = loaded.changes(loaded.plan(), field="status")
    assert change.direction == "to_enerflo"


def test_a_load_that_dates_each_row_at_its_own_moment_is_one(loaded: Desk) -> None:
    install, load = on_hold(loaded)
    load("clock_timestamp() - enerflo_install_id % 97 * interval '10 microseconds'")
    assert [PUT_BACK in reason for reason in asked(loaded)] == [True]
    assert status_at_enerflo(loaded, install) == 4


@pytest.mark.parametrize(
    "index",
    [
        *("(updated_at, status)", "(updated_at) of few minutes", "", "(updated_at) where status is not null"),
        *("using brin (updated_at)", "using hash (updated_at)", "(status, updated_at)"),
    ],
)
def test_a_load_is_found_with_and_without_an_index_of_the_times(
    agreed: Desk, monkeypatch: pytest.MonkeyPatch, index: str
) -> None:
    agreed.sql("drop index crm.installs_updated_at")
    if index.endswith("of few minutes"):
        # More minutes than are looked up one by one.
        monkeypatch.setattr("enerflo_sync.reconcile.put_back._MOST_LOOKED_UP", 0)
    if index:
        agreed.sql(f"create index on crm.installs {index.removesuffix('of few minutes')}")
    install, load = on_hold(agreed)
    load("now() - enerflo_install_id % 5 * interval '1 day'")
    with agreed.context.engine.connect() as connection:
        (comparison, *_) = live_comparisons(
            connection, agreed.context.config, "default", case_folding(connection)
        )
    looked_up = index in ("(updated_at, status)", "(updated_at) of few minutes")
    assert ("minutes as" in put_back(comparison)) == looked_up
    assert [PUT_BACK in reason for reason in asked(agreed)] == [True]
    assert status_at_enerflo(agreed, install) == 4


def test_also_where_the_time_has_no_zone(agreed: Desk) -> None:
    install, load = on_hold(agreed)
    for table in ("installs", "evening"):
        agreed.sql(
            f"alter table crm.{table} alter updated_at type timestamp using updated_at at time zone 'UTC'"
        )
    load("now() at time zone 'America/Denver'")
    assert [PUT_BACK in reason for reason in asked(agreed)] == [True]
    assert status_at_enerflo(agreed, install) == 4


def test_many_earlier_changes_are_looked_up_and_not_read_for_each_difference(loaded: Desk) -> None:
    """The search is by a hash, however many changes there are, and however little memory PostgreSQL has."""
    on_hold(loaded)
    copied = """
        insert into sync.plan_changes
        select (jsonb_populate_record(x.c, jsonb_build_object(
          'position', 1000 + n, 'before', n, 'enerflo_key', jsonb_build_object('install_id', n)))).*
        from (select c from sync.plan_changes c where table_name = 'installs' and op = 'update'
                and direction = 'to_crm' and state = 'applied' and enerflo_key is not null limit 1) x,
          generate_series(1, 5000) n
        """
    loaded.sql(copied)
    loaded.plan()
    words = next(one.words for one in BLOCKING_RULES if one.name == "put_back")
    asked = """
        insert into sync.plan_undecided (account, plan_hash, position, table_name, key, cause, reason)
        select account, plan_hash, 1000 + n, 'installs', jsonb_build_object('install_id', n), 'unexplained', :words
        from sync.plans p, generate_series(1, 5000) n
        where created_at = (select max(created_at) from sync.plans) and part = 1
        """
    loaded.sql(asked, words=words)
    with loaded.context.engine.connect() as connection:
        (comparison, *_) = live_comparisons(
            connection, loaded.context.config, "default", case_folding(connection)
        )
        connection.exec_driver_sql("analyze sync.plan_changes, sync.plan_undecided")
        connection.exec_driver_sql("set local work_mem = '64kB'")
        columns = "changed_at timestamptz, p1 bigint, in_enerflo boolean, in_crm boolean"
        connection.exec_driver_sql(f"create temporary table {comparison.mismatched} ({columns})")
        connection.exec_driver_sql(
            f"insert into {comparison.mismatched} select now(), n, true, true from generate_series(1, 5000) n"
        )
        rows = """
            (select '{}'::jsonb as key, '{}'::jsonb as enerflo_key, now() as changed_at) o,
            (select 'status' as field, '1'::jsonb as theirs) f, (select true as theirs) v,
            (select null::text as account) a
            """
        lines = connection.exec_driver_sql(
            f"explain (verbose) select {put_back(comparison)} from {rows}",
            {"account": "default"},
        ).scalars()
        # A query that is gone through for each row is (SubPlan 4), one that is looked up (hashed SubPlan 4).
        text = "\n".join(lines)
        assert "c.enerflo_key = (hashed SubPlan" in text
        assert "= (hashed SubPlan" in text
        assert " = (SubPlan" not in text
        connection.rollback()
