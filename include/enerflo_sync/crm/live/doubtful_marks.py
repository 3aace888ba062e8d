"""Rows that may count as deleted wrongly: by a value that says no deletion, or by the opposite value."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.catalog import Kind, LiveColumn, LiveTable
from enerflo_sync.crm.chosen_rows import unmarked
from enerflo_sync.crm.mapping import NOT_NULL, TableMapping
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.where import rows_where

_NUMBERS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT})
# Everything in a table may be text: flags as people spell them, and a day that stands for none.
_NO_DELETION = "^(|false|f|no|n|off|0|none|null|n/a|-|(1970-01-01|0000-00-00|0001-01-01|9999-12-31).*)$"
# Of a table with fewer deleted records, most may be deleted in truth.
_FEWEST_DELETED = 10


def doubtful_marks(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield what makes it doubtful that the rows which count as deleted are deleted."""
    yield from _saying_none(connection, mapping, table)
    yield from _mostly_marked(connection, mapping, table)


def _saying_none(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield the columns of ``not_null`` in which rows hold 1970-01-01, a time to come, 0 or false."""
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
                f"{count_of(rows, 'row that counts', 'rows that count')} as deleted by {words}",
                "null in each row that is not deleted",
                "They are compared with nothing: if they are not deleted, map a view that has null there.",
            )


def _mostly_marked(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield that more records count as deleted than as living: ``deleted_when`` may be turned around.

    A copy may keep the former versions of a row as deleted rows, so a key with a living row counts as living.
    """
    if not mapping.deleted_when or not all(_is_readable(table, name) for name in mapping.key_columns):
        return
    lives = unmarked(mapping).removeprefix(" and ")
    key = ", ".join(quoted(name) for name in mapping.key_columns)
    named = " and ".join(f"{quoted(name)} is not null" for name in mapping.key_columns)
    rows = f"{rows_where(mapping.where, table)} t where {named}"
    more = f"select count(*) filter (where {lives}) * 2 < count(*) from {rows}"  # noqa: S608 - quoted names
    query = f"""
    /* enerflo-sync doctor: records that count as deleted, and as living */
    select count(*) filter (where not alive) as gone, count(*) filter (where alive) as living
    from (select bool_or({lives}) as alive from {rows} and ({more}) group by {key}) k
    """  # noqa: S608 - quoted names
    found = connection.exec_driver_sql(query, {}).one()
    if found.gone > found.living and found.gone >= _FEWEST_DELETED:
        yield Notice(
            "warning",
            ("deleted_when",),
            f"{found.gone:,} records that count as deleted, and {found.living:,} that live",
            "more records that live",
            "Those that count as deleted are compared with nothing. If they are the living ones, write here"
            " what a deleted row holds.",
        )


def _is_readable(table: LiveTable, name: str) -> bool:
    live = table.columns.get(name)
    return live is not None and live.readable


def _says_none(live: LiveColumn) -> tuple[str, str] | None:
    """Return the condition that a value of the column says no deletion, and the words for such a value."""
    column = f"t.{quoted(live.name)}"
    if live.kind.is_time:
        return f"({column} < '1971-01-01' or {column} > now() + interval '1 day')", (
            "a time before 1971 or of the future"
        )
    if live.kind in _NUMBERS:
        return f"{column} = 0", "the number 0"
    if live.kind is Kind.BOOLEAN:
        return f"not {column}", "false"
    if live.kind is Kind.TEXT:
        return (
            f"lower(btrim({column}::text)) ~ '{_NO_DELETION}'",
            "a text that says none, as an empty one or false",
        )
    return None
