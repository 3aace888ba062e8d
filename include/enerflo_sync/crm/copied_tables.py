"""The doctor's findings on a CRM table that is a copy, and on the table that takes its changes."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable, live_table, relation_names, writable_columns
from enerflo_sync.crm.copies import NEEDED_COLUMNS, OUR_CHANGES, copy_columns
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.names import quoted, relation
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.problems import listed, nearest


def noticed_of_copies(
    connection: sa.Connection, mapping: TableMapping, table: LiveTable, *, writes: bool
) -> Iterator[Notice]:
    """Yield findings on a table that seems to be a copy, and on the table for its changes.

    :param writes: whether the mode allows the CRM's rows to be written.
    """
    columns = copy_columns(table.columns)
    if columns and "write_to" not in mapping.model_fields_set:
        yield Notice(
            "error" if writes else "hint",
            ("crm_table",),
            f"{', '.join(columns[:4])} in {table.schema}.{table.name}: a copy of the CRM's table",
            "write_to, which says where changes go",
            "A value that is written into a copy never reaches the CRM. Write write_to: changes, or write_to:"
            " table to write it all the same.",
        )
    if mapping.handed_to is None or relation(mapping.handed_to.changes) == relation(OUR_CHANGES):
        return
    schema, name = relation(mapping.handed_to.changes)
    place = ("write_to", "changes")
    outlet = live_table(connection, schema, name)
    if outlet is None:
        near = nearest(f"{schema}.{name}", relation_names(connection))
        step = (
            f"Did you mean {near}?"
            if near
            else f"Run: create table {quoted(schema, name)} (like {OUR_CHANGES});"
        )
        yield Notice(
            "error", place, f"no table {schema}.{name} in the database", "an existing table or view", step
        )
        return
    missing = [column for column in NEEDED_COLUMNS if column not in outlet.columns]
    if missing:
        yield Notice(
            "error",
            place,
            f"no column {', '.join(missing)} in {schema}.{name}",
            f"at least {listed(NEEDED_COLUMNS)}",
            f"Add them, in the types of {OUR_CHANGES} or as text.",
        )
    elif not set(NEEDED_COLUMNS) <= writable_columns(connection, outlet):
        step = "Map a table, or give the view INSTEAD OF triggers."
        yield Notice("error", place, f"{schema}.{name}, which takes no rows", "one that does", step)
