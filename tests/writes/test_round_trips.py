"""Statements that a plan sends again and again: each is a round trip to the warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from enerflo_sync.crm.catalog import live_table
from tests.writes.conftest import Desk


@contextmanager
def sent(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that are sent within the block."""
    heard: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        heard.append(statement)

    sa.event.listen(engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(engine, "before_cursor_execute", hear)


def test_the_catalog_is_asked_once_for_a_table(agreed: Desk) -> None:
    with agreed.engine.connect() as connection, sent(agreed.engine) as statements:
        table = live_table(connection, "crm", "installs")
    assert table is not None
    assert table.columns["enerflo_install_id"].not_null
    assert len(statements) == 1


def test_a_plan_asks_the_clock_for_each_table_and_not_for_each_field(agreed: Desk) -> None:
    tables = agreed.context.config.tables_for(agreed.context.account)
    fields = sum(len(table.fields) for table in tables.values())
    with sent(agreed.engine) as statements:
        agreed.plan()
    asked = statements.count("select now()")
    assert 0 < asked <= 3 * len(tables) < fields, asked
