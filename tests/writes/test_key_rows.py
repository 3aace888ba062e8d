"""What is stored under a key moves along when the CRM's key columns change: each row of it, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.plan.make import make_plan
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.reconcile.reconciliation import reconcile

CONFIG = """
version: 1
accounts: {default: {mode: both}}
approval: {changes: 1000000, percent: 100, nulling: false, deletions: false, new_mapping: false, first_to_enerflo: false}
tables:
  leads:
    crm_table: crm.leads
    key: {id: customer_id}
    updated_at: updated_at
    fields:
      city: {enerflo: city, type: text, source_of_truth: enerflo}
  %s:
    crm_table: crm.rows
    %s
    updated_at: updated_at
    fields:
      %s
"""
TITLE = "title: {enerflo: title, type: text, source_of_truth: enerflo}"
AGENT = "title: {enerflo: agent_name, type: text, source_of_truth: enerflo}"
STRANGE = '{"key": [["strange", "number", null]], "join": []}'
STORED = ("agreed", "agreed_twins", "own_writes", "refusals", "plan_changes")
NUMBERS = "(4, 1), (5, 2), (6, 3)"


class Table:
    """One mapped table whose rows the CRM has edited since both sides agreed."""

    def __init__(self, warehouse: sa.Engine, folder: Path, name: str, field: str) -> None:
        self.warehouse, self.folder, self.name, self.field = warehouse, folder, name, field
        # What is stored of another account's table, or of another table, is not about this one.
        self.run(
            "insert into sync.agreed_keys (account, table_name, columns, columns_before, changed_at, rows_lost)"
            f" values ('other', '{name}', '{STRANGE}', '{STRANGE}', '2026-01-01', 3),"
            f" ('default', 'notes', '{STRANGE}', null, null, null)",
            "insert into sync.agreed (account, table_name, key, field, agreed_at, agreed_by)"
            f" values ('other', '{name}', '{{\"strange\": 1}}', 'x', now(), 'push'),"
            " ('default', 'notes', '{\"strange\": 1}', 'x', now(), 'push')",
        )

    def run(self, *statements: str) -> None:
        with self.warehouse.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def plan(self, key: str) -> PlanReport:
        path = self.folder / "sync.yaml"
        path.write_text(CONFIG % (self.name, key.replace("\n", "\n    "), self.field))
        config = load_config(path, {})
        report = reconcile(self.warehouse, config, "default")
        return make_plan(self.warehouse, config, "default", report.reconciliation_id)

    def stored(self, table: str) -> set[tuple[str, ...]]:
        """Return every row of a table of ``sync`` that is stored by key, without its times."""
        of_before = " where plan_hash = 'before'" if table == "plan_changes" else ""
        with self.warehouse.connect() as connection:
            rows = connection.execute(
                sa.text(
                    f"select to_jsonb(t) - '{{agreed_at,seen_at,left_at,others_at,agreed_by}}'::text[] as row"
                    f" from sync.{table} t{of_before}"
                )
            )
            return {json.dumps(row.row, sort_keys=True) for row in rows}  # type: ignore[misc]

    def stand(self, of_key: str) -> None:
        """Store further rows under the keys that are agreed on, and the same for strangers."""
        self.run(
            "insert into sync.agreed_twins (account, table_name, key, field, seen_at)"
            f" select account, table_name, key, 'x', now() from sync.agreed where {of_key} group by 1, 2, 3",
            "insert into sync.own_writes (account, side, table_name, key, left_at)"
            " select account, side, table_name, key, now() from sync.agreed, unnest(array['crm', 'enerflo']) side"
            " group by 1, 2, 3, 4",
        )
        # What goes on under a key only as long as it is open.
        owners = (
            f"(values ('default', '{self.name}'), ('other', '{self.name}'), ('default', 'notes')) o (a, n)"
        )
        keys = f"(select distinct key from sync.agreed where {of_key}) k cross join {owners}"
        self.run(
            "insert into sync.refusals (account, table_name, key, op, field, direction, plan_hash, decided_by,"
            " decided_at, ended_at) select a, n, key, 'update', 'x', 'to_crm', 'before', 'Sam', now(), ended_at"
            f" from {keys} cross join (values (null), (now())) e (ended_at)",
            "insert into sync.plan_changes (account, table_name, key, op, field, direction, plan_hash, policy, cause,"
            " rule, position, sent_at, state) select a, n, key, 'update', 'x', 'to_crm', 'before', '-', '-', '-',"
            f" row_number() over (), sent_at, state from {keys}"
            " cross join (values (null, 'planned'), (now(), 'sent'), (now(), 'applied')) e (sent_at, state)",
        )
        for table, columns in (
            ("agreed", "field, value, crm_value, agreed_at, agreed_by, is_link"),
            ("agreed_twins", "field, seen_at"),
            ("own_writes", "side, left_at"),
        ):
            for account, name in (("'other'", "table_name"), ("account", "'notes'")):
                self.run(
                    f"insert into sync.{table} (account, table_name, key, {columns}) select {account}, {name}, key,"
                    f" {columns} from sync.{table} where account = 'default' and table_name = '{self.name}'"
                )
        # What a stranger's pair says of its record is another one.
        record = "null" if self.name == "installs" else '\'{"install_id": 5, "milestone_id": 2}\''
        self.run(
            f"update sync.agreed set enerflo_key = {record} where (account, table_name) <> ('default', '{self.name}')"
        )


def moved(rows: set[Any], name: str, change: dict[str, Any]) -> set[Any]:
    """Return what is to be stored then: ``change`` maps names of key columns to new names, or to their type."""
    found = set()
    for text in rows:
        row = json.loads(text)
        own = (row["account"], row["table_name"]) == ("default", name) and row.get("side") != "enerflo"
        sent = "sent_at" not in row or (row["sent_at"] is not None and row["state"] != "applied")
        if own and sent and row.get("ended_at") is None:
            row["key"] = {
                (new if isinstance(new := change.get(column, column), str) else column): (
                    new(value) if callable(new) else value
                )
                for column, value in row["key"].items()
            }
        found.add(json.dumps(row, sort_keys=True))
    return found


@pytest.mark.parametrize(
    ("statement", "key", "change"),
    [
        (
            "alter table crm.rows rename install to ours",
            "key: {ours: install_id, milestone: milestone_id}",
            {"install": "ours"},
        ),
        (
            "alter table crm.rows alter milestone type text",
            "key: {install: install_id, milestone: milestone_id}",
            {"milestone": str},
        ),
    ],
    ids=["renamed", "typed"],
)
def test_keys_that_are_made_of_the_mirrors(
    warehouse: sa.Engine, tmp_path: Path, statement: str, key: str, change: dict[str, Any]
) -> None:
    table = Table(warehouse, tmp_path, "milestones", TITLE)
    table.run(
        "create schema crm",
        "create table crm.leads (id bigint primary key, city text, updated_at timestamptz)",
        "create table crm.rows (install bigint, milestone bigint, title text, updated_at timestamptz,"
        " primary key (install, milestone))",
        f"insert into crm.rows select a, b, 'A', now() from (values {NUMBERS}) v (a, b)",
        "insert into enerflo.milestones (account, install_id, milestone_id, title, observed_at, observed_by)"
        f" select 'default', a, b, 'A', now(), 'poll' from (values {NUMBERS}) v (a, b)",
    )
    table.plan("key: {install: install_id, milestone: milestone_id}")
    table.run("update crm.rows set title = 'B', updated_at = now()")
    table.stand("true")
    before = {name: table.stored(name) for name in STORED}
    assert len(before["agreed"]) == 11
    table.run(statement)
    (reason,) = table.plan(key).reasons
    assert reason.startswith(
        "The key columns of milestones changed from install (number, install_id), milestone"
    )
    assert reason.endswith(", milestone_id): all agreed values moved along.")
    for name, rows in before.items():
        assert table.stored(name) == moved(rows, "milestones", change), name


OWN = "key: [project, part]\njoin: {record: install_id}"


@pytest.mark.parametrize("known", ["as stored", "of a pair"])
@pytest.mark.parametrize(
    ("statement", "key", "change"),
    [
        ("alter table crm.rows rename project to pid", OWN.replace("project", "pid"), {"project": "pid"}),
        ("alter table crm.rows alter part type text", OWN, {"part": str}),
    ],
    ids=["renamed", "typed"],
)
def test_keys_of_the_crms_own(
    warehouse: sa.Engine, tmp_path: Path, known: str, statement: str, key: str, change: dict[str, Any]
) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan(OWN)
    table.run("update crm.rows set title = 'B', updated_at = now()")
    table.stand("true")
    before = {name: table.stored(name) for name in STORED}
    if known == "of a pair":
        # Pairs of a version that did not remember the columns: their keys tell them, also that none changed.
        forgotten = "delete from sync.agreed_keys where account = 'default' and table_name = 'installs'"
        table.run(forgotten)
        assert table.plan(OWN).reasons == []
        table.run(forgotten)
    table.run(statement)
    (reason,) = table.plan(key).reasons
    assert reason.endswith(": all agreed values moved along.")
    for name, rows in before.items():
        assert table.stored(name) == moved(rows, "installs", change), name


def own_rows(table: Table) -> None:
    table.run(
        "create schema crm",
        "create table crm.leads (id bigint primary key, city text, updated_at timestamptz)",
        "create table crm.rows (project text, part bigint, record bigint unique, title text,"
        " updated_at timestamptz, other bigint generated always as identity unique, primary key (project, part))",
        f"insert into crm.rows (project, part, record, title, updated_at)"
        f" select 'p' || a, b, a, 'A', now() from (values {NUMBERS}) v (a, b)",
        "insert into enerflo.installs (account, install_id, agent_name, observed_at, observed_by)"
        f" select 'default', a, 'A', now(), 'poll' from (values {NUMBERS}) v (a, b)",
    )


def test_a_row_that_names_another_record_or_has_pairs_by_now_takes_none_along(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan(OWN)
    table.run(
        "update crm.rows set title = 'B', updated_at = now()",
        "update crm.rows set record = 99, updated_at = now() where record = 4",
        "alter table crm.rows rename project to pid",
        # Nor does one whose new key has a pair already; that another account or table has one is nothing here.
        "insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by)"
        " select a, n, jsonb_build_object('pid', p, 'part', b), 'title', '\"Z\"', now(), 'comparison'"
        " from (values ('default', 'installs', 'p5', 2), ('other', 'installs', 'p6', 3), ('default', 'notes', 'p6', 3))"
        " v (a, n, p, b)",
    )
    (reason,) = table.plan(OWN.replace("project", "pid")).reasons
    assert reason.endswith(": the agreed values of 2 rows are not found any more.")


def test_a_key_of_another_column_is_not_found_any_more(warehouse: sa.Engine, tmp_path: Path) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan(OWN)
    table.run("update crm.rows set title = 'B', updated_at = now()")
    before = table.stored("agreed")
    plan = table.plan("key: [other]\njoin: {record: install_id}")
    assert [reason.split(": ")[1] for reason in plan.reasons] == [
        "the agreed values of 3 rows are not found any more."
    ]
    assert table.stored("agreed") >= before


@pytest.mark.parametrize(
    ("statement", "join", "link"),
    [
        ("alter table crm.rows rename record to deal", "deal", ("deal", 4)),
        ("alter table crm.rows alter record type text", "record", ("record", "4")),
    ],
    ids=["renamed", "typed"],
)
def test_a_link_that_was_renamed_or_is_written_otherwise(
    warehouse: sa.Engine, tmp_path: Path, statement: str, join: str, link: tuple[str, Any]
) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan(OWN)
    table.stand("true")
    # One that has a pair of the new name already keeps both.
    table.run(
        "insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, is_link)"
        " select account, table_name, key, 'deal', '0', agreed_at, agreed_by, true from sync.agreed"
        " where field = 'record' and account = 'default' and table_name = 'installs' and key ->> 'project' = 'p5'"
    )
    before = list(map(json.loads, table.stored("agreed")))
    # The row of the link is gone: what is stored of it says that it was deleted.
    table.run("delete from crm.rows where record = 4", statement)
    table.plan(OWN.replace("record", join))
    after = list(map(json.loads, table.stored("agreed")))
    links = {
        (row["field"], row["value"])
        for row in after
        if row["key"].get("project") == "p4" and row["is_link"] and row["account"] == "default"
        if row["table_name"] == "installs"
    }
    assert links == {link}
    for rows in (before, after):
        rows[:] = [row for row in rows if (row["account"], row["table_name"]) != ("default", "installs")]
        rows.sort(key=str)
    assert after == before
    assert before
