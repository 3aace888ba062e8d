"""Whole rows of the CRM, including unmapped columns: digests of inserted rows, and copies of deleted rows.

An undo deletes an inserted row only if the whole row is unchanged, and restores a deleted row with every
column. A row is stored as the text of each column, because every type can be written as text and read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import (
    column_value,
    no_row_named,
    of_key,
    record_lives,
    shown,
    touched,
    typed,
    zone_of,
)
from enerflo_sync.crm.catalog import insertable_columns
from enerflo_sync.crm.copies import copy_columns
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record

_MADE = Template("""
/* enerflo-sync apply $name: new rows of the CRM */
create temporary table $made on commit drop as
select min(p.position) as position, p.key from sync.plan_changes p
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table
  and p.direction = 'to_crm' and p.op = 'insert' and p.state = 'applied' and p.done_at = %(now)s
group by p.key
""")
_NEW_ROWS = Template("""
/* enerflo-sync apply $name: digests of new rows of the CRM after all writes */
update sync.plan_changes c set row_digest = $digest
from $made p join $crm t on $on
where c.account = %(account)s and c.plan_hash = %(plan_hash)s and c.position = p.position
""")

# All rows that a plan deleted from a table were deleted in one transaction: they have the same columns.
_KEPT_COLUMNS = sa.text("""
/* enerflo-sync apply: the columns that deleted rows had */
select jsonb_object_keys(deleted_row) from (
  select c.deleted_row from sync.plans p
  join sync.plan_changes c on c.account = p.account and c.plan_hash = p.stands_on
  where p.account = :account and p.plan_hash = :plan_hash and c.table_name = :table and c.op = 'delete'
    and c.deleted_row is not null limit 1) c
""")

# A row that an undo restores, and whether nothing is in its way.
_DELETED_ROW = """sync.plans q join sync.plan_changes c on c.account = q.account and c.plan_hash = q.stands_on
      and c.table_name = $table and c.op = 'delete' and c.direction = 'to_crm' and c.state = 'applied'
      and c.deleted_row is not null"""
_RESTORE = Template(f"""
  insert into $crm as n ($columns) overriding system value
  select $values from (
    select distinct d.key, c.deleted_row from due d
    join ({_DELETED_ROW}) on q.account = %(account)s and q.plan_hash = %(plan_hash)s and c.key = d.key
  ) p
  where not exists (select from $crm t where $on) $unlinked
  returning $key as key
""")  # noqa: S608 - a constant
_RESTORABLE = Template(f"""exists (
  select from (
    select distinct c.key, c.deleted_row from {_DELETED_ROW}
    where q.account = %(account)s and q.plan_hash = %(plan_hash)s and c.key = p.key
  ) p
  where not exists (select from $crm t where $on) $unlinked)""")  # noqa: S608 - a constant


# A row is deleted only if the whole row is as the plan saw it, unmapped columns included: so no person's edit
# is deleted.
_DELETE = Template("""
  delete from $crm t using due p
  where $due_still
  returning p.id, $whole as deleted_row, false as not_kept
""")


def whole_row(comparison: Comparison) -> str:
    """Return a CRM row ``t`` with every column that may be read, each as text, as one jsonb object."""
    # The copy tool's own columns tell when a row was copied, not what it contains.
    others = set(copy_columns(comparison.live.columns)) if comparison.hands_over else set()
    readable = (
        name for name, column in comparison.live.columns.items() if column.readable and name not in others
    )
    return jsonb_object((name, f"({comparison.value(name)})::text") for name in readable)


def row_digest(comparison: Comparison) -> str:
    """Return the digest of a whole CRM row ``t``.

    Null values are left out, so a column that is added to the table later changes no digest unless it has a
    default.
    """
    return digest_of(whole_row(comparison))


def digest_of(row: str) -> str:
    """Return the digest of a CRM row.

    :param row: SQL of a jsonb object that has each column as text.
    """
    return f"encode(sha256(convert_to(jsonb_strip_nulls({row})::text, 'UTF8')), 'hex')"


def as_planned(comparison: Comparison) -> str:
    """Return the condition that a CRM row ``t`` is as the plan of the handed-over deletion ``w`` saw it.

    A deletion may wait until the next copy: what a person edited meanwhile is in the row then.
    """
    return (
        f"{row_digest(comparison)} = (select p.row_digest from sync.plan_changes p"  # noqa: S608 - a constant
        " where p.account = w.account and p.plan_hash = w.plan_hash and p.position = w.position)"
    )


def may_take_link(comparison: Comparison, column: str, change: str) -> str:
    """Return the condition that a CRM row ``t`` may get the id of its record in a link column.

    The plan recognised the record by the row's values, so the row must still be as the plan saw it; and no
    other row may have the record's id.
    """
    taken = column_value(comparison.live.columns[column], f"{change}.after", zone_of(comparison, column))
    links = {name: f"t.{quoted(name)}" for name in comparison.mapping.join_columns} | {column: taken}
    same = " and ".join(
        f"{join.of_crm(f's.{quoted(join.crm_name)}')} = {join.of_crm(f'({links[join.crm_name]})')}"
        for join in comparison.joins
    )
    free = f"not exists (select from {comparison.crm_rows} s where {same})"
    return f"{row_digest(comparison)} = {change}.row_digest and {free}"


def one_of_its_key(comparison: Comparison) -> str:
    """Return the condition that no other living CRM row has the key of the row ``t``."""
    keys = comparison.mapping.key_columns
    if comparison.live.unique_by(keys):
        return "true"
    same = " and ".join(f"s.{quoted(name)} = t.{quoted(name)}" for name in keys)
    return f"(select count(*) from {comparison.crm_rows} s where {same}) = 1"  # noqa: S608 - names of the mapping


def delete_statement(comparison: Comparison, *, undone: bool) -> str:
    """Return the statement that deletes the CRM rows of ``due`` that are as the plan saw them.

    It returns each deleted row, so that it can be stored and restored.

    :param undone: whether an undo deletes rows that a plan inserted. Otherwise a row is deleted because
        Enerflo deleted its record, and stays if Enerflo has the record again.
    """
    return _DELETE.substitute(
        crm=comparison.crm,
        due_still=delete_condition(comparison, undone=undone),
        whole=whole_row(comparison),
    )


def delete_condition(comparison: Comparison, *, undone: bool) -> str:
    """Return the condition that the change ``p`` still deletes the CRM row ``t``."""
    row = jsonb_object((field.name, shown(comparison, field.name)) for field in comparison.fields)
    return f"{unchanged_row(comparison, row, undone=undone)} and p.after is null"


def unchanged_row(comparison: Comparison, row: str, *, undone: bool) -> str:
    """Return the condition that a CRM row ``t`` is as the plan saw it, and still to be removed.

    :param row: SQL of what the plan shows of a row.
    :param undone: as :func:`delete_statement` takes it.
    """
    conditions = [
        of_key(comparison, "p.key"),
        comparison.counts("t"),
        f"{row} = p.before",
        f"{row_digest(comparison)} = p.row_digest",
        one_of_its_key(comparison),
        names_record(comparison, "t", "p.enerflo_key"),
        "true" if undone else f"not {record_lives(comparison, 'p.enerflo_key')}",
    ]
    return " and ".join(conditions)


def note_new_rows(
    connection: sa.Connection,
    comparisons: Mapping[str, Comparison],
    made_in: Iterable[str],
    values: Mapping[str, Any],
) -> None:
    """Store the digest of every CRM row that an apply inserted, in its transaction, after all writes.

    All triggers, deferred ones too, have run by then, so a later difference is somebody else's change.

    :param made_in: the tables into which rows were inserted.
    :param values: ``account``, ``plan_hash`` and ``now``, the time at which the rows were inserted.
    """
    for table in made_in:
        comparison = comparisons[table]
        made = f"pg_temp.made_{comparison.name}"
        find = _MADE.substitute(name=comparison.name, made=made, table=literal(comparison.name))
        connection.exec_driver_sql(f"drop table if exists {made}")
        connection.exec_driver_sql(find, dict(values))
        # Without it the server expects few rows, and looks through a table without an index for each of them.
        connection.exec_driver_sql(f"analyze {made}")
        statement = _NEW_ROWS.substitute(
            name=comparison.name,
            made=made,
            crm=comparison.crm,
            on=of_key(comparison, "p.key"),
            digest=row_digest(comparison),
        )
        connection.exec_driver_sql(statement, dict(values))


def restore_statement(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the statement that inserts the deleted rows of ``due`` again, as the undone plan stored them.

    Columns that the table no longer has and generated columns are left out. The row's modification time
    becomes the time of the restore, so that a run that reads only changed rows finds the row.
    """
    columns = _kept_columns(connection, comparison, values)
    # If no row was stored, the statement must still be valid; it inserts nothing then.
    values_of = {quoted(name): value for name, value in columns.items()} or {
        quoted(name): "null" for name in comparison.mapping.key_columns
    }
    touch = touched(comparison)
    if touch is not None and comparison.updated_at not in comparison.mapping.fields:
        values_of[touch[0]] = touch[1]
    return _RESTORE.substitute(
        _restored_row(comparison, columns),
        columns=", ".join(values_of),
        values=", ".join(values_of.values()),
        key=comparison.crm_key(f"n.{quoted(name)}" for name in comparison.mapping.key_columns),
    )


def restore_condition(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the condition that the undo's record ``p`` still restores its deleted row."""
    return _RESTORABLE.substitute(_restored_row(comparison, _kept_columns(connection, comparison, values)))


def _kept_columns(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]
) -> dict[str, str]:
    """Return the columns to restore, each with its SQL from ``p.deleted_row``."""
    named = {**values, "table": str(comparison.name)}
    kept = set(connection.execute(_KEPT_COLUMNS, named).scalars())
    return {
        name: typed(comparison.live.columns[name], f"(p.deleted_row ->> {literal(name)})")
        for name in comparison.live.columns
        if name in kept & insertable_columns(connection, comparison.live)
    }


def _restored_row(comparison: Comparison, columns: Mapping[str, str]) -> dict[str, str]:
    links = {name: columns.get(name) for name in comparison.mapping.join_columns}
    return {
        "crm": comparison.crm,
        "table": literal(comparison.name),
        "on": of_key(comparison, "p.key"),
        "unlinked": no_row_named(comparison, links),
    }
