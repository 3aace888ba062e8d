"""Statistics of a table that just grew: the server knows of it before the next statement."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.warehouse.statistics import FEW_ROWS, note_growth

TABLE = "sync.quality_results"
KNOWN = sa.text(f"select reltuples::bigint from pg_class where oid = '{TABLE}'::regclass")


@pytest.mark.parametrize(("rows", "known"), [(FEW_ROWS - 1, -1), (FEW_ROWS, FEW_ROWS)])
def test_many_new_rows_are_known_within_the_transaction(warehouse: sa.Engine, rows: int, known: int) -> None:
    with warehouse.begin() as connection:
        connection.execute(
            sa.text(
                f"insert into {TABLE} (account, run_id, change_order_id, check_id, severity, passed, reason,"
                " checked_at) select 'default', 'run', n, 'x', 'hold', true, '', now()"
                " from generate_series(1, :rows) n"
            ),
            {"rows": rows},
        )
        note_growth(connection, TABLE, rows)
        assert connection.scalar(KNOWN) == known


def test_few_among_many_are_not_worth_a_look(warehouse: sa.Engine) -> None:
    with warehouse.begin() as connection:
        connection.execute(
            sa.text("update pg_class set reltuples = 1000000 where oid = cast(:name as regclass)"),
            {"name": TABLE},
        )
        note_growth(connection, TABLE, FEW_ROWS)
        assert connection.scalar(KNOWN) == 1_000_000


def test_nobody_waits_for_another_account_that_is_at_the_same(warehouse: sa.Engine) -> None:
    with warehouse.begin() as first, warehouse.begin() as second:
        note_growth(first, TABLE, FEW_ROWS)
        second.exec_driver_sql("set local lock_timeout = '100ms'")
        note_growth(second, TABLE, FEW_ROWS)
