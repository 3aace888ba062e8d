"""A new row that a person refused: told once, with what belongs to it, until a value of it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.reads import read_changes, read_undecided
from enerflo_sync.plan.remembered import open_again, remember_refused
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  installs:
    crm_table: crm.installs
    key: {install: install_id}
    updated_at: updated_at
    on_insert: {origin: "enerflo {deal_id}"}
    fields:
      agent: {enerflo: agent_name, type: text, trim: true, fold_case: true, source_of_truth: enerflo}
      panels: {enerflo: panel_count, type: integer, source_of_truth: enerflo}
  milestones:
    crm_table: crm.milestones
    key: {install: install_id, milestone: milestone_id}
    updated_at: updated_at
    fields:
      title: {enerflo: title, type: text, source_of_truth: enerflo}
"""


def run(warehouse: sa.Engine, *statements: str) -> None:
    with warehouse.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def planned(warehouse: sa.Engine, config: SyncConfig) -> tuple[str, list[Any], list[Any]]:
    """Return the plan's hash, the rows that it makes, and what it tells of refused ones."""
    plan = make_plan(warehouse, config, "default", reconcile(warehouse, config, "default").reconciliation_id)
    with warehouse.connect() as connection:
        changes = list(read_changes(connection, "default", plan.plan_hash))
        told = [
            (one.table_name, tuple(one.key.values()), one.field, one.enerflo_value, one.crm_value, one.reason)
            for one in read_undecided(connection, "default", plan.plan_hash)
        ]
    made = {(one.table_name, *one.key.values()) for one in changes if one.op == "insert"}
    return plan.plan_hash, sorted(made), sorted(told)


def test_it_is_told_once_with_its_milestones_until_a_value_changes(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    path = tmp_path / "sync.yaml"
    path.write_text(CONFIG)
    config = load_config(path, {})
    run(
        warehouse,
        "create schema crm",
        "create table crm.installs (install bigint primary key, agent text, panels int, origin text,"
        " updated_at timestamptz)",
        "create table crm.milestones (install bigint, milestone bigint, title text, updated_at timestamptz,"
        " primary key (install, milestone))",
        "insert into crm.installs values (2, 'Bob', 20, 'by hand', now())",
    )
    for account, first in (("default", 1), ("other", 2)):
        run(
            warehouse,
            "insert into enerflo.installs (account, install_id, agent_name, panel_count, deal_id, observed_at,"
            f" observed_by) select '{account}', n, 'Ann', 20, 'd', '2026-01-01', 'poll' from generate_series({first}, 3) n",
            "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
            f" select '{account}', i, m, 'Roof', '2026-01-01', 'poll' from generate_series({first}, 2) i,"
            " generate_series(7, 8) m",
        )
    first, made, told = planned(warehouse, config)
    everything = [
        *[("installs", 1), ("installs", 3)],
        *[("milestones", 1, 7), ("milestones", 1, 8), ("milestones", 2, 7), ("milestones", 2, 8)],
    ]
    assert (made, told) == (everything, [])

    with warehouse.begin() as connection:
        positions = connection.execute(
            sa.text(
                "select position from sync.plan_changes where table_name = 'installs' and key ->> 'install' in ('1', '2')"
            )
        ).scalars()
        remember_refused(connection, "default", first, list(positions), who="Sam", reason=None)
        stored = connection.execute(
            sa.text("select op, field, before, source_value, direction from sync.refusals order by 1")
        )
        assert [tuple(row) for row in stored] == [
            *[("insert", None, None, None, "to_crm"), ("update", "agent", "Bob", "Ann", "to_crm")]
        ]
        # Another account's refusals bind nothing here, nor do those of another plan end with this one.
        connection.exec_driver_sql(
            "insert into sync.refusals (account, table_name, key, enerflo_key, op, field, direction, before, after,"
            " plan_hash, decided_by, decided_at) select 'other', table_name, jsonb_build_object('install', 3),"
            " jsonb_build_object('install_id', 3), op, field, direction, before,"
            " after || '{\"install\": 3}'::jsonb, plan_hash, 'Eve', decided_at from sync.refusals where op = 'insert'"
        )
    rest = [("installs", 3), ("milestones", 2, 7), ("milestones", 2, 8)]
    _, made, told = planned(warehouse, config)
    assert made == rest
    assert [one[:3] for one in told] == [
        ("installs", (1,), None),
        ("installs", (2,), "agent"),
        ("milestones", (1, 7), None),
        ("milestones", (1, 8), None),
    ]
    install, change, *milestones = told
    assert change[3:5] == ("Ann", "Bob")
    assert {**install[3]}.items() >= {"agent": "Ann", "panels": 20, "origin": "enerflo d"}.items()
    assert install[4] is None
    assert install[5].startswith("refused by Sam on ")
    for one in milestones:
        assert one[3]["title"] == "Roof"
        assert one[5] == f"its install was {install[5]}"

    # Another spelling is the same row; another value of a field, or of what only a new row gets, is not.
    run(
        warehouse,
        "update enerflo.installs set agent_name = ' ANN', observed_at = now() where account = 'default'",
    )
    assert planned(warehouse, config)[1] == rest
    with warehouse.begin() as connection:
        nested = connection.begin_nested()
        open_again(connection, "default", first, "Pat")
        ended = connection.execute(
            sa.text("select account, ended_by, end_reason from sync.refusals order by 1")
        )
        assert [tuple(row) for row in ended] == [
            *[("default", "Pat", "the plan was approved after all")] * 2,
            ("other", None, None),
        ]
        nested.rollback()
    run(warehouse, "update enerflo.installs set deal_id = 'e', observed_at = now() where install_id = 1")
    _, made, told = planned(warehouse, config)
    assert (made, [one[:3] for one in told]) == (everything, [("installs", (2,), "agent")])
    with warehouse.connect() as connection:
        ended = connection.execute(sa.text("select account, end_reason from sync.refusals order by 1, 2"))
        assert [tuple(row) for row in ended] == [
            *[("default", "a value changed"), ("default", None), ("other", None)]
        ]
