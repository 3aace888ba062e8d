"""A plan concludes nothing from the records that a CRM table lacks since it lost many rows at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from enerflo_sync.jobs.apply import run_apply
from tests.writes.conftest import Desk
from tests.writes.kept import brought
from tests.writes.test_soft_deleted import MARK, TABLES

FLIP = "update crm.{} set is_deleted = true, updated_at = now()"
BACK = "update crm.{} set is_deleted = false, updated_at = now()"


@pytest.fixture
def copy(desk: Desk) -> Desk:
    """An account that writes both ways, whose sides agree, and whose CRM is a copy with marks."""
    brought(desk, _marked)
    return desk


def _marked(desk: Desk) -> None:
    for table in TABLES:
        desk.sql(f"alter table crm.{table} add is_deleted boolean not null default false")
    desk.switched_on("both", ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{MARK}"))
    desk.carried()
    desk.settled()


def bases(desk: Desk) -> list[Any]:
    return desk.sql(
        "select table_name, key, field, value, crm_value, agreed_at, agreed_by, enerflo_key from sync.agreed"
        " order by table_name, key::text, field"
    )


def an_hour_passes(desk: Desk) -> None:
    """Date back what the last reconciliation noted of the tables' sizes."""
    (row,) = desk.sql(
        "select reconciliation_id, report -> 'levels' as levels from sync.reconciliations"
        " order by compared_until desc limit 1"
    )
    levels = {
        name: {**level, **{k: earlier(desk, level[k]) for k in ("believed_at", "held_since") if level[k]}}
        for name, level in row["levels"].items()
    }
    desk.sql(
        "update sync.reconciliations set report = jsonb_set(report, '{levels}', cast(:levels as jsonb))"
        " where reconciliation_id = :id",
        levels=json.dumps(levels),
        id=row["reconciliation_id"],
    )


def earlier(desk: Desk, moment: str) -> Any:
    return desk.one("select to_jsonb(cast(:at as timestamptz) - interval '61 minutes')", at=moment)


def test_flags_that_flip_in_bulk_ask_nothing_create_nothing_and_send_nothing(copy: Desk) -> None:
    before, sent = bases(copy), len(copy.world.received)
    rows = {table: copy.one(f"select count(*) from crm.{table}") for table in TABLES}
    large = [table for table in TABLES if rows[table] >= 10]
    assert {"leads", "installs", "milestones"} <= {*large}
    for table in large:
        copy.sql(FLIP.format(table))
    plan = copy.plan()
    assert (copy.changes(plan), copy.undecided(plan)) == ([], [])
    for table in large:
        (said,) = [reason for reason in plan.kept if f"rows of {table} are gone" in reason]
        assert said.startswith(f"{rows[table]:,} rows of {table} are gone or marked as deleted since 20")
        assert said.endswith(
            "a copy that is being re-synced? Nothing is concluded until the table stays so for an hour."
        )
    for table in large:
        copy.sql(BACK.format(table))
    plan = copy.plan()
    assert (copy.changes(plan), copy.undecided(plan)) == ([], [])
    assert not [reason for reason in plan.kept if "are gone" in reason]
    # Both sides say what they said: no pair was forgotten, and none was made anew.
    assert bases(copy) == before
    assert len(copy.world.received) == sent


def test_nor_does_a_plan_ask_where_the_table_has_another_name_in_sync_yaml_by_now(copy: Desk) -> None:
    rows = copy.one("select count(*) from crm.leads")
    copy.sql(FLIP.format("leads"))
    marked = ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{MARK}")
    copy.switched_on("both", marked, ("\n  leads:\n", "\n  people:\n    of: leads\n"))
    plan = copy.plan()
    assert (copy.changes(plan), copy.undecided(plan)) == ([], [])
    (said,) = [reason for reason in plan.kept if "are gone" in reason]
    assert said.startswith(f"{rows:,} rows of people are gone or marked as deleted")


def test_what_stays_marked_for_an_hour_is_deleted_by_people(copy: Desk) -> None:
    copy.sql(FLIP.format("leads"))
    copy.plan()
    an_hour_passes(copy)
    plan = copy.plan()
    asked = copy.undecided(plan)
    linked = copy.one("select count(*) from crm.leads where enerflo_customer_id is not null")
    assert [(one.table_name, one.cause) for one in asked] == [("leads", "deleted_in_crm")] * linked
    assert not copy.changes(plan)


@pytest.mark.parametrize("table", ["leads", "installs"])
def test_rows_that_are_not_loaded_yet_are_not_made_by_a_plan(copy: Desk, table: str) -> None:
    # Nothing but the table's size says that the CRM ever had these rows.
    copy.sql("delete from sync.agreed")
    if table == "installs":
        copy.sql("delete from crm.milestones; delete from crm.notes; delete from crm.change_orders")
    rows = copy.sql(f"delete from crm.{table} returning *")
    plan = copy.plan()
    assert not copy.changes(plan, table_name=table)
    assert not [one for one in copy.undecided(plan) if one.table_name == table]
    assert run_apply(copy.context, plan.plan_hash, approved_by="Pat").applied >= 0
    assert copy.one(f"select count(*) from crm.{table}") == 0
    an_hour_passes(copy)
    made = {json.dumps(change.key) for change in copy.changes(copy.plan(), table_name=table, op="insert")}
    assert 0 < len(made) <= len(rows)


def test_a_row_of_another_record_is_not_adopted_meanwhile(copy: Desk) -> None:
    lead = copy.sql("select * from crm.leads where enerflo_customer_id is not null limit 1")[0]
    copy.sql("delete from crm.leads")
    copy.sql(
        "update enerflo.customers set integration_record_id = 'by-hand' where customer_id = :id",
        id=lead["enerflo_customer_id"],
    )
    copy.sql(
        "insert into crm.leads (lead_id, first_name, last_name, status, updated_at)"
        " values ('by-hand', :first, :last, 'new', now())",
        first=lead["first_name"],
        last=lead["last_name"],
    )
    assert not copy.changes(copy.plan(), table_name="leads")
    # An hour later it is the record's row.
    an_hour_passes(copy)
    adopted = copy.changes(copy.plan(), table_name="leads", field="enerflo_customer_id", op="update")
    assert [(one.key, one.after) for one in adopted] == [
        ({"lead_id": "by-hand"}, lead["enerflo_customer_id"])
    ]


def test_living_rows_of_the_same_table_are_written_as_ever(copy: Desk) -> None:
    state = copy.a_site()
    copy.sql(
        f"{FLIP.format('installs')} where enerflo_install_id <> :id",
        id=state.install_id,
    )
    copy.sql("update crm.installs set panel_count = 1 where enerflo_install_id = :id", id=state.install_id)
    plan = copy.plan()
    assert [(c.table_name, c.field) for c in copy.changes(plan)] == [("installs", "panel_count")]


def test_what_a_plan_of_ours_deletes_is_no_doubt(copy: Desk) -> None:
    copy.switched_on(
        "both",
        ("    updated_at: updated_at\n", f"    updated_at: updated_at\n{MARK}    delete_in: [crm]\n"),
    )
    keys = copy.sql("select install_id from enerflo.installs order by 1 limit 15")
    for key in keys:
        copy.sql(
            "update enerflo.installs set deleted_at = now(), observed_at = now() where install_id = :id",
            id=key["install_id"],
        )
    report = copy.carried()
    assert report.applied >= len(keys)
    copy.plan()
    assert copy.one("select count(*) from crm.installs where is_deleted") == len(keys)
    said = "select report -> 'gone_at_once' from sync.reconciliations order by compared_until desc limit 1"
    assert copy.one(said) == []
