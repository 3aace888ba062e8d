"""Stages rows that may differ from the mirror; PostgreSQL compares them and upserts those that differ."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.rebuild.report import SAMPLES, TableOutcome
from enerflo_sync.rebuild.shape import Shape
from enerflo_sync.resources.resource import Row
from enerflo_sync.warehouse.bulk import driver_connection, encode, send_new, stage


def merge_staged(
    connection: sa.Connection,
    shape: Shape,
    rows: Sequence[Row],
    outcome: TableOutcome,
    *,
    write: bool,
    all_new: bool = False,
) -> None:
    """Add to ``outcome`` how ``rows`` differ from their table, in the caller's transaction.

    :param rows: rows with the columns of ``shape.staged``; each key at most once.
    :param write: whether new and differing rows are written.
    :param all_new: whether the table probably has none of the rows; then they are first sent without staging.
    """
    driver = driver_connection(connection)
    block = encode(connection, rows)
    if write and all_new and send_new(connection, [(shape.table, shape.staged, block)]):
        outcome.new = len(rows)
        keys_of_rows = [row[1:] for row in rows[:SAMPLES]]
        outcome.keys["new"] = [
            {name: row[at] for name, at in zip(shape.key, shape.key_at, strict=True)} for row in keys_of_rows
        ]
        return
    stage(connection, shape.table, shape.staged, block)
    new, changed, keys = driver.execute(shape.count_statement).fetchone() or (0, 0, [])
    outcome.new, outcome.changed = new, changed
    if new:
        outcome.keys["new"] = keys
    if changed:
        for name, count, samples in driver.execute(shape.field_statement):
            outcome.fields[name] = count, samples
    if write and (new or changed):
        driver.execute(shape.write_statement)
