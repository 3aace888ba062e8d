"""The rights that a mode needs on a CRM table, and which of them the present role lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable
from enerflo_sync.crm.mapping import Direction, Mode, Side, SourceOfTruth, TableMapping
from enerflo_sync.crm.marks import own_mark
from enerflo_sync.crm.names import pasted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, SYNC_SCHEMA

_RIGHTS = sa.text("""
/* enerflo-sync rights: what the present role may write of one relation */
select a.attname as name, has_column_privilege(c.oid, a.attnum, 'insert') as may_insert,
       has_column_privilege(c.oid, a.attnum, 'update') as may_update,
       has_table_privilege(c.oid, 'delete') as may_delete
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = :schema and c.relname = :name and a.attnum > 0 and not a.attisdropped
""")

# A view's rights depend on the table behind it, a foreign table's on another server: neither is checked.
_UNFILLED = sa.text("""
/* enerflo-sync rights: columns of one table that a new row has to fill */
select a.attname
from pg_catalog.pg_attribute a
join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_type t on t.oid = a.atttypid
where n.nspname = :schema and c.relname = :name and c.relkind in ('r', 'p')
  and a.attnum > 0 and not a.attisdropped and (a.attnotnull or t.typnotnull)
  and not a.atthasdef and a.attidentity = '' and t.typdefault is null
order by a.attnum
""")

# An identity column's default needs no right on its sequence.
_SEQUENCES = sa.text("""
/* enerflo-sync rights: sequences that number the new rows of one table */
select sn.nspname as schema, s.relname as name, a.attname as column,
       has_sequence_privilege(s.oid, 'usage') as may_use
from pg_catalog.pg_attrdef f
join pg_catalog.pg_class c on c.oid = f.adrelid join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum = f.adnum
join pg_catalog.pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
  and d.refclassid = 'pg_class'::regclass
join pg_catalog.pg_class s on s.oid = d.refobjid and s.relkind = 'S'
join pg_catalog.pg_namespace sn on sn.oid = s.relnamespace
where n.nspname = :schema and c.relname = :name
order by 1, 2
""")


_OWN = sa.text("""
/* enerflo-sync rights: our own tables that the present role may not use as the jobs do */
select n.nspname || '.' || c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = any(:schemas) and c.relkind in ('r', 'p')
  and not (has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
    and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update')
    and has_table_privilege(c.oid, 'delete'))
order by 1
""")


@dataclass(frozen=True)
class Writes:
    """What a mode writes to a CRM table: columns by update and in new rows, and whether it deletes rows.

    :param mark: the column that marks deleted rows and undone inserts; None if rows are really deleted.
    """

    updates: Sequence[str] = ()
    inserts: Sequence[str] = ()
    deletes: bool = False
    mark: str | None = None


@dataclass(frozen=True)
class SequenceUse:
    """A sequence that gives a column of new rows its value."""

    schema: str
    name: str
    may_use: bool


def writes_of(mapping: TableMapping, table: LiveTable, mode: Mode) -> Writes:
    """Return what plans of a mode may write to a table; an undo of inserts deletes or marks rows as well.

    Nothing if the table is only a copy and changes are handed over (write_to).
    """
    return Writes() if mapping.handed_to is not None else written_by(mapping, table, mode)


def written_by(mapping: TableMapping, table: LiveTable, mode: Mode) -> Writes:
    """Return what reaches a table in a mode, whoever carries it there."""
    if "to_crm" not in mode.writes:
        return Writes()
    fields = _fields_to_crm(mapping)
    changed = [name for name in fields if mapping.fields[name].source_of_truth is not SourceOfTruth.CRM]
    # A row that names no record gets its record's id, even if rows are only created.
    links = [name for name in mapping.join_columns if name not in mapping.key_columns]
    updates = [*links, *(() if mapping.create_only else changed)]
    touched = [mapping.updated_at] if mapping.updated_at else []
    mark = own_mark(mapping, table, frozenset(table.columns))
    if mark is not None and Side.CRM in (*mapping.delete_in, *mapping.create_in):
        updates.append(mark)
    return Writes(
        _there(table, [*updates, *touched] if updates else []),
        _there(table, filled_in_new_rows(mapping)) if Side.CRM in mapping.create_in else (),
        Side.CRM in mapping.delete_in and not mapping.deleted_when,
        mark,
    )


def filled_in_new_rows(mapping: TableMapping) -> list[str]:
    """Return the columns that plans fill in a new row of the CRM."""
    touched = [mapping.updated_at] if mapping.updated_at else []
    return [
        *(*mapping.key_columns, *mapping.join_columns),
        *(*_fields_to_crm(mapping), *mapping.on_insert, *touched),
    ]


def _fields_to_crm(mapping: TableMapping) -> list[str]:
    to_crm = {Direction.BOTH, Direction.TO_CRM}
    return [name for name, field in mapping.fields.items() if field.direction in to_crm]


def _there(table: LiveTable, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name in table.columns))


def present_role(connection: sa.Connection) -> str:
    """Return the role whose rights are checked."""
    return str(connection.scalar(sa.text("select current_user")))


def unusable_own_tables(connection: sa.Connection) -> list[str]:
    """Return our own tables in which the present role lacks a right that every job needs."""
    return list(connection.execute(_OWN, {"schemas": [MIRROR_SCHEMA, SYNC_SCHEMA]}).scalars())


def sequences_of(connection: sa.Connection, table: LiveTable, writes: Writes) -> list[SequenceUse]:
    """Return the sequences of columns that a new row leaves to their default."""
    if not writes.inserts:
        return []
    rows = connection.execute(_SEQUENCES, {"schema": table.schema, "name": table.name})
    return [
        SequenceUse(row.schema, row.name, row.may_use) for row in rows if row.column not in writes.inserts
    ]


def missing_rights(connection: sa.Connection, table: LiveTable, writes: Writes) -> Iterator[Notice]:
    """Yield each right that the mode's plans need and the present role lacks, with its grant."""
    role = present_role(connection)
    rows = connection.execute(_RIGHTS, {"schema": table.schema, "name": table.name}).all()
    may_insert = {row.name for row in rows if row.may_insert}
    may_update = {row.name for row in rows if row.may_update}
    on = f"on {pasted(table.schema, table.name)} to {pasted(role)};"
    for right, columns, allowed in (
        ("update", writes.updates, may_update),
        ("insert", writes.inserts, may_insert),
    ):
        lacking = [name for name in columns if name not in allowed]
        if lacking:
            listed = ", ".join(pasted(name) for name in lacking)
            whole = "" if len(lacking) == len(columns) else f" of {', '.join(lacking)}"
            yield Notice(
                "warning",
                ("crm_table",),
                f"no right to {right} rows{whole}",
                right.upper(),
                f"Run: grant {right} ({listed}) {on}",
            )
    if writes.deletes and not (rows and rows[0].may_delete):
        yield Notice(
            "warning", ("delete_in",), "no right to delete rows", "DELETE", f"Run: grant delete {on}"
        )
    for sequence in sequences_of(connection, table, writes):
        if not sequence.may_use:
            name = pasted(sequence.schema, sequence.name)
            step = f"Run: grant usage on sequence {name} to {pasted(role)};"
            yield Notice(
                "warning", ("crm_table",), f"no right to use the sequence {sequence.name}", "USAGE", step
            )


def unfilled_columns(connection: sa.Connection, table: LiveTable, writes: Writes) -> Iterator[Notice]:
    """Yield columns that must not be null and that nothing fills in new rows of plans."""
    if not writes.inserts:
        return
    needed = connection.execute(_UNFILLED, {"schema": table.schema, "name": table.name}).scalars()
    yield from unfilled_notices(needed, writes.inserts)


def unfilled_notices(needed: Iterable[str], filled: Collection[str]) -> Iterator[Notice]:
    """Yield the columns that need a value and are not filled.

    :param needed: columns without which the table accepts no new row.
    """
    for name in needed:
        if name not in filled:
            yield Notice(
                "warning",
                ("create_in",),
                f"column {name}, NOT NULL without a default, which no new row would have",
                "a value in each new row",
                f"Add {name} to on_insert, give it a default, or take crm out of create_in."
                " Until then each new row is parked, unless a trigger of the table fills it.",
            )
