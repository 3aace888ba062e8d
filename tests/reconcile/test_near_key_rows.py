"""Which missing records a row of the CRM names in another spelling: every spelling beside every other one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.load import load_config
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.near_keys import count_near_keys, keep_near_keys, may_be_near, no_near_row

CONFIG = """
version: 1
accounts: {default: {mode: both}}
tables:
  milestones:
    crm_table: crm.rows
    key: [own]
    join: {install: install_id, milestone: %s}
    where: "kind <> 'out'"
    fields:
      title: {enerflo: title, type: text}
"""
# How the CRM may say the record's number, and how that number is spelled otherwise.
SPELLINGS = {
    "{0}": False,
    "0{0}": True,
    "+{0}": True,
    " {0}": True,
    "{0}\t": True,
    "{0}.00": True,
    "{0}.5": None,
    "1{0}": None,
    "{0}x": True,
    "INS-0{0}": True,
    "{0}-1": None,
    "": None,
}


@pytest.fixture
def connection(warehouse: sa.Engine) -> Iterator[sa.Connection]:
    with warehouse.begin() as opened:
        opened.exec_driver_sql("create schema crm")
        opened.exec_driver_sql(
            "create table crm.rows (own serial, install text, milestone text, kind text default 'in', title text)"
        )
        yield opened


def comparison(connection: sa.Connection, folder: Path, milestone: str = "milestone_id") -> Comparison:
    path = folder / "sync.yaml"
    path.write_text(CONFIG % milestone)
    (plan,) = live_comparisons(connection, load_config(path, {}), "default", "", all_tables=True)
    return plan


def mirrored(connection: sa.Connection, install: int, milestone: int, **other: Any) -> None:
    row = {"account": "default", "deleted_at": None, "title": None} | other
    connection.execute(
        sa.text(
            "insert into enerflo.milestones (account, install_id, milestone_id, title, deleted_at, observed_at,"
            " observed_by) values (:account, :i, :m, :title, :deleted_at, now(), 'poll')"
        ),
        {"i": install, "m": milestone, **row},
    )


def named(
    connection: sa.Connection, install: str | int | None, milestone: str | None, kind: str = "in"
) -> None:
    connection.execute(
        sa.text("insert into crm.rows (install, milestone, kind) values (:i, :m, :k)"),
        {"i": install, "m": milestone, "k": kind},
    )


def missing(connection: sa.Connection, plan: Comparison, *numbers: tuple[Any, Any], **other: Any) -> None:
    """Let the records be what a reconciliation calls missing, and what a plan finds mismatched."""
    differs = {"account": "default", "id": "r", "table": "milestones", "field": None, "crm": None} | other
    for install, milestone in numbers:
        connection.execute(
            sa.text(
                "insert into sync.differences (account, reconciliation_id, table_name, key, field, crm_value, cause)"
                " values (:account, :id, :table, cast(:key as jsonb), :field, cast(:crm as jsonb), 'missing_in_crm')"
            ),
            {**differs, "key": json.dumps({"install": str(install), "milestone": str(milestone)})},
        )


def mismatched(connection: sa.Connection, plan: Comparison) -> str:
    """Put the records, and rows of other kinds, as a plan has them; return its condition of near ones."""
    connection.exec_driver_sql(
        f"create temporary table mismatched_{plan.name} on commit drop as"
        " select install_id::text as j1, milestone_id::text as j2, in_enerflo, in_crm"
        " from enerflo.milestones, (values (true, false), (true, true), (false, true)) v(in_enerflo, in_crm)"
    )
    return keep_near_keys(connection, plan, "default")


def near(connection: sa.Connection, plan: Comparison) -> set[tuple[int, int]]:
    """Return the missing records that count as near, by all three functions alike."""
    counted = count_near_keys(connection, plan, {"account": "default", "reconciliation_id": "r"})
    condition = mismatched(connection, plan)
    found = connection.exec_driver_sql(
        f"select distinct j1, j2 from {plan.mismatched} o where {condition}"
    ).all()
    kept = {(int(row.j1), int(row.j2)) for row in found}
    assert counted == len(kept)
    no_row = no_near_row(plan, {"install": "e.install_id", "milestone": "e.milestone_id"})
    free = connection.exec_driver_sql(
        "select e.install_id, e.milestone_id from enerflo.milestones e"
        f" where e.account = 'default' and e.deleted_at is null {no_row}",
        {"account": "default"},
    ).all()
    living = connection.exec_driver_sql(
        "select install_id, milestone_id from enerflo.milestones where account = 'default' and deleted_at is null"
    ).all()
    assert {tuple(row) for row in living} - {tuple(row) for row in free} == kept
    return kept


def test_a_record_is_near_where_all_of_its_key_is_the_same_and_some_of_it_is_spelled_otherwise(
    connection: sa.Connection, tmp_path: Path
) -> None:
    plan, wanted = comparison(connection, tmp_path), set()
    for n, (install, milestone) in enumerate(product(SPELLINGS, SPELLINGS), 1):
        i, m = 2000 + n, 40_000 + n
        mirrored(connection, i, m)
        named(connection, install.format(i), milestone.format(m))
        how = (SPELLINGS[install], SPELLINGS[milestone])
        # As it stands it is no missing record.
        if how != (False, False):
            missing(connection, plan, (i, m))
        if None not in how and True in how:
            wanted.add((i, m))
    assert near(connection, plan) == wanted


def test_rows_that_name_a_record_as_it_stands_or_are_none_are_near_to_nothing(
    connection: sa.Connection, tmp_path: Path
) -> None:
    plan = comparison(connection, tmp_path)
    for m in range(1, 8):
        mirrored(connection, 1, m)
        missing(connection, plan, (1, m))
    named(connection, None, "02")
    named(connection, "01", None)
    # A row outside where is near to a record, too.
    named(connection, "1", "01", kind="out")
    # Of these each says what is near to a record, but for the record that it names.
    named(connection, "1", "05")
    mirrored(connection, 1, 50, deleted_at="2026-01-01")
    mirrored(connection, 9, 6, account="other")
    named(connection, "1", "06")
    strangers: list[dict[str, Any]] = [
        *({"account": "other"}, {"id": "another"}, {"table": "notes"}),
        *({"field": "title"}, {"crm": '"x"'}),
    ]
    for m, other in enumerate(strangers, 10):
        mirrored(connection, 2, m)
        named(connection, "2", f"0{m}")
        missing(connection, plan, (2, m), **other)
    counted = count_near_keys(connection, plan, {"account": "default", "reconciliation_id": "r"})
    assert counted == 3


@pytest.mark.parametrize("install", ["text", "bigint"])
def test_a_text_that_is_another_records_own_key_is_no_spelling(
    connection: sa.Connection, tmp_path: Path, install: str
) -> None:
    connection.exec_driver_sql(f"alter table crm.rows alter install type {install} using null")
    plan = comparison(connection, tmp_path, "title")
    mirrored(connection, 1, 1, title="abc")
    mirrored(connection, 1, 2, title="AbC")
    mirrored(connection, 1, 3, title="ABC", deleted_at="2026-01-01")
    mirrored(connection, 1, 4, title="ABC", account="other")
    named(connection, "1", "abc")
    missing(connection, plan, (1, "AbC"))
    values = {"account": "default", "reconciliation_id": "r"}
    no_row = no_near_row(plan, {"install": "e.install_id", "milestone": "e.title"})
    query = "select e.title from enerflo.milestones e where e.account = 'default' and e.deleted_at is null "

    def free() -> set[str]:
        return set(connection.exec_driver_sql(query + no_row, values).scalars())

    assert count_near_keys(connection, plan, values) == 0
    assert free() == {"abc", "AbC"}
    named(connection, "1", "ABC")
    assert count_near_keys(connection, plan, values) == 1
    assert free() == set()
    # A text of plain digits is another text's spelling, too.
    mirrored(connection, 1, 5, title="7.0")
    missing(connection, plan, (1, "7.0"))
    assert free() == {"7.0"}
    named(connection, "1", "7")
    assert count_near_keys(connection, plan, values) == 2
    assert free() == set()


def test_only_records_that_the_crm_lacks_are_near(connection: sa.Connection, tmp_path: Path) -> None:
    plan = comparison(connection, tmp_path)
    sides = list(product((True, False), repeat=2))
    rows = ", ".join(f"('1', '{m}', {mine}, {theirs})" for m, (mine, theirs) in enumerate(sides))
    connection.exec_driver_sql(
        f"create temporary table mismatched_{plan.name} (j1 text, j2 text, in_enerflo boolean, in_crm boolean);"
        f" insert into {plan.mismatched} values {rows}"
    )
    for m in range(len(sides)):
        named(connection, "1", f"0{m}")
    condition = keep_near_keys(connection, plan, "default")
    found = connection.exec_driver_sql(f"select j2 from {plan.mismatched} o where {condition}").scalars()
    assert list(found) == [str(sides.index((True, False)))]


def test_only_keys_of_text_have_spellings(connection: sa.Connection, tmp_path: Path) -> None:
    connection.exec_driver_sql("alter table crm.rows alter install type bigint using 1")
    plan = comparison(connection, tmp_path)
    assert may_be_near(plan)
    mirrored(connection, 1, 1)
    missing(connection, plan, (1, 1))
    named(connection, "1", "01")
    assert near(connection, plan) == {(1, 1)}
    links = {"install": "e.install_id", "milestone": "e.milestone_id"}
    assert no_near_row(plan, {"install": "e.install_id"}) == ""
    connection.exec_driver_sql("alter table crm.rows alter milestone type bigint using 1")
    plan = comparison(connection, tmp_path)
    assert not may_be_near(plan)
    assert (no_near_row(plan, links), keep_near_keys(connection, plan, "default")) == ("", "false")


def test_the_crm_is_looked_through_once_for_all_new_rows(connection: sa.Connection, tmp_path: Path) -> None:
    """Else each new row takes seconds where a large table spells its keys with zeros in front."""
    plan = comparison(connection, tmp_path)
    no_row = no_near_row(plan, {"install": "e.install_id", "milestone": "e.milestone_id"})
    query = f"explain select from enerflo.milestones e where e.account = 'default' {no_row}"
    steps = connection.exec_driver_sql(query, {"account": "default"}).scalars().all()
    assert sum("Anti Join" in step for step in steps) == 4
    assert not any("SubPlan" in step for step in steps)
