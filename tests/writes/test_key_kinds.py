"""A key column that gets another type: what is stored of its former keys fits no more, and stops no job."""

from __future__ import annotations

from typing import Any

import pytest

from enerflo_sync.crm.catalog import live_table
from enerflo_sync.crm.keys import fitting
from enerflo_sync.crm.names import literal
from enerflo_sync.jobs.apply import run_apply
from enerflo_sync.jobs.approval import run_reject
from enerflo_sync.jobs.explain import run_explain
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.jobs.undo import run_undo
from tests.writes.conftest import Desk

KEY = "    key: {enerflo_install_id: install_id}\n    updated_at: updated_at\n    fields:\n      deal_id"
OWN = KEY.replace(
    "{enerflo_install_id: install_id}",
    '[oid]\n    join: {enerflo_install_id: install_id}\n    on_insert: {oid: "x-{install_id}"}',
)
TABLE = "    crm_table: crm.installs\n"
STATUS = "status: {enerflo: status_name, type: text, trim: true, fold_case: true, source_of_truth: newest}"
NUMBERED = {
    "text": "'k' || n",
    "uuid": "gen_random_uuid()",
    "bigint": "99999999999 + n",
    "smallint": "n",
    "numeric(20,1)": "n + 0.5",
    "numeric(5,2)": "n",
    "double precision": "n * 1e17",
    "varchar(3)": "'v' || n",
    "crm.word": "('e' || n)::crm.word",
}


def numbered(desk: Desk, kind: str) -> None:
    desk.sql(f"alter table crm.installs add oid {kind}")
    desk.sql(
        f"update crm.installs c set oid = {NUMBERED[kind]} from (select ctid as row, row_number() over"
        " (order by enerflo_install_id) as n from crm.installs) s where s.row = c.ctid"
    )


@pytest.mark.parametrize("handed_over", [False, True], ids=["written", "handed over"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("text", "bigint"), ("text", "uuid"), ("uuid", "bigint"), ("bigint", "uuid")),
        *(("bigint", "smallint"), ("numeric(20,1)", "bigint"), ("double precision", "numeric(5,2)")),
        *(("text", "crm.word"), ("text", "varchar(3)")),
    ],
)
def test_what_is_stored_of_former_keys_stops_no_job(
    agreed: Desk, before: str, after: str, handed_over: bool
) -> None:
    words = ", ".join(f"'e{n}'" for n in range(1, 60))
    agreed.sql(f"create type crm.word as enum ({words})")
    numbered(agreed, before)
    edits = [(KEY, OWN), *([(TABLE, f"{TABLE}    write_to: changes\n")] if handed_over else [])]
    agreed.switched_on("both", *edits)
    agreed.carried()
    ids = [row["id"] for row in agreed.sql("select enerflo_install_id as id from crm.installs order by 1")]

    def told(change: str) -> Any:
        agreed.sql(
            f"update enerflo.installs set {change}, observed_at = now() where install_id = any(:ids)",
            ids=ids[:4],
        )
        return agreed.plan()

    run_reject(agreed.context, told("panel_count = panel_count + 1").plan_hash, by="Pat")
    written = told("system_size_kw = system_size_kw + 1")
    done = run_apply(agreed.context, written.plan_hash, approved_by="Pat")
    assert (done.applied, done.handed_over) == ((0, 4) if handed_over else (4, 0))
    agreed.sql("delete from crm.installs where enerflo_install_id = :id", id=ids[0])
    agreed.sql("alter table crm.installs rename oid to former")
    numbered(agreed, after)
    for other in ((), ((STATUS, STATUS.replace(" fold_case: true,", "")),)):
        agreed.switched_on("both", *edits, *other)
        for full in (False, True):
            run_reconcile(agreed.context, full=full)
        plan = agreed.plan()
        # Nothing that a person refused is written, no row is made again, and nothing handed over twice.
        assert [one.field for one in agreed.changes(plan) if one.field in (None, "panel_count")] == []
        assert run_undo(agreed.context, written.plan_hash).change_count == 0
        assert run_explain(agreed.context, "install", f"enerflo:{ids[1]}") is not None


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        *(("smallint", "32767", "32767"), ("smallint", "32768", None), ("smallint", "-32768", "-32768")),
        *(("bigint", "9223372036854775807", "9223372036854775807"), ("bigint", "9223372036854775808", None)),
        *(("bigint", "12.0", "12"), ("bigint", "12.5", None), ("bigint", "k1", None), ("bigint", "", None)),
        *(("numeric(5,2)", "123456", "123456"), ("numeric", "1.50", "1.50"), ("numeric", "k", None)),
        *(("real", "1.5", "1.5"), ("real", "1" + "0" * 50, None), ("double precision", "NaN", None)),
        *(
            ("uuid", "k", None),
            ("uuid", "0" * 8 + "-0000" * 3 + "-" + "0" * 12, "0" * 8 + "-0000" * 3 + "-" + "0" * 12),
        ),
        *(
            ("text", "k ", "k "),
            ("varchar(2)", "long", "long"),
            ("crm.word", "a", "a"),
            ("crm.word", "b", None),
        ),
    ],
)
def test_a_stored_key_is_a_value_of_its_column_or_nothing(
    agreed: Desk, kind: str, text: str, found: str | None
) -> None:
    agreed.sql("create type crm.word as enum ('a')")
    agreed.sql(f"create table crm.keys (k {kind})")
    with agreed.engine.connect() as connection:
        table = live_table(connection, "crm", "keys")
        assert table is not None
        value, stored = fitting(table.columns["k"], "s.key"), f"(select {literal(text)} as key offset 0) s"
        assert connection.exec_driver_sql(f"select ({value})::text from {stored}").scalar_one() == found
        # It can be compared with the column itself.
        connection.exec_driver_sql(f"select from crm.keys t, {stored} where t.k = {value}")


@pytest.mark.parametrize("kind", ["bigint", "date", "boolean", "uuid"])
def test_an_undo_asks_about_a_value_that_its_column_cannot_hold_any_more(agreed: Desk, kind: str) -> None:
    site, other = (
        row["id"]
        for row in agreed.sql("select enerflo_install_id as id from crm.installs order by 1 limit 2")
    )
    for column, value, install in (("panel_type", "'Quite another'", site), ("panel_count", "77", other)):
        agreed.sql(
            f"update enerflo.installs set {column} = {value}, observed_at = now() where install_id = :id",
            id=install,
        )
    plan = agreed.plan()
    run_apply(agreed.context, plan.plan_hash, approved_by="Pat")
    agreed.sql(f"alter table crm.installs alter panel_type type {kind} using null")
    undo = run_undo(agreed.context, plan.plan_hash)
    assert [(one.key["enerflo_install_id"], one.field) for one in agreed.changes(undo)] == [
        (other, "panel_count")
    ]
    (asked,) = agreed.undecided(undo)
    assert (asked.field, "it moved since" in asked.reason) == ("panel_type", True)
