"""What a CRM's own database asks of a new row, and nothing fills, is said before a plan makes one."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.cli.crm_check import crm_check
from enerflo_sync.copies.check import notices_there
from enerflo_sync.crm.notice import Notice
from enerflo_sync.jobs.apply import run_apply
from tests.copies.conftest import CRM, TABLES, DuckDB, Elsewhere, MariaDB, OtherPostgreSQL
from tests.copies.test_elsewhere import INSTALLS, install
from tests.copies.test_worlds import only
from tests.writes.conftest import Desk

__all__ = ["install"]

# Installs are made in the CRM by the shipped mapping.
KINDS = {
    MariaDB: "number int auto_increment unique, branch varchar(20) not null, rest int not null default 1,"
    " sum int generated always as (rest + 1)",
    DuckDB: "branch varchar not null, rest int not null default 1, free int",
    OtherPostgreSQL: "number int generated always as identity, branch text not null, rest int not null default 1,"
    " sum int not null generated always as (1) stored",
}


def said(away: Desk) -> list[tuple[str, Notice]]:
    assert away.context.crm is not None
    return [
        (name, one)
        for name, one in notices_there(away.context.crm, away.context.config, "default")
        if name == "installs"
    ]


@pytest.mark.parametrize("option", ["report", "filled", "not made", "as shipped"])
def test_a_column_that_nothing_fills_is_said(away: Desk, elsewhere: Elsewhere, option: str) -> None:
    only(elsewhere, *KINDS)
    elsewhere.sql("drop table crm.installs")
    mapped = ", ".join(
        f"{name} {elsewhere.types['int8' if name == 'enerflo_install_id' else 'text']}{' not null' * (name == 'enerflo_install_id')}"
        for name in ("enerflo_install_id", "customer_name")
    )
    elsewhere.sql(f"create table crm.installs ({mapped}, {KINDS[type(elsewhere)]})")
    edits = {
        "report": ("report", CRM),
        "filled": ("both", CRM, (INSTALLS, f"{INSTALLS}    on_insert: {{branch: West}}\n")),
        "not made": ("both", CRM, (INSTALLS, f"{INSTALLS}    create_in: []\n")),
        "as shipped": ("both", CRM),
    }
    away.switched_on(*edits[option])
    found = said(away)
    if option != "as shipped":
        assert found == []
        return
    ((_, one),) = found
    assert one.place == ("create_in",)
    assert one.found == "column branch, NOT NULL without a default, which no new row would have"
    assert one.next_step.startswith("Add branch to on_insert")


def test_the_catalog_is_asked_once_for_each_table_in_a_command(
    away: Desk, elsewhere: Elsewhere, install: int
) -> None:
    only(elsewhere, DuckDB)
    plan = away.plan()
    away.context.__dict__.pop("crm")
    assert away.context.crm is not None
    asked = 0

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal asked
        asked += "information_schema.columns" in statement

    sa.event.listen(away.context.crm.engine, "before_cursor_execute", count)
    assert run_apply(away.context, plan.plan_hash, approved_by="Pat").applied == 1
    assert asked == len(TABLES)
    crm_check(away.context)
    assert asked == 2 * len(TABLES)
