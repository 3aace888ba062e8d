"""Two mappings of one table of another database: a branch without rows stops nothing, a mistake does."""

from __future__ import annotations

import pytest

from enerflo_sync.copies.refresh import refresh_copies
from enerflo_sync.crm.live.unclaimed_rows import unclaimed_rows
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.live import live_comparisons, require_rows
from tests.copies.rows import CONFIG, WHERE, Rows

_OF_KIND = "    where: \"kind = '{}'\"\n"


def branched(rows: Rows) -> None:
    """Split the table between two mappings by a column, and read it."""
    east = CONFIG[CONFIG.index("    crm_table") :]
    west = east.replace(WHERE, _OF_KIND.format("west"))
    rows.configured(
        (east, east.replace(WHERE, _OF_KIND.format("east")) + f"  west:\n    of: milestones\n{west}")
    )
    refresh_copies(rows.engine, rows.crm, rows.config, "default")


def required(rows: Rows) -> None:
    with rows.engine.begin() as connection:
        comparisons = live_comparisons(connection, rows.config, "default", "", all_tables=True)
        assert {one.name for one in comparisons} == {"milestones", "west"}
        require_rows(connection, rows.config, "default", comparisons)


def test_a_branch_may_have_no_row_where_each_belongs_to_the_other_one(rows: Rows) -> None:
    rows.row("a", kind="east")
    rows.row("b", milestone=2, kind="east")
    branched(rows)
    required(rows)


def test_rows_that_belong_to_neither_show_that_the_condition_may_be_a_mistake(rows: Rows) -> None:
    rows.row("a", kind="east")
    rows.row("b", milestone=2, kind="nowhere")
    branched(rows)
    with pytest.raises(ConfigurationError, match=r"tables\.west\.where: found a condition that no row"):
        required(rows)


@pytest.mark.parametrize(("kind", "unclaimed"), [("nowhere", 1), ("west", 0)])
def test_rows_that_belong_to_neither_are_counted(rows: Rows, kind: str, unclaimed: int) -> None:
    rows.row("a", kind="east")
    rows.row("b", milestone=2, kind=kind)
    branched(rows)
    with rows.engine.begin() as connection:
        for one in live_comparisons(connection, rows.config, "default", "", all_tables=True):
            found = unclaimed_rows(connection, rows.config, "default", one.name, one.live)
            assert found.rows == unclaimed
