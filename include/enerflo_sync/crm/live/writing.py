"""What would prevent plans from writing a CRM table, reported before a plan fails."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable, writable_columns
from enerflo_sync.crm.live.rights import missing_rights, unfilled_columns, writes_of
from enerflo_sync.crm.mapping import Direction, Mode, Side, TableMapping
from enerflo_sync.crm.marks import own_mark
from enerflo_sync.crm.notice import Notice

_LEFT = "The column stays as in report mode; direction: to_enerflo or none says so."
_STEPS = {
    "fields": _LEFT,
    "columns": _LEFT,
    "updated_at": "The table stays as in report mode: map a column that takes the time of a change.",
}


def writing_notices(
    connection: sa.Connection, mapping: TableMapping, table: LiveTable, mode: Mode
) -> Iterator[Notice]:
    """Yield a warning for each write of a mode's plans that the table does not accept or allow."""
    writable = writable_columns(connection, table)
    unwritable = list(_unwritable(mapping, table, writable))
    yield from unwritable
    yield from _no_own_mark(mapping, table, writable)
    # A right to write does not help if the column cannot be written.
    if not any(notice.place == ("crm_table",) for notice in unwritable):
        writes = writes_of(mapping, table, mode)
        yield from missing_rights(connection, table, writes)
        yield from unfilled_columns(connection, table, writes)


def _no_own_mark(mapping: TableMapping, table: LiveTable, writable: frozenset[str]) -> Iterator[Notice]:
    """Yield a notice if rows should be deleted in a table without a mark that we may set."""
    if mapping.deleted_when and Side.CRM in mapping.delete_in and own_mark(mapping, table, writable) is None:
        yield Notice(
            "warning",
            ("delete_in",),
            f"crm, and no column of deleted_when that is ours to set ({', '.join(mapping.deleted_when)})",
            "one with a value, or a time that is not_null, which no copy tool keeps for itself",
            "Add the column by which people delete a row; until then each such row is left to a person.",
        )


def _unwritable(mapping: TableMapping, table: LiveTable, writable: Collection[str]) -> Iterator[Notice]:
    """Yield what plans treat as in report mode because it accepts no values."""
    if table.columns and not writable:
        yield Notice(
            "warning",
            ("crm_table",),
            f"{mapping.crm_table}, which takes no updates",
            "a table or view that does",
            "It stays as in report mode, and other tables are written. Map another one, give the view"
            " INSTEAD OF triggers, or set a mode that does not write it.",
        )
        return
    to_crm = {Direction.BOTH, Direction.TO_CRM}
    written = [(mapping.section, name) for name, field in mapping.fields.items() if field.direction in to_crm]
    if Side.CRM in mapping.create_in:
        written += [(option, name) for option in ("key", "on_insert") for name in getattr(mapping, option)]
    if mapping.updated_at is not None and mapping.updated_at in table.columns:
        written.append(("updated_at", mapping.updated_at))
    for option, column in written:
        if column not in writable:
            place = (option,) if option == "updated_at" else (option, column)
            found, expected = f"column {column}, which takes no value", "one that is not generated"
            step = _STEPS.get(option, "No row is made in the CRM until another column is mapped.")
            yield Notice("warning", place, found, expected, step)
