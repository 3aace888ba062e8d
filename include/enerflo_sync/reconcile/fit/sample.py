"""How much of a table a preview reads: all rows, or the rows of every n-th key."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison

# If a side has more rows than this, only a part of the keys is read. The second number is for matched rows
# whose values are compared, which takes longer.
ROWS = 200_000
VALUE_ROWS = 50_000

_ROWS = """
/* enerflo-sync doctor: how large one side is, counted no further than asked */
select count(*) from (select from {table} limit %(limit)s) r
"""
# The server's own estimate: counting a large table would take longer than the preview.
_ESTIMATE = """
/* enerflo-sync doctor: how large one side is believed to be */
select coalesce(max(c.reltuples), 0)::bigint from pg_catalog.pg_class c
where c.oid = to_regclass(%(table)s)
"""


@dataclass(frozen=True)
class Sample:
    """The rows of every ``every``-th key by its hash; all rows if that is 1.

    :param rows: the estimated number of rows of the larger side.
    """

    every: int = 1
    rows: int = 0

    @property
    def of_values(self) -> Sample:
        """Return the smaller sample for comparing values."""
        return _of(self.rows, VALUE_ROWS)

    def among(self, key: str) -> str:
        """Return the condition that a key, an SQL text, is in the sample; both sides choose the same keys."""
        return "true" if self.every == 1 else f"mod(hashtextextended({key}, 0), {self.every}) = 0"

    @property
    def words(self) -> str:
        """Return the words to put before figures; empty if they cover all rows."""
        return "" if self.every == 1 else f"of a sample of one key in {self.every:,}: "


def sample_of(connection: sa.Connection, comparison: Comparison) -> Sample:
    """Return the sample that limits the preview of a table to about :data:`ROWS` rows."""
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
