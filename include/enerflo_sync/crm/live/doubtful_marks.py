"""Rows that count as deleted by a value that is no time of a deletion: a tool wrote it for none."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveColumn, LiveTable
from enerflo_sync.crm.mapping import NOT_NULL, TableMapping
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.notice import Notice

_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})


def doubtful_marks(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield the columns of ``not_null`` in which rows hold 1970-01-01, a time to come, 0 or no text."""
    for name, value in mapping.deleted_when.items():
        live = table.columns.get(name)
        if value != NOT_NULL or live is None or not live.readable or (none := _says_none(live)) is None:
            continue
        condition, words = none
        query = f"""
        /* enerflo-sync doctor: rows that are marked as deleted by a value that says none */
        select count(*) from {quoted(table.schema, table.name)} t where {condition}
        """  # noqa: S608 - quoted names
        rows = connection.exec_driver_sql(query, {}).scalar_one()
        if rows:
            yield Notice(
                "warning",
                ("deleted_when", name),
                f"{rows:,} rows that count as deleted by {words}",
                "null in each row that is not deleted",
                "They are compared with nothing: if they are not deleted, map a view that has null there.",
            )


def _says_none(live: LiveColumn) -> tuple[str, str] | None:
    """Return the condition that a value of the column says no deletion, and the words for such a value."""
    column = f"t.{quoted(live.name)}"
    if live.kind.is_time:
        return f"({column} < '1971-01-01' or {column} > now() + interval '1 day')", (
            "a time before 1971 or of the future"
        )
    if live.kind in _NUMBERS:
        return f"{column} = 0", "the number 0"
    return (f"btrim({column}::text) = ''", "an empty text") if live.kind is Kind.TEXT else None
