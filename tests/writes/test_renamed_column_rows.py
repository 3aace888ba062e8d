"""What goes along with a column that is called otherwise by now: every pair beside every value of the CRM's row."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.agreed.renamed_columns import follow_columns
from tests.writes.test_renamed_rows import MOMENT, ROWS, comparisons, put, put_plans, tables

__all__ = ["tables"]

NULL = "null"
# What a pair says: Enerflo's value, and the CRM's where that differs.
PAIRS = ((None, None), ("A", None), ("B", None), ("B", "A"), ("A", "B"), ("A", NULL), (None, "A"))
OTHERS = ({}, {"account": "other"}, {"table_name": "notes"}, {"field": "state"}, {"is_link": True})


def as_json(value: str | None) -> str | None:
    return value if value in (None, NULL) else json.dumps(value)


def test_which_pairs_go_along(tables: sa.Engine, tmp_path: Path) -> None:
    with tables.begin() as connection:
        (plan,) = comparisons(connection, tmp_path, {"jobs": "office"})
        wanted = {}
        cases = product(("no row", None, "A"), PAIRS, OTHERS, (False, True))
        for number, (said, (value, crm), other, is_known) in enumerate(cases, 1):
            if said != "no row":
                connection.execute(
                    sa.text("insert into crm.projects (id, office) values (:n, :v)"), {"n": number, "v": said}
                )
            named = {"account": "default", "table_name": "jobs", "key": json.dumps({"id": number})}
            pair = (
                named | {"agreed_at": MOMENT, "agreed_by": "push", "field": "name", "is_link": False} | other
            )
            add(connection, pair | {"value": as_json(value), "crm_value": as_json(crm)})
            if is_known:
                # Of the name of now something was stored before.
                add(connection, named | {"agreed_at": MOMENT, "agreed_by": "undo", "field": "office"}
                    | {"value": '"C"', "crm_value": None, "is_link": False})  # fmt: skip
            theirs = (value if crm is None else crm) if crm != NULL else None
            same = said != "no row" and theirs == said
            stands = (value, as_json(crm), "push")
            former = (None, None, "former_push")
            where = (pair["account"], pair["table_name"], number)
            known = {("default", "jobs", number, "office"): (None, None, "former_undo")} if is_known else {}
            if other:
                wanted |= {(*where, pair["field"]): stands, **known}
            elif same:
                wanted[(*where, "office")] = stands
            else:
                wanted |= {(*where, "name"): former, **known}
        found = follow_columns(connection, plan, "default", {"name": plan.meanings["office"]})
        assert found == {"office": plan.meanings["office"]}
        rows = connection.execute(
            sa.text(
                "select account, table_name, (key ->> 'id')::int, field, value, crm_value::text, agreed_by"
                " from sync.agreed"
            )
        )
        assert {tuple(row[:4]): tuple(row[4:]) for row in rows} == wanted


def add(connection: sa.Connection, row: dict[str, Any]) -> None:
    jsons = {"key", "value", "crm_value"}
    values = ", ".join(f"cast(:{one} as jsonb)" if one in jsons else f":{one}" for one in row)
    connection.execute(sa.text(f"insert into sync.agreed ({', '.join(row)}) values ({values})"), row)


@pytest.mark.parametrize("target", ["refusals", "plan_changes"])
def test_what_else_goes_along(tables: sa.Engine, tmp_path: Path, target: str) -> None:
    with tables.begin() as connection:
        (plan,) = comparisons(connection, tmp_path, {"jobs": "office"})
        wanted = {}
        for number, ((row, goes), other) in enumerate(product(ROWS[target], OTHERS[:-1])):
            named = {"account": "default", "table_name": "jobs", "field": "name", "plan_hash": str(number)}
            every = row | named | other
            put(connection, target, every)
            wanted[str(number)] = "office" if goes and not other else every["field"]
        follow_columns(connection, plan, "default", {"name": plan.meanings["office"]})
        rows = connection.execute(sa.text(f"select plan_hash, field from sync.{target}"))
        assert dict(row._tuple() for row in rows) == wanted


def test_the_questions_of_the_last_plan_go_along(tables: sa.Engine, tmp_path: Path) -> None:
    with tables.begin() as connection:
        (plan,) = comparisons(connection, tmp_path, {"installs": "office"})
        put_plans(connection)
        follow_columns(connection, plan, "default", {"name": plan.meanings["office"]})
        rows = connection.execute(
            sa.text("select plan_hash, table_name, field from sync.plan_undecided where field = 'office'")
        )
        assert {tuple(row) for row in rows} == {
            (plan, "installs", "office") for plan in ("last", "last, second part")
        }


# Columns of before by what they mean now; columns of now; marks of before; and what these become.
MARKS: list[tuple[dict[str, str], str, str, str]] = [
    ({"name": "office"}, "office", "name", "office"),
    ({"name": "office"}, "office", "name state", "office state"),
    # A mark of an earlier time is there under the new name.
    ({"name": "office"}, "office", "name office", "office"),
    # It cannot be told which column got the name: the mark goes to it from each, and to each.
    ({"name": "office", "panel": "office"}, "office", "name", "office"),
    ({"name": "office", "panel": "office"}, "office", "name panel", "office"),
    # Still mapped, or of something else.
    ({"name": "office", "office": "office"}, "office", "name", "name"),
    ({"name": "state"}, "office", "name", "name"),
]


@pytest.mark.parametrize(("before", "now", "marked", "then"), MARKS)
def test_rows_that_were_one_of_several_stay_so(
    tables: sa.Engine, tmp_path: Path, before: dict[str, str], now: str, marked: str, then: str
) -> None:
    with tables.begin() as connection:
        (every,) = comparisons(connection, tmp_path, {"jobs": "name office state panel"})
        (plan,) = comparisons(connection, tmp_path, {"jobs": now})
        stored = {name: every.meanings[meaning] for name, meaning in before.items()}
        for other in (("default", "jobs"), ("other", "jobs"), ("default", "notes")):
            for field in marked.split():
                named = dict(zip(("account", "table_name"), other, strict=True))
                put(connection, "agreed_twins", named | {"key": "{}", "field": field, "seen_at": MOMENT})
        follow_columns(connection, plan, "default", stored)
        rows = connection.execute(sa.text("select account, table_name, field from sync.agreed_twins"))
        assert {tuple(row) for row in rows} == {
            *(("default", "jobs", field) for field in then.split()),
            *(("other", "jobs", field) for field in marked.split()),
            *(("default", "notes", field) for field in marked.split()),
        }


@pytest.mark.parametrize(
    ("part", "is_renamed"), [("enerflo", False), ("crm", True), ("reads", True), ("clock", True)]
)
def test_a_column_is_renamed_whatever_else_of_its_mapping_changed(
    tables: sa.Engine, tmp_path: Path, part: str, is_renamed: bool
) -> None:
    with tables.begin() as connection:
        (plan,) = comparisons(connection, tmp_path, {"jobs": "office"})
        before = {**plan.meanings["office"], part: ["something else"]}
        found = follow_columns(connection, plan, "default", {"name": before})
        assert found == {"office" if is_renamed else "name": before}


@pytest.mark.parametrize(
    ("before", "now", "renamed"),
    [
        ({"name": "office"}, "office", {"office": "name"}),
        ({"name": "office", "panel": "state"}, "office state", {"office": "name", "state": "panel"}),
        # Still mapped, of something else, or of what two columns were or are.
        ({"name": "office", "office": "office"}, "office", {}),
        ({"name": "state"}, "office", {}),
        ({"name": "office", "panel": "office"}, "office", {}),
    ],
)
def test_which_name_a_column_had(
    tables: sa.Engine, tmp_path: Path, before: dict[str, str], now: str, renamed: dict[str, str]
) -> None:
    with tables.begin() as connection:
        (every,) = comparisons(connection, tmp_path, {"jobs": "name office state panel"})
        (plan,) = comparisons(connection, tmp_path, {"jobs": now})
        stored = {name: every.meanings[meaning] for name, meaning in before.items()}
        found = follow_columns(connection, plan, "default", stored)
        kept = before.keys() - set(renamed.values())
        assert found == {name: stored[renamed.get(name, name)] for name in (*kept, *renamed)}
