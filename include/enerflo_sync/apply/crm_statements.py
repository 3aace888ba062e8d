"""Statements that write a plan's changes to a CRM table if the row still has the value that the plan saw."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from enerflo_sync.agreed.whole_rows import may_take_link
from enerflo_sync.agreed.written import (
    alone_of_key,
    column_value,
    no_row_named,
    not_kept,
    of_key,
    record_lives,
    says_as_planned,
    shown,
    touched,
    typed_key,
    zone_of,
)
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.changed import keeps_times
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record

_UPDATE = Template("""
  update $crm t set $column = $value $touch from due p
  where $due_still
  returning p.id, p.key, p.source_value, p.agreed_row, $theirs as theirs, $not_kept as not_kept $record$time
""")

_INSERT = Template("""
  insert into $crm as n ($columns)
  select $values from (
    select key, enerflo_key, jsonb_object_agg(field, after) as v from due group by key, enerflo_key) p
  where $due_still
  returning $key as key
""")


def update_statement(comparison: Comparison, column: str) -> str:
    """Return the statement that updates one column of those rows of ``due`` that have the old value."""
    live = comparison.live.columns[column]
    touch = touched(comparison)
    return _UPDATE.substitute(
        crm=comparison.crm,
        column=quoted(column),
        value=column_value(live, "p.after", zone_of(comparison, column)),
        touch=f", {touch[0]} = {touch[1]}" if touch and touch[0] != quoted(column) else "",
        due_still=update_condition(comparison, column),
        theirs=shown(comparison, column),
        not_kept=not_kept(comparison, column, "p"),
        record="" if comparison.key_is_record else ", p.enerflo_key",
        time=f", {comparison.changed_at('t')} as crm_time" if keeps_times(comparison) else "",
    )


def update_condition(comparison: Comparison, column: str) -> str:
    """Return the condition that a CRM row ``t`` is still as the change ``p`` of one column expects."""
    if column in comparison.mapping.join_columns:
        same_record = may_take_link(comparison, column, "p")
    else:
        same_record = names_record(comparison, "t", "p.enerflo_key")
    says_before = f"nullif({shown(comparison, column)}, 'null') is not distinct from nullif(p.before, 'null')"
    conditions = [of_key(comparison, "p.key"), comparison.counts("t"), says_before, same_record]
    return f"{' and '.join(conditions)}{alone_of_key(comparison)}"


def insert_statement(comparison: Comparison, fields: Sequence[str]) -> str:
    """Return the statement that inserts the CRM rows of ``due`` whose records Enerflo still has."""
    columns = _new_row(comparison, fields)
    return _INSERT.substitute(
        crm=comparison.crm,
        columns=", ".join(columns),
        values=", ".join(columns.values()),
        due_still=insert_condition(comparison, fields),
        key=comparison.crm_key(f"n.{quoted(name)}" for name in comparison.mapping.key_columns),
    )


def insert_condition(comparison: Comparison, fields: Sequence[str]) -> str:
    """Return the condition that the record ``p`` still needs its row: Enerflo has it, and no row names it."""
    columns = _new_row(comparison, fields)
    # All join columns are compared together, because very many rows may share the value of one column.
    links = {name: columns.get(quoted(name)) for name in comparison.mapping.join_columns}
    # No row is inserted if Enerflo deleted the record since the plan.
    lives, unlinked = record_lives(comparison, "p.enerflo_key"), no_row_named(comparison, links)
    on = of_key(comparison, "p.key")
    lives += says_as_planned(comparison, "p")
    return f"not exists (select from {comparison.crm} t where {on}) and {lives} {unlinked}"


def _new_row(comparison: Comparison, fields: Sequence[str]) -> dict[str, str]:
    """Return the quoted columns of a new row, each with its SQL."""
    keys = {
        column: typed_key(comparison, "p.key", column)
        for column in comparison.mapping.key_columns
        if column not in fields
    }
    values = {
        field: column_value(
            comparison.live.columns[field], f"(p.v -> {literal(field)})", zone_of(comparison, field)
        )
        for field in fields
    }
    columns = {quoted(name): value for name, value in (keys | values).items()}
    touch = touched(comparison)
    if touch is not None:
        columns.setdefault(*touch)
    return columns
