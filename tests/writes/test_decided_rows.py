"""Which rows a plan decides about: those that differed in its reconciliation, and all of a table without one."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {install: install_id}
    updated_at: updated_at
    reconcile: %s
    fields:
      agent: {enerflo: agent_name, type: text, source_of_truth: enerflo}
"""


@pytest.mark.parametrize("reconciled", [True, False])
def test_a_row_that_is_edited_after_the_reconciliation_waits_for_the_next(
    warehouse: sa.Engine, tmp_path: Path, reconciled: bool
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG % str(reconciled).lower())
    config = load_config(path, {})
    with warehouse.begin() as connection:
        for statement in (
            "create schema crm",
            "create table crm.installs (install bigint, agent text, updated_at timestamptz)",
            "insert into crm.installs select n, case n when 1 then 'Bob' else 'Ann' end, now()"
            " from generate_series(1, 3) n",
            # Of one record the CRM has two rows.
            "insert into crm.installs values (3, 'Bob', now())",
            "insert into enerflo.installs (account, install_id, agent_name, observed_at, observed_by)"
            " select 'default', n, 'Ann', now(), 'poll' from generate_series(1, 3) n",
        ):
            connection.exec_driver_sql(statement)
    report = reconcile(warehouse, config, "default")
    with warehouse.begin() as connection:
        connection.exec_driver_sql(
            "update crm.installs set agent = 'Eve', updated_at = now() where install = 2"
        )
    plan = make_plan(warehouse, config, "default", report.reconciliation_id)
    with warehouse.connect() as connection:
        changes = [one.key["install"] for one in read_changes(connection, "default", plan.plan_hash)]
        asked = [(one.key, one.cause) for one in read_undecided(connection, "default", plan.plan_hash)]
    assert changes == ([1] if reconciled else [1, 2])
    assert asked == [({"install": 3}, "duplicate_identity")]
