"""A row is written once there, whatever triggers and rights of the other database make of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.copies.database import CrmConnections
from tests.copies.conftest import MariaDB
from tests.copies.rows import WHERE, Rows
from tests.copies.test_carry_rows import carried, ended, there

with_triggers = pytest.mark.parametrize("elsewhere", ["mariadb", "postgresql"], indirect=True)


def trigger(rows: Rows, event: str, change: str) -> None:
    """Let the other database change each row that is made or changed."""
    if isinstance(rows.elsewhere, MariaDB):
        sets = "; ".join(f"set {one}" for one in change.split("; "))
        rows.elsewhere.sql(
            f"create trigger crm.own before {event} on crm.rows for each row begin {sets}; end"
        )
        return
    body = change.replace(" = ", " := ")
    rows.elsewhere.sql(
        "create function crm.changed() returns trigger language plpgsql as"
        f" $$ begin {body}; return new; end $$".replace(":", "\\:")
    )
    rows.elsewhere.sql(
        f"create trigger own before {event} on crm.rows for each row execute function crm.changed()"
    )


def a_new_row(rows: Rows) -> None:
    """Hand a new row over, for a record that Enerflo has."""
    rows.mirror("new", title="New")
    milestone = rows.record("new")["milestone_id"]
    for name, value in (("own", "new"), ("install", 1), ("milestone", milestone), ("title", "New")):
        rows.change("new", op="insert", field=name, before=None, copy_value=None, after=value)


def assert_taken_back(rows: Rows) -> None:
    assert rows.elsewhere.sql("select own from crm.rows") == []
    ends = set(ended(rows).values())
    assert {(planned, state) for planned, state, _, _ in ends} == {("parked", "superseded")}
    assert all("not found by its key" in str(reason) for _, _, reason, _ in ends)


@with_triggers
@pytest.mark.parametrize("where", [WHERE, ""])
def test_a_new_row_whose_key_a_trigger_changes_is_taken_back(rows: Rows, where: str) -> None:
    rows.configured((WHERE, where))
    trigger(rows, "insert", "new.own = concat('x-', new.own)")
    rows.refresh()
    a_new_row(rows)
    carried(rows)
    assert_taken_back(rows)


@pytest.mark.parametrize("elsewhere", ["postgresql"], indirect=True)
def test_a_new_row_that_the_role_may_not_read_is_taken_back(rows: Rows) -> None:
    rows.configured((WHERE, ""))
    there = rows.elsewhere
    there.sql("create role writer")
    engine = sa.create_engine(there.engine.url, connect_args={"options": "-c role=writer"})
    try:
        for statement in (
            "grant all on schema crm to writer",
            "grant all on crm.rows to writer",
            "alter table crm.rows enable row level security",
            "create policy made on crm.rows for insert with check (true)",
            "create policy seen on crm.rows for select using (title <> 'New')",
        ):
            there.sql(statement)
        rows.crm = CrmConnections(lambda: engine)
        rows.refresh()
        a_new_row(rows)
        carried(rows)
        assert_taken_back(rows)
    finally:
        engine.dispose()
        there.sql("drop owned by writer")
        there.sql("drop role writer")


@with_triggers
def test_a_value_that_a_trigger_brings_back_is_written_once_and_parked(rows: Rows) -> None:
    trigger(rows, "update", "new.title = old.title; new.sequence = old.sequence + 1")
    rows.both("kept")
    rows.refresh()
    number = rows.change("kept")
    carried(rows)
    planned, state, reason, _ = ended(rows)[number]
    assert (planned, state) == ("parked", "superseded")
    assert "was written, and does not say so" in str(reason)
    (row,) = rows.elsewhere.sql("select title, sequence from crm.rows")
    assert (row["title"], row["sequence"]) == ("Old", 2)


@with_triggers
def test_a_value_that_a_trigger_makes_another_one_of_is_parked_and_not_called_moved(rows: Rows) -> None:
    trigger(rows, "update", "new.title = upper(new.title)")
    rows.both("k", title="Old")
    rows.refresh()
    number = rows.change("k", field="title", copy_value="Old", before="Old", after="New")
    carried(rows)
    planned, state, reason, _ = ended(rows)[number]
    assert (planned, state) == ("parked", "superseded")
    assert "was written, and does not say so" in str(reason)
    assert there(rows, "k")[0] == "NEW"
