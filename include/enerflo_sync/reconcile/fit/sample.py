"""How much of a table a preview looks at: all of it, or the rows of every n-th key."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison

# Beyond that many rows of a side only a part of the keys is looked at: of all keys, and of matched rows whose
# values are compared, which takes longer.
ROWS = 200_000
VALUE_ROWS = 50_000

_ROWS = """
/* enerflo-sync doctor: how large one side is, counted no further than asked */
select count(*) from (select from {table} limit %(limit)s) r
"""
# What the server believes: counting a large table would take longer than the preview.
_ESTIMATE = """
/* enerflo-sync doctor: how large one side is believed to be */
select coalesce(max(c.reltuples), 0)::bigint from pg_catalog.pg_class c
where c.oid = to_regclass(%(table)s)
"""


@dataclass(frozen=True)
class Sample:
    """The rows of the keys whose hash is divided by ``every``; all rows where that is 1.

    :param rows: how many rows the larger side is believed to have.
    """

    every: int = 1
    rows: int = 0

    @property
    def of_values(self) -> Sample:
        """Return the smaller sample in which values are compared."""
        return _of(self.rows, VALUE_ROWS)

    def among(self, key: str) -> str:
        """Return the condition that a key, an SQL text, is of the sample; both sides choose the same keys."""
        return "true" if self.every == 1 else f"mod(hashtextextended({key}, 0), {self.every}) = 0"

    @property
    def words(self) -> str:
        """Return what to put before figures, empty where they are of all rows."""
        return "" if self.every == 1 else f"of a sample of one key in {self.every:,}: "


def sample_of(connection: sa.Connection, comparison: Comparison) -> Sample:
    """Return the sample that keeps the preview of a table at about :data:`ROWS` rows."""
    most = 0
    for table in (comparison.mirror_table, comparison.crm):
        counted = connection.exec_driver_sql(_ROWS.format(table=table), {"limit": ROWS + 1}).scalar_one()
        if counted > ROWS:
            named = {"table": table.replace("%%", "%")}
            believed = connection.exec_driver_sql(_ESTIMATE, named).scalar_one()
            counted = max(counted, believed)
        most = max(most, counted)
    return _of(most, ROWS)


def _of(rows: int, most: int) -> Sample:
    return Sample(-(-rows // most) if rows > most else 1, rows)
