"""The server knows how large a plan is before the next statement about it, not a minute later.

Else it looks through a table of the CRM, or of ours, for each change: minutes instead of seconds with thousands.
"""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.plan.decide import MAKE_DECIDED, note_decisions
from enerflo_sync.warehouse import statistics
from tests.writes.conftest import Desk
from tests.writes.test_changes import HANDED

ROWS = sa.text("select reltuples::bigint from pg_class where oid = cast(:table as regclass)")


@pytest.fixture(autouse=True)
def every_row_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "FEW_ROWS", 1)


def rows(desk: Desk, table: str) -> int:
    with desk.engine.connect() as connection:
        return int(connection.execute(ROWS, {"table": table}).scalar_one())


def test_of_a_plan_before_it_is_applied_and_of_what_was_applied_before_the_next_one_or_an_undo(
    agreed: Desk,
) -> None:
    agreed.switched_on("crm")
    agreed.sql(
        "update crm.installs set panel_count = panel_count + 1 where ctid in (select ctid from crm.installs limit 3)"
    )
    plan = agreed.plan()
    assert plan.change_count == 3
    assert rows(agreed, "sync.plan_changes") == agreed.one("select count(*) from sync.plan_changes")
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert rows(agreed, "sync.ledger") == agreed.one("select count(*) from sync.ledger")
    assert run_undo(agreed.context, plan.plan_hash).change_count == 3


def test_of_changes_that_were_handed_over_and_of_what_the_copy_shows(agreed: Desk) -> None:
    agreed.switched_on("crm", HANDED)
    agreed.sql(
        "update crm.installs set panel_count = panel_count + 1 where ctid in (select ctid from crm.installs limit 3)"
    )
    plan = agreed.plan()
    known = {
        row["attname"] for row in agreed.sql("select attname from pg_stats where tablename = 'plan_changes'")
    }
    assert {"direction", "state", "field", "op", "table_name"} <= known
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    assert rows(agreed, "sync.crm_changes") == 3


def test_of_the_decisions_by_the_columns_that_they_are_chosen_by(agreed: Desk) -> None:
    with agreed.engine.begin() as connection:
        connection.exec_driver_sql(MAKE_DECIDED)
        connection.exec_driver_sql(
            "insert into pg_temp.decided (outcome, table_name, key, op, field, policy, cause, rule)"
            " select 'to_crm', 'installs', to_jsonb(n), 'update', 'status', '', '', '' from generate_series(1, 50) n"
        )
        note_decisions(connection)
        known = connection.exec_driver_sql(
            "select attname from pg_stats where tablename = 'decided'"
        ).scalars()
        assert set(known) == {"table_name", "op", "outcome", "field"}
