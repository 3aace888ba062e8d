"""Statements that write a plan's changes to a CRM table if the row still has the value that the plan saw."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from enerflo_sync.agreed.whole_rows import may_take_link
from enerflo_sync.agreed.written import (
    alone_of_key,
    column_value,
    names_record,
    no_row_named,
    not_kept,
    of_key,
    record_lives,
    shown,
    touched,
    typed_key,
    zone_of,
)
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison

_UPDATE = Template("""
  update $crm t set $column = $value $touch from due p
  where $on and $counts and nullif($before, 'null') is not distinct from nullif(p.before, 'null')
    and $same_record$alone
  returning p.id, p.key, p.source_value, p.agreed_row, $theirs as theirs, $not_kept as not_kept $record
""")

_INSERT = Template("""
  insert into $crm as n ($columns)
  select $values from (
    select key, enerflo_key, jsonb_object_agg(field, after) as v from due group by key, enerflo_key) p
  where not exists (select from $crm t where $on) and $lives $unlinked
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
        on=of_key(comparison, "p.key"),
        counts=comparison.counts("t"),
        alone=alone_of_key(comparison),
        before=shown(comparison, column),
        theirs=shown(comparison, column),
        not_kept=not_kept(comparison, column, "p"),
        same_record=may_take_link(comparison, column, "p")
        if column in comparison.mapping.join_columns
        else names_record(comparison, "t", "p.enerflo_key"),
        record="" if comparison.key_is_record else ", p.enerflo_key",
    )


def insert_statement(comparison: Comparison, fields: Sequence[str]) -> str:
    """Return the statement that inserts the CRM rows of ``due`` whose records Enerflo still has."""
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
    # All join columns are compared together, because very many rows may share the value of one column.
    links = {name: columns.get(quoted(name)) for name in comparison.mapping.join_columns}
    return _INSERT.substitute(
        crm=comparison.crm,
        columns=", ".join(columns),
        values=", ".join(columns.values()),
        on=of_key(comparison, "p.key"),
        # No row is inserted if Enerflo deleted the record since the plan.
        lives=record_lives(comparison, "p.enerflo_key"),
        unlinked=no_row_named(comparison, links),
        key=comparison.crm_key(f"n.{quoted(name)}" for name in comparison.mapping.key_columns),
    )
