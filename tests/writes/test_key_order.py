"""Which former key column each one is, which record a key becomes, and until when a person is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writes.test_key_rows import AGENT, OWN, Table, own_rows


def test_a_key_of_the_crms_own_gives_way_to_the_records(warehouse: sa.Engine, tmp_path: Path) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.run(
        "insert into enerflo.installs (account, install_id, agent_name, observed_at, observed_by)"
        " values ('default', 7, 'A', now(), 'poll')"
    )
    table.plan(OWN)
    # Of two rows for one record, and of a row that was of two, nobody knows which pairs are the record's.
    table.run(
        "update crm.rows set title = 'B', updated_at = now()",
        *(
            "insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, enerflo_key)"
            f" values ('default', 'installs', '{{\"project\": \"{project}\", \"part\": {part}}}', '{field}', '\"A\"',"
            f" now(), 'comparison', '{{\"install_id\": {record}}}')"
            for project, part, field, record in (("p9", 1, "title", 5), ("p6", 3, "x", 7))
        ),
        "insert into sync.agreed_twins (account, table_name, key, field, seen_at)"
        " select account, table_name, key, 'x', now() from sync.agreed where key ->> 'project' = 'p4' limit 1",
    )
    (reason,) = table.plan("key: {record: install_id}").reasons
    assert reason.endswith(
        " to record (number, install_id): the agreed values of 3 rows are not found any more."
    )
    rows = list(map(json.loads, table.stored("agreed")))
    found = {
        (row["key"]["record"], row["field"], row["value"], row["enerflo_key"])
        for row in rows
        if "record" in row["key"]
    }
    assert found == {(4, "title", "A", None), (4, "record", 4, None)}
    assert {json.loads(row)["key"]["record"] for row in table.stored("agreed_twins")} == {4}


def test_a_key_of_the_records_gives_way_to_one_with_the_same_texts(
    warehouse: sa.Engine, tmp_path: Path
) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan("key: {record: install_id}")
    table.run(
        "update crm.rows set title = 'B', updated_at = now()", "alter table crm.rows add deal text unique"
    )
    table.run("update crm.rows set deal = record::text")
    (reason,) = table.plan("key: [deal]\njoin: {record: install_id}").reasons
    assert reason.endswith(": all agreed values moved along.")
    rows = list(map(json.loads, table.stored("agreed")))
    found = {
        (row["key"]["deal"], row["value"], row["enerflo_key"]["install_id"])
        for row in rows
        if row["field"] == "title"
    }
    assert found == {(str(number), "A", number) for number in (4, 5, 6)}


ORDERS = [
    # A key of two numbers: what they are called by then, whether the columns before are remembered, and
    # whether the pairs of a row that has both numbers turned round are taken for its own.
    (["alter table crm.rows rename a to c"], "[c, bb]", True, True),
    (["alter table crm.rows rename a to c"], "[c, bb]", False, True),
    (["alter table crm.rows rename a to c", "alter table crm.rows rename bb to d"], "[c, d]", True, True),
    (["alter table crm.rows rename a to c", "alter table crm.rows rename bb to d"], "[c, d]", False, False),
    (["alter table crm.rows rename bb to c", "alter table crm.rows rename a to bb"], "[bb, c]", True, False),
    (["alter table crm.rows rename a to c"], "[bb, c]", True, False),
]


@pytest.mark.parametrize(("statements", "key", "remembered", "moves"), ORDERS)
def test_a_key_is_that_of_its_own_row_whatever_its_columns_are_called(
    warehouse: sa.Engine,
    tmp_path: Path,
    statements: list[str],
    key: str,
    remembered: bool,
    moves: bool,
) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.run(
        "alter table crm.rows drop constraint rows_pkey, add a bigint, add bb bigint",
        "update crm.rows set a = 1, bb = 2 where record = 4",
        "update crm.rows set a = 2, bb = 1 where record = 5",
        "update crm.rows set a = 3, bb = 3 where record = 6",
        "alter table crm.rows add unique (a, bb)",
        # Pairs of a version that did not remember their record.
        "delete from crm.rows where record = 5",
    )
    table.plan("key: [a, bb]\njoin: {record: install_id}")
    table.run(
        "update sync.agreed set enerflo_key = null",
        "insert into crm.rows (project, part, a, bb, record, title, updated_at)"
        " values ('p5', 2, 2, 1, 5, 'B', now())",
        "update crm.rows set title = 'B', updated_at = now()",
        *([] if remembered else ["delete from sync.agreed_keys where table_name = 'installs'"]),
        *statements,
    )
    plan = table.plan(f"key: {key}\njoin: {{record: install_id}}")
    rest = (
        "all agreed values moved along." if moves else "the agreed values of 2 rows are not found any more."
    )
    assert [reason.split(": ")[1] for reason in plan.reasons] == [rest]
    first, second = key.strip("[]").split(", ")
    found = {
        (row["key"][first], row["key"][second])
        for row in map(json.loads, table.stored("agreed"))
        if row["field"] == "title" and {first, second} == row["key"].keys()
    }
    assert found == ({(1, 2), (3, 3)} if moves else set())


def test_it_is_told_until_a_person_applied_a_plan_that_said_so(warehouse: sa.Engine, tmp_path: Path) -> None:
    table = Table(warehouse, tmp_path, "installs", AGENT)
    own_rows(table)
    table.plan(OWN)
    table.run(
        "update crm.rows set title = 'B', updated_at = now()", "alter table crm.rows rename project to pid"
    )
    key = OWN.replace("project", "pid")
    table.plan(key)
    # It changes once more, and is told as it was at first.
    table.run("alter table crm.rows rename pid to qid")
    key = OWN.replace("project", "qid")
    (reason,) = table.plan(key).reasons
    assert reason.startswith(
        "The key columns of installs changed from project (text), part (number), matched"
    )
    assert " to qid (text), part (number), matched by record (number, install_id): all" in reason
    approved = {
        **{"account": "default", "plan_hash": "approved", "state": "applied", "change_count": 1, "part": 1},
        **{"reasons": ["Something else.", reason], "created": "at once"},
    }
    for other in (
        *[{"account": "other"}, {"state": "open"}, {"state": "rejected"}, {"change_count": 0}],
        *[{"created": "before"}, {"reasons": ["Something else."]}],
    ):
        put_plan(table, {**approved, **other})
        assert reason in table.plan(key).reasons, other
        table.run("delete from sync.plans where plan_hash = 'approved'")
    before = table.stored("agreed")
    put_plan(table, approved)
    assert reason not in table.plan(key).reasons
    assert table.stored("agreed") == before
    # Nor is it told when that plan is forgotten.
    table.run("delete from sync.plans where plan_hash = 'approved'")
    assert reason not in table.plan(key).reasons


def put_plan(table: Table, row: dict[str, Any]) -> None:
    """Store a plan that is as the one that was made but for ``row``, and was made when the change was found."""
    earlier = "1 microsecond" if row["created"] == "before" else "0"
    with table.warehouse.begin() as connection:
        connection.execute(
            sa.text(
                "insert into sync.plans select (jsonb_populate_record(p, cast(:row as jsonb)"
                " || jsonb_build_object('created_at', k.changed_at - cast(:earlier as interval)))).*"
                " from sync.plans p cross join sync.agreed_keys k"
                " where k.account = 'default' and k.table_name = 'installs' limit 1"
            ),
            {"row": json.dumps(row), "earlier": earlier},
        )
