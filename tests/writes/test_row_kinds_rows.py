"""Which kinds of rows are mismatched: each row by itself, none, and a row beside every other one."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import sqlalchemy as sa

from enerflo_sync.plan.row_kinds import RowKinds, row_kinds
from tests.writes.handed_rows import HandedRows

# In Enerflo, in the CRM, mismatched, of a record that Enerflo deleted.
ROWS = list(product((True, False), repeat=4))


def kinds(*rows: tuple[bool, bool, bool, bool]) -> RowKinds:
    return RowKinds(
        on_both=any(mine and theirs and differs for mine, theirs, differs, _ in rows),
        only_enerflo=any(mine and not theirs for mine, theirs, _, _ in rows),
        only_crm=any(theirs and not mine and not deleted for mine, theirs, _, deleted in rows),
        deleted=any(theirs and deleted for _, theirs, _, deleted in rows),
    )


def test_which_kinds_there_are(warehouse: sa.Engine, tmp_path: Path) -> None:
    with warehouse.begin() as connection:
        plan = HandedRows(connection, tmp_path, True).plan()
        connection.exec_driver_sql(
            f"create temporary table mismatched_{plan.name}"
            " (in_enerflo boolean, in_crm boolean, is_mismatched boolean, tombstone boolean)"
        )
        assert row_kinds(connection, plan) == RowKinds(False, False, False, False)
        for some in (*((one,) for one in ROWS), *product(ROWS, ROWS)):
            connection.exec_driver_sql(f"truncate {plan.mismatched}")
            values = ", ".join(str(one) for one in some)
            connection.exec_driver_sql(f"insert into {plan.mismatched} values {values}")
            assert row_kinds(connection, plan) == kinds(*some), some
