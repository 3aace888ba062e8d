"""Deletions in a CRM that marks its deleted rows (``deleted_when``), and how an undo removes the mark.

A marked row stays in the table with every column. The change keeps the row's values before the mark
(``before``) and the whole marked row (``deleted_row``), so that an undo can detect whether somebody changed
the row since.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.whole_rows import (
    delete_condition,
    delete_statement,
    digest_of,
    restore_condition,
    restore_statement,
    row_digest,
    unchanged_row,
    whole_row,
)
from enerflo_sync.agreed.written import (
    column_value,
    of_key,
    present_moment,
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

# The row is marked only if the whole row is as the plan saw it, and if deleted rows are still marked in this
# way.
_MARK = Template("""
  update $crm t set $column = $value$touch from due p
  where $due_still
  returning p.id, $whole as deleted_row, $living as not_kept
""")

# If several rows are equal in every column, it is unknown which one the plan marked, so none is unmarked.
_MARKED_ROW = """sync.plans q join sync.plan_changes c on c.account = q.account and c.plan_hash = q.stands_on
      and c.table_name = $table and c.op = 'delete' and c.direction = 'to_crm' and c.state = 'applied'
      and c.deleted_row is not null and jsonb_exists(c.after, $name)"""
_UNMARK = Template(f"""
  update $crm t set $column = $before$touch
  from (
    select distinct d.key, c.before, $kept as digest from due d
    join ({_MARKED_ROW}) on q.account = %(account)s and q.plan_hash = %(plan_hash)s and c.key = d.key
  ) p
  where $on and $inside and not ($living) and $digest = p.digest and $alone
  returning $key as key
""")  # noqa: S608 - a constant
_UNMARKABLE = Template(f"""exists (
  select from (
    select distinct c.key, $kept as digest from {_MARKED_ROW}
    where q.account = %(account)s and q.plan_hash = %(plan_hash)s and c.key = p.key
  ) p
  join $crm t on $on and $inside and not ($living) and $digest = p.digest and $alone)""")  # noqa: S608 - a constant

_MARKED_BY_PLAN = sa.text("""
/* enerflo-sync apply: whether the undone plan marked rows as deleted */
select exists (
  select from sync.plans p
  join sync.plan_changes c on c.account = p.account and c.plan_hash = p.stands_on
  where p.account = :account and p.plan_hash = :plan_hash and c.table_name = :table and c.op = 'delete'
    and c.direction = 'to_crm' and c.after is not null)
""")

_NOTE = Template("""
/* enerflo-sync apply $name: rows that were marked as deleted, as they are after all writes */
update sync.plan_changes p set deleted_row = $whole from $crm t
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table
  and p.direction = 'to_crm' and p.op = 'delete' and p.after is not null and p.state = 'applied'
  and p.done_at = %(now)s and $on and not ($living)
""")

# The copy has the row as it is after the mark. Of several rows of one key nobody knows which one was marked.
_NOTE_CARRIED = Template("""
/* enerflo-sync carry $name: rows that were marked as deleted, as they were read back */
update sync.plan_changes p set deleted_row = $whole
from sync.crm_changes w join $crm t on $on and not ($living)
where w.account = %(account)s and w.number = any(%(numbers)s::bigint[]) and p.account = w.account
  and p.plan_hash = w.plan_hash and p.position = w.position
  and (select count(*) from $crm t where $on) = 1
""")


def mark_of(connection: sa.Connection, comparison: Comparison) -> str | None:
    """Return the column that we set to mark a row as deleted; None if rows of the table are really deleted.

    It is also None if ``deleted_when`` names no column that we may write, and if changes are handed over to
    somebody else (``write_to``), because then the CRM itself deletes the row.
    """
    if not comparison.mapping.deleted_when or (comparison.hands_over and not comparison.mapping.is_carried):
        return None
    return own_mark(comparison.mapping, comparison.live, writable_columns(connection, comparison.live))


def marks(comparison: Comparison, column: str | None) -> str:
    """Return the SQL of what a deletion writes: the mark of ``deleted_when`` as JSON; null without a mark."""
    if column is None:
        return "null::jsonb"
    said = json.dumps({column: comparison.mapping.deleted_when[column]})
    return f"{literal(said)}::jsonb"


def shown_row(comparison: Comparison, column: str | None) -> str:
    """Return the SQL of what a deletion shows of a CRM row ``t``: its mapped columns and the former mark."""
    names = [field.name for field in comparison.fields]
    if column is not None and column not in names:
        names.append(column)
    return jsonb_object((name, shown(comparison, name)) for name in names)


def removal_statement(connection: sa.Connection, comparison: Comparison, *, undone: bool) -> str:
    """Return the statement that deletes or marks the CRM rows of ``due`` that are still as the plan saw them.

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
        living=comparison.living("t"),
        due_still=_mark_condition(comparison, column, undone=undone),
        whole=whole_row(comparison),
    )


def removal_condition(connection: sa.Connection, comparison: Comparison, *, undone: bool) -> str:
    """Return the condition that the change ``p`` still removes the CRM row ``t``."""
    column = mark_of(connection, comparison)
    if column is None:
        return delete_condition(comparison, undone=undone)
    return _mark_condition(comparison, column, undone=undone)


def _mark_condition(comparison: Comparison, column: str, *, undone: bool) -> str:
    unchanged = unchanged_row(comparison, shown_row(comparison, column), undone=undone)
    # Deleted rows must still be marked in the way that the plan says.
    return f"{unchanged} and p.after = {marks(comparison, column)}"


def return_statement(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the statement that restores the rows of ``due`` that the undone plan deleted or marked.

    A row that somebody changed since it was marked stays marked, and so does a row whose key another,
    unmarked row now has.
    """
    column = _unmarked(connection, comparison, values)
    if column is None:
        return restore_statement(connection, comparison, values)
    live = comparison.live.columns[column]
    return _UNMARK.substitute(
        _unmarked_row(comparison, column),
        column=quoted(column),
        before=column_value(live, f"(p.before -> {literal(column)})", zone_of(comparison, column)),
        touch=_touch(comparison, column),
        key=comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
    )


def return_condition(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the condition that the undo's record ``p`` still restores its row, or removes its mark."""
    column = _unmarked(connection, comparison, values)
    if column is None:
        return restore_condition(connection, comparison, values)
    return _UNMARKABLE.substitute(_unmarked_row(comparison, column))


def unmark_condition(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str:
    """Return the condition that the undo's record ``p`` still removes its row's mark; false if none did."""
    column = _unmarked(connection, comparison, values)
    return "false" if column is None else _UNMARKABLE.substitute(_unmarked_row(comparison, column))


def unmarked_rows(connection: sa.Connection, comparison: Comparison) -> dict[str, str] | None:
    """Return the SQL parts by which a handed-over undo removes marks; None if no column marks a row.

    ``of_mark`` is the condition that the undone plan's change ``c`` marked a row, ``as_left`` that the row
    ``t`` is still as that plan left it, and ``before`` the mark's value before.
    """
    column = mark_of(connection, comparison)
    if column is None:
        return None
    digest = digest_of("c.deleted_row")
    live = comparison.live.columns[column]
    return {
        "column": column,
        "before": column_value(live, f"(c.before -> {literal(column)})", zone_of(comparison, column)),
        "of_mark": f"c.op = 'delete' and c.direction = 'to_crm' and c.state = 'applied'"
        f" and c.deleted_row is not null and jsonb_exists(c.after, {literal(column)})",
        "as_left": f"{comparison.inside('t')} and not ({comparison.living('t')})"
        f" and {row_digest(comparison)} = {digest} and {left_alone(comparison, 'c.key', digest)}",
    }


def _unmarked(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> str | None:
    """Return the column that the undone plan marked rows by, if we may set it now."""
    column = mark_of(connection, comparison)
    named = {**values, "table": str(comparison.name)}
    return column if column is not None and connection.execute(_MARKED_BY_PLAN, named).scalar_one() else None


def _unmarked_row(comparison: Comparison, column: str) -> dict[str, str]:
    return {
        "crm": comparison.crm,
        "name": literal(column),
        "kept": digest_of("c.deleted_row"),
        "table": literal(comparison.name),
        "on": of_key(comparison, "p.key"),
        "inside": comparison.inside("t"),
        "living": comparison.living("t"),
        "digest": row_digest(comparison),
        "alone": left_alone(comparison, "p.key", "p.digest"),
    }


def left_alone(comparison: Comparison, key: str, digest: str) -> str:
    """Return the condition that exactly one row of a key is marked and unchanged, and that none is unmarked.

    :param key: SQL of the key.
    :param digest: SQL of the digest that the plan left.
    """
    where = f"from {comparison.crm} t where {of_key(comparison, key)}"
    living, as_left = comparison.living("t"), f"{row_digest(comparison)} = {digest}"
    return (
        f"(select count(*) {where} and not ({living}) and {as_left}) = 1"
        f" and not exists (select {where} and {living})"
    )


def note_carried_marks(
    connection: sa.Connection, comparison: Comparison, account: str, numbers: Sequence[int]
) -> None:
    """Store rows that we marked in the CRM's own database, as they were read back just after.

    :param numbers: the deletions of ``sync.crm_changes`` whose rows were written now.
    """
    statement = _NOTE_CARRIED.substitute(
        name=comparison.name,
        crm=comparison.crm,
        on=of_key(comparison, "w.key"),
        living=comparison.living("t"),
        whole=whole_row(comparison),
    )
    connection.exec_driver_sql(statement, {"account": account, "numbers": list(numbers)})


def note_marked_rows(
    connection: sa.Connection,
    comparisons: Mapping[str, Comparison],
    marked_in: Iterable[str],
    values: Mapping[str, Any],
) -> None:
    """Store the rows that an apply marked as they are after all writes, in the apply's transaction.

    Only the table's own triggers or rules can change a marked row after the mark, so other tables are
    skipped. Tables without a unique key are skipped too: there the marked row cannot be identified.

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
    """Return the assignment of the row's modification time, if it has one and that is not the mark itself."""
    touch = touched(comparison)
    return f", {touch[0]} = {touch[1]}" if touch and touch[0] != quoted(column) else ""
