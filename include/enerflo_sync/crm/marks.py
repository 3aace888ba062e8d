"""Which column of a CRM table we set to mark a row as deleted, as the CRM's users would."""

from __future__ import annotations

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import NOT_NULL, TableMapping


def is_of_copy_tool(column: str) -> bool:
    """Return whether a copy tool owns the column: ``_fivetran_deleted``, ``_sdc_deleted_at``.

    All such names begin with an underscore. The next copy overwrites values that others write there.
    """
    return column.startswith("_")


def own_mark(mapping: TableMapping, table: LiveTable, writable: frozenset[str]) -> str | None:
    """Return the first column of ``deleted_when`` that we may set; None if there is none.

    :param writable: the columns that take a value
        (:func:`enerflo_sync.crm.catalog.writable_columns`).
    """
    matched = {*mapping.key_columns, *mapping.join_columns}
    for column, value in mapping.deleted_when.items():
        live = table.columns.get(column)
        if live is None or column in matched or is_of_copy_tool(column) or column not in writable:
            continue
        # With not_null any value would be a mark; only for a time it is clear which value to write.
        if value != NOT_NULL or live.kind.is_time:
            return column
    return None
