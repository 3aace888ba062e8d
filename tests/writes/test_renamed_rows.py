"""What goes along with a table that is called otherwise by now: rows of every kind, and every choice of names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.renamed_tables import follow_names
from enerflo_sync.crm.load import load_config
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.reconcile.meanings import OF_ROWS, STORED_AS

MIRROR = {"name": "customer_name", "office": "office_name", "state": "status_name", "panel": "panel_type"}


@pytest.fixture
def tables(warehouse: sa.Engine) -> sa.Engine:
    with warehouse.begin() as connection:
        connection.exec_driver_sql("create schema crm")
        columns = ", ".join(f"{column} text" for column in MIRROR)
        for table in ("projects", "sites"):
            connection.exec_driver_sql(f"create table crm.{table} (id bigint primary key, {columns})")
    return warehouse


def comparisons(connection: sa.Connection, folder: Path, names: Mapping[str, str]) -> list[Comparison]:
    """Return tables of installs, each of some columns of ``crm.projects``, or of another table: ``sites: name``."""
    lines = ["version: 1", "accounts: {default: {mode: both}}", "tables:"]
    for name, columns in names.items():
        table = columns.partition(": ")[0] if ": " in columns else "projects"
        options = ("of: installs", f"crm_table: crm.{table}", "key: {id: install_id}", "fields:")
        lines += [f"  {name}:", *(f"    {option}" for option in options)]
        lines += [
            f"      {column}: {{enerflo: {MIRROR[column]}, type: text, source_of_truth: review}}"
            for column in columns.rpartition(": ")[2].split()
        ]
    (folder / "sync.yaml").write_text("\n".join(lines))
    config = load_config(folder / "sync.yaml", {})
    return live_comparisons(connection, config, "default", "", all_tables=True)


def followed(connection: sa.Connection, folder: Path, plans: list[Comparison]) -> list[Comparison]:
    return follow_names(connection, plans, load_config(folder / "sync.yaml", {}), "default")


def stored(connection: sa.Connection, table: str, columns: Any = None, account: str = "default") -> None:
    statement = (
        "insert into sync.agreed_keys (account, table_name, columns) values (:a, :t, cast(:c as jsonb))"
    )
    connection.execute(sa.text(statement), {"a": account, "t": table, "c": json.dumps(columns or {})})


def paired(connection: sa.Connection, table: str, account: str = "default") -> None:
    statement = (
        "insert into sync.agreed (account, table_name, key, field, agreed_at, agreed_by)"
        " values (:account, :table, '{}', 'name', now(), 'push')"
    )
    connection.execute(sa.text(statement), {"account": account, "table": table})


# Rows of each table by what they say beside account and table, and whether they go along.
MOMENT = "2026-03-01T00:00:00Z"
ROWS: dict[str, list[tuple[dict[str, Any], bool]]] = {
    "agreed": [({"key": "{}", "field": "name", "agreed_at": MOMENT, "agreed_by": "push"}, True)],
    "agreed_twins": [({"key": "{}", "field": "name", "seen_at": MOMENT}, True)],
    "own_writes": [({"key": "{}", "side": side}, side == "crm") for side in ("crm", "enerflo")],
    "refusals": [
        (
            {
                **{"key": "{}", "op": "update", "direction": "to_crm", "plan_hash": "p", "decided_by": "Sam"},
                **{"decided_at": MOMENT, "ended_at": ended},
            },
            ended is None,
        )
        for ended in (None, MOMENT)
    ],
    "plan_changes": [
        (
            {
                **{"key": "{}", "op": op, "direction": "to_crm", "policy": "-", "cause": "-", "rule": "-"},
                **{"plan_hash": f"{op}{sent}{state}", "position": 1, "sent_at": sent, "state": state},
            },
            state != "applied" and (op == "update" or sent is not None),
        )
        for op, sent, state in product(
            ("insert", "update"), (None, MOMENT), ("planned", "sent", "parked", "applied")
        )
    ],
    "crm_changes": [
        (
            {
                **{"change_id": str(ended), "crm_table": "crm.projects", "key": "{}", "op": "update"},
                **{"plan_hash": "p", "kind": "sync", "approved_by": "Pat", "made_at": MOMENT, "state": "open"},
                **{"state_at": MOMENT, "ended_at": ended},
            },
            ended is None,
        )
        for ended in (None, MOMENT)
    ],
}  # fmt: skip


def test_what_goes_along_with_a_name(tables: sa.Engine, tmp_path: Path) -> None:
    with tables.begin() as connection:
        plans = comparisons(connection, tmp_path, {"jobs": "name"})
        # As an earlier version stored them, which told nothing of the rows.
        meanings = {field: one for field, one in plans[0].meanings.items() if field != OF_ROWS}
        for account in ("default", "other"):
            stored(connection, "installs", {"id": 1}, account)
            stored(connection, STORED_AS.format("installs"), meanings, account)
        stored(connection, "notes")
        wanted = set()
        for target, rows in ROWS.items():
            for row, goes in rows:
                for account, table in (("default", "installs"), ("default", "notes"), ("other", "installs")):
                    every = row | {"account": account, "table_name": table}
                    if "change_id" in every:
                        every["change_id"] = f"{every['change_id']}{account}{table}"
                    if target == "plan_changes":
                        every["plan_hash"] = f"{every['plan_hash']}{table}"
                    put(connection, target, every)
                    moves = goes and (account, table) == ("default", "installs")
                    wanted.add((target, account, "jobs" if moves else table, *said(row)))
        followed(connection, tmp_path, plans)
        found = set()
        for target in ROWS:
            for row in connection.execute(sa.text(f"select * from sync.{target}")).mappings():
                found.add((target, row["account"], row["table_name"], *said(row)))
        keys = connection.execute(sa.text("select account, table_name, columns from sync.agreed_keys"))
        assert {tuple(row[:2]): row[2] for row in keys} == {
            ("default", "jobs"): {"id": 1},
            ("default", "jobs/fields"): meanings,
            ("default", "notes"): {},
            ("other", "installs"): {"id": 1},
            ("other", "installs/fields"): meanings,
        }
    assert found == wanted


# The plan's change, beside the change that was handed over by it, and whether it goes along.
LOOKED_FOR: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"ended_at": MOMENT}, False),
    *(({name: value}, False) for name, value in (
        ("account", "other"), ("plan_hash", "another"), ("table_name", "notes"), ("key", '{"id": 2}'),
    )),
]  # fmt: skip


def test_a_change_goes_along_as_long_as_it_is_looked_for(tables: sa.Engine, tmp_path: Path) -> None:
    with tables.begin() as connection:
        remember(connection, tmp_path, {"installs": "name"})
        for number, (other, _) in enumerate(LOOKED_FOR):
            change = ROWS["plan_changes"][0][0] | {"plan_hash": str(number), "table_name": "installs"}
            assert (change["op"], change["sent_at"]) == ("insert", None)
            put(connection, "plan_changes", change | {"account": "default", "state": "handed_over"})
            handed_over = ROWS["crm_changes"][0][0] | {"plan_hash": str(number), "table_name": "installs"}
            put(
                connection,
                "crm_changes",
                handed_over | {"account": "default", "change_id": str(number)} | other,
            )
        followed(connection, tmp_path, comparisons(connection, tmp_path, {"jobs": "name"}))
        rows = connection.execute(sa.text("select plan_hash::int, table_name from sync.plan_changes"))
        assert dict(row._tuple() for row in rows) == {
            number: "jobs" if goes else "installs" for number, (_, goes) in enumerate(LOOKED_FOR)
        }


def put_plan(connection: sa.Connection, name: str, kind: str, days: int, account: str = "default") -> None:
    """Put a plan, and a question of it about each of three columns."""
    values = {"a": account, "p": name, "k": kind, "at": f"2026-03-{days:02}"}
    columns = "plan_hash, account, kind, created_at, expires_at, state, change_count, needs_approval, mode"
    connection.execute(
        sa.text(
            f"insert into sync.plans ({columns}, config_hash) values (:p, :a, :k, cast(:at as timestamptz),"
            " cast(:at as timestamptz), 'superseded', 0, false, 'both', '-')"
        ),
        values,
    )
    for position, table in enumerate(("installs", "notes"), 1):
        for more, field in enumerate(("name", "state", None)):
            connection.execute(
                sa.text(
                    "insert into sync.plan_undecided (account, plan_hash, position, table_name, key, field, cause,"
                    " reason) values (:a, :p, :n, :t, '{}', :f, '-', '-')"
                ),
                values | {"n": 10 * position + more, "t": table, "f": field},
            )


def put_plans(connection: sa.Connection) -> None:
    put_plan(connection, "before", "sync", 1)
    # A plan comes in parts, which have one time.
    put_plan(connection, "last", "sync", 2)
    put_plan(connection, "last, second part", "sync", 2)
    put_plan(connection, "undo", "undo", 3)
    put_plan(connection, "theirs", "sync", 4, account="other")


def test_the_questions_of_the_last_plan_go_along(tables: sa.Engine, tmp_path: Path) -> None:
    with tables.begin() as connection:
        remember(connection, tmp_path, {"installs": "name"})
        put_plans(connection)
        followed(connection, tmp_path, comparisons(connection, tmp_path, {"jobs": "name"}))
        rows = connection.execute(
            sa.text(
                "select plan_hash, position < 20, table_name, count(*) from sync.plan_undecided group by 1, 2, 3"
            )
        )
        assert {tuple(row) for row in rows} == {
            (plan, is_first, ("jobs" if plan.startswith("last") else "installs") if is_first else "notes", 3)
            for plan in ("before", "last", "last, second part", "undo", "theirs")
            for is_first in (True, False)
        }


def put(connection: sa.Connection, table: str, row: Mapping[str, Any]) -> None:
    names = ", ".join(row)
    values = ", ".join(f"cast(:{one} as jsonb)" if one == "key" else f":{one}" for one in row)
    connection.execute(sa.text(f"insert into sync.{table} ({names}) values ({values})"), row)


def said(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells the rows of a case apart, beside account and table."""
    times = [row.get(name) is not None for name in ("ended_at", "sent_at")]
    return (*times, row.get("side"), row.get("state"), row.get("op"))


# Names from before with their fields, names of now, and which of these has what of those before.
MATCHED: list[tuple[dict[str, str], dict[str, str], dict[str, str]]] = [
    ({"a": "name"}, {"x": "name"}, {"x": "a"}),
    ({"a": "name"}, {"x": "office"}, {"x": "a"}),
    ({"a": "name"}, {"a": "name", "x": "name"}, {}),
    ({"a": "name", "b": "name office"}, {"x": "name office"}, {"x": "b"}),
    ({"a": "name office", "b": "name"}, {"x": "name office"}, {"x": "a"}),
    ({"a": "name office"}, {"x": "name office", "y": "name"}, {"x": "a"}),
    ({"a": "name office"}, {"x": "name", "y": "name office"}, {"y": "a"}),
    ({"a": "name", "b": "office"}, {"x": "name", "y": "office"}, {"x": "a", "y": "b"}),
    ({"a": "name", "b": "office"}, {"x": "office", "y": "name"}, {"x": "b", "y": "a"}),
    # What the first pair leaves, with fewer fields.
    ({"a": "name office", "b": "state"}, {"x": "name office", "y": "state"}, {"x": "a", "y": "b"}),
    ({"a": "name office", "b": "state"}, {"x": "name office", "y": "panel"}, {"x": "a", "y": "b"}),
]
# What cannot be told, by the names before and the names of now that a person is asked about.
UNTOLD: list[tuple[dict[str, str], dict[str, str], str, str]] = [
    ({"a": "name", "b": "name"}, {"x": "name"}, "a, b", "x"),
    ({"a": "name"}, {"x": "name", "y": "name"}, "a", "x, y"),
    ({"a": "name office", "b": "state", "c": "state"}, {"x": "name office", "y": "state"}, "b, c", "y"),
    ({"a": "name", "b": "name"}, {"x": "name", "y": "name"}, "a, b", "x, y"),
]


def remember(connection: sa.Connection, folder: Path, before: Mapping[str, str]) -> None:
    for plan in comparisons(connection, folder, before):
        stored(connection, plan.name)
        stored(connection, STORED_AS.format(plan.name), dict(plan.meanings))
        paired(connection, plan.name)


def having(connection: sa.Connection) -> set[str]:
    rows = connection.execute(sa.text("select table_name from sync.agreed where account = 'default'"))
    return set(rows.scalars())


@pytest.mark.parametrize(("before", "now", "matched"), MATCHED)
def test_which_name_a_table_had(
    tables: sa.Engine, tmp_path: Path, before: dict[str, str], now: dict[str, str], matched: dict[str, str]
) -> None:
    with tables.begin() as connection:
        remember(connection, tmp_path, before)
        # What another account has under the new names is nothing here.
        for name in now:
            paired(connection, name, account="other")
        plans = comparisons(connection, tmp_path, now)
        followed(connection, tmp_path, plans)
        assert having(connection) == (before.keys() - set(matched.values())) | matched.keys()
        rows = connection.execute(sa.text("select table_name, columns from sync.agreed_keys"))
        fields = {name.removesuffix("/fields"): columns for name, columns in rows if name.endswith("/fields")}
        for name, former in matched.items():
            assert fields[name].keys() - {OF_ROWS} == set(before[former].split())


@pytest.mark.parametrize(("before", "now", "asked_before", "asked_now"), UNTOLD)
def test_which_name_a_table_had_is_asked(
    tables: sa.Engine,
    tmp_path: Path,
    before: dict[str, str],
    now: dict[str, str],
    asked_before: str,
    asked_now: str,
) -> None:
    with tables.begin() as connection:
        remember(connection, tmp_path, before)
        plans = comparisons(connection, tmp_path, now)
        with pytest.raises(ConfigurationError) as raised:
            followed(connection, tmp_path, plans)
        assert having(connection) == before.keys()
    befores, nows = (names.replace(", ", " and ") for names in (asked_before, asked_now))
    verb = "are" if ", " in asked_now else "is"
    said = f"{nows} {verb} new and of the same CRM table as {befores}, which sync.yaml does not map to it any more."
    assert said in str(raised.value)
    assert f"Name the table that was {asked_before[0]} so once more" in str(raised.value)


def test_a_name_that_has_something_already_takes_nothing(tables: sa.Engine, tmp_path: Path) -> None:
    for known, name in ((stored, "x"), (stored, STORED_AS.format("x")), (paired, "x")):
        with tables.connect() as connection:
            remember(connection, tmp_path, {"a": "name"})
            known(connection, name)
            followed(connection, tmp_path, comparisons(connection, tmp_path, {"x": "name"}))
            assert "a" in having(connection), (known, name)


@pytest.mark.parametrize("other", [{"crm": ["crm.sites", None]}, {"enerflo": ["leads", "city", None, None]}])
def test_a_name_of_another_table_or_kind_is_another(
    tables: sa.Engine, tmp_path: Path, other: dict[str, Any]
) -> None:
    with tables.begin() as connection:
        plans = comparisons(connection, tmp_path, {"x": "name office"})
        meanings = {field: {**meaning, **other} for field, meaning in plans[0].meanings.items()}
        stored(connection, "a")
        stored(connection, STORED_AS.format("a"), meanings)
        paired(connection, "a")
        followed(connection, tmp_path, plans)
        assert having(connection) == {"a"}


# Names from before with their CRM tables, names of now, and where what was stored under each name is now.
GIVEN: list[tuple[dict[str, str], dict[str, str], dict[str, str]]] = [
    ({"a": "projects", "b": "sites"}, {"b": "projects", "a": "sites"}, {"a": "b", "b": "a"}),
    # The table under the name of before is new: the rows may have been moved there.
    ({"a": "projects"}, {"b": "projects", "a": "sites"}, {"a": "a b"}),
    ({"a": "projects", "b": "sites"}, {"b": "projects", "c": "sites"}, {"a": "b", "b": "c"}),
    (
        {"a": "projects", "b": "sites", "c": "rooms"},
        {"b": "projects", "c": "sites", "a": "rooms"},
        {"a": "b", "b": "c", "c": "a"},
    ),
    # What is stored of a table that is mapped no more makes room, under the name that is free.
    ({"a": "projects", "b": "sites"}, {"a": "sites"}, {"b": "a", "a": "b"}),
    (
        {"a": "projects", "b": "sites", "c": "rooms"},
        {"a": "sites", "b": "rooms"},
        {"b": "a", "c": "b", "a": "c"},
    ),
    # Nobody has the former table: records that went to another one.
    ({"a": "projects"}, {"a": "sites"}, {}),
    ({"a": "projects"}, {"a": "sites", "b": "rooms"}, {}),
]


@pytest.mark.parametrize(("before", "now", "moved"), GIVEN)
def test_names_that_tables_give_to_each_other(
    tables: sa.Engine, tmp_path: Path, before: dict[str, str], now: dict[str, str], moved: dict[str, str]
) -> None:
    with tables.begin() as connection:
        connection.exec_driver_sql("create table crm.rooms (like crm.projects including all)")
        remember(connection, tmp_path, {name: f"{table}: name" for name, table in before.items()})
        connection.exec_driver_sql("update sync.agreed set key = to_jsonb(table_name)")
        connection.exec_driver_sql(
            "update sync.agreed_keys set columns = to_jsonb(table_name) where table_name not like '%%/%%'"
        )
        plans = comparisons(connection, tmp_path, {name: f"{table}: name" for name, table in now.items()})
        plans = followed(connection, tmp_path, plans)
        wanted = {(name, place) for name in before for place in moved.get(name, name).split()}
        for table in ("agreed", "agreed_keys"):
            said = "key" if table == "agreed" else "columns"
            rows = connection.execute(
                sa.text(
                    f"select {said} #>> '{{}}', table_name from sync.{table} where table_name not like '%/%'"
                )
            )
            assert {row._tuple() for row in rows} == wanted
        meanings = connection.execute(
            sa.text(
                "select table_name, columns #>> '{name,crm,0}' from sync.agreed_keys where table_name like '%/%'"
            )
        )
        assert dict(row._tuple() for row in meanings) == {
            STORED_AS.format(place): f"crm.{before[name]}" for name, place in wanted
        }
        # Pairs of the very table are read as they stand.
        known = {place: before[name] for name, place in wanted}
        for plan in plans:
            is_other = known.get(plan.name, now[plan.name]) != now[plan.name]
            assert bool(plan.remeant) == is_other, plan.name
