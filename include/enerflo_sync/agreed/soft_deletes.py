"""Rows that we delete in a CRM that marks its deleted rows (``deleted_when``), and that an undo unmarks.

The row stays, with every column. What it said before the mark stands in the change (``before``). The whole
row as it stands with its mark is kept, so that an undo finds out whether somebody touched it since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.whole_rows import (
    delete_statement,
    digest_of,
    one_of_its_key,
    restore_statement,
    row_digest,
    whole_row,
)
from enerflo_sync.agreed.written import (
    column_value,
    names_record,
    of_key,
    present_moment,
    record_lives,
    shown,
    touched,
    typed,
    zone_of,
)
from enerflo_sync.crm.catalog import Kind, writable_columns
from enerflo_sync.crm.mapping import NOT_NULL
from enerflo_sync.crm.marks import own_mark
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison

# The whole row is as the plan expects it, and so is the way in which it is to be deleted.
_MARK = Template("""
  update $crm t set $column = $value$touch from due p
  where $on and $counts and $row = p.before and $digest = p.row_digest and $one_of_its_key and $same_record
    and $due_still and p.after = $marks
  returning p.id, $whole as deleted_row, $living as not_kept
""")

# Of rows that are alike in every column nobody knows which one the plan marked.
_UNMARK = Template("""
  update $crm t set $column = $before$touch
  from (
    select distinct d.key, c.before, $kept as digest from due d
    join sync.plans q on q.account = %(account)s and q.plan_hash = %(plan_hash)s
    join sync.plan_changes c on c.account = q.account and c.plan_hash = q.stands_on and c.key = d.key
      and c.table_name = $table and c.op = 'delete' and c.direction = 'to_crm' and c.state = 'applied'
      and c.deleted_row is not null and jsonb_exists(c.after, $name)
  ) p
  where $on and $inside and not ($living) and $digest = p.digest and $alone
  returning $key as key
""")

_MARKED_BY_PLAN = sa.text("""
/* enerflo-sync apply: whether the undone plan marked rows as deleted */
select exists (
  select from sync.plans p
  join sync.plan_changes c on c.account = p.account and c.plan_hash = p.stands_on
  where p.account = :account and p.plan_hash = :plan_hash and c.table_name = :table and c.op = 'delete'
    and c.direction = 'to_crm' and c.after is not null)
""")

_NOTE = Template("""
/* enerflo-sync apply $name: rows that were marked as deleted, as they stand when all is written */
update sync.plan_changes p set deleted_row = $whole from $crm t
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table
  and p.direction = 'to_crm' and p.op = 'delete' and p.after is not null and p.state = 'applied'
  and p.done_at = %(now)s and $on and not ($living)
""")


def mark_of(connection: sa.Connection, comparison: Comparison) -> str | None:
    """Return the column that we set to delete a row of the table; None: rows are deleted, or not ours.

    Where changes are handed over (``write_to``), the CRM itself is told to delete.
    """
    if not comparison.mapping.deleted_when or comparison.hands_over:
        return None
    return own_mark(comparison.mapping, comparison.live, writable_columns(connection, comparison.live))


def marks(comparison: Comparison, column: str | None) -> str:
    """Return what a deletion writes, as JSON: the mark as ``deleted_when`` says it; null where it deletes."""
    if column is None:
        return "null::jsonb"
    said = json.dumps({column: comparison.mapping.deleted_when[column]})
    return f"{literal(said)}::jsonb"


def shown_row(comparison: Comparison, column: str | None) -> str:
    """Return what a deletion shows of a CRM row ``t``: its mapped columns, and the mark as it was."""
    names = [field.name for field in comparison.fields]
    if column is not None and column not in names:
        names.append(column)
    return jsonb_object((name, shown(comparison, name)) for name in names)


def removal_statement(connection: sa.Connection, comparison: Comparison, *, undone: bool) -> str:
    """Return the statement that deletes CRM rows of ``due``, or marks them, if they are as the plan saw them.

    :param undone: as :func:`enerflo_sync.agreed.whole_rows.delete_statement` takes it.
    """
    column = mark_of(connection, comparison)
    if column is None:
        return delete_statement(comparison, undone=undone)
    return _MARK.substitute(
        crm=comparison.crm,
        column=quoted(column),
        value=marking_value(comparison, column),
        touch=_touch(comparison, column),
        on=of_key(comparison, "p.key"),
        counts=comparison.counts("t"),
        living=comparison.living("t"),
        row=shown_row(comparison, column),
        digest=row_digest(comparison),
        one_of_its_key=one_of_its_key(comparison),
        same_record=names_record(comparison, "t", "p.enerflo_key"),
        due_still="true" if undone else f"not {record_lives(comparison, 'p.enerflo_key')}",
        marks=marks(comparison, column),
        whole=whole_row(comparison),
    )


def return_statement(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the statement that brings back the rows of ``due`` that the undone plan deleted, or marked.

    A row that somebody touched since it was marked is left alone, and so is one in whose place another lives.
    """
    column = mark_of(connection, comparison)
    named = {**values, "table": str(comparison.name)}
    if column is None or not connection.execute(_MARKED_BY_PLAN, named).scalar_one():
        return restore_statement(connection, comparison, values)
    live = comparison.live.columns[column]
    return _UNMARK.substitute(
        crm=comparison.crm,
        column=quoted(column),
        name=literal(column),
        before=column_value(live, f"(p.before -> {literal(column)})", zone_of(comparison, column)),
        touch=_touch(comparison, column),
        kept=digest_of("c.deleted_row"),
        table=literal(comparison.name),
        on=of_key(comparison, "p.key"),
        inside=comparison.inside("t"),
        living=comparison.living("t"),
        digest=row_digest(comparison),
        alone=left_alone(comparison, "p.key", "p.digest"),
        key=comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
    )


def left_alone(comparison: Comparison, key: str, digest: str) -> str:
    """Return the condition that of a key's rows one is marked and as a plan left it, and none lives."""
    where = f"from {comparison.crm} t where {of_key(comparison, key)}"
    living, as_left = comparison.living("t"), f"{row_digest(comparison)} = {digest}"
    return (
        f"(select count(*) {where} and not ({living}) and {as_left}) = 1"
        f" and not exists (select {where} and {living})"
    )


def note_marked_rows(
    connection: sa.Connection,
    comparisons: Mapping[str, Comparison],
    marked_in: Iterable[str],
    values: Mapping[str, Any],
) -> None:
    """Keep the rows that an apply marked as they stand when all is written, in its transaction.

    Only a table's own triggers change them meanwhile. Of rows that share a key nobody knows which it was.

    :param values: ``account``, ``plan_hash`` and ``now``, the time at which the rows were marked.
    """
    for table in marked_in:
        comparison = comparisons[table]
        known = comparison.live.unique_by(comparison.mapping.key_columns)
        if not (comparison.mapping.deleted_when and comparison.live.has_own_rules and known):
            continue
        statement = _NOTE.substitute(
            name=comparison.name,
            table=literal(comparison.name),
            crm=comparison.crm,
            on=of_key(comparison, "p.key"),
            living=comparison.living("t"),
            whole=whole_row(comparison),
        )
        connection.exec_driver_sql(statement, dict(values))


def marking_value(comparison: Comparison, column: str) -> str:
    """Return the value of ``deleted_when`` in the type of a column that marks a row as deleted."""
    live, value = comparison.live.columns[column], comparison.mapping.deleted_when[column]
    if value == NOT_NULL:
        return present_moment(live, zone_of(comparison, column))
    if isinstance(value, bool):
        value = int(value) if live.kind is Kind.INTEGER else str(value).lower()
    return typed(live, literal(str(value)))


def _touch(comparison: Comparison, column: str) -> str:
    """Return the further column that is set: the time of the row's last change, unless that is the mark."""
    touch = touched(comparison)
    return f", {touch[0]} = {touch[1]}" if touch and touch[0] != quoted(column) else ""
