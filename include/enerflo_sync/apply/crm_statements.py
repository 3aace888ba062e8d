"""The statements that write a plan's changes into a CRM table, each against what the plan saw there."""

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


def update_statement(plan: Comparison, column: str) -> str:
    """Return the statement that writes one column of the CRM rows of ``due`` that say what the plan saw."""
    live = plan.live.columns[column]
    touch = touched(plan)
    return _UPDATE.substitute(
        crm=plan.crm,
        column=quoted(column),
        value=column_value(live, "p.after", zone_of(plan, column)),
        touch=f", {touch[0]} = {touch[1]}" if touch and touch[0] != quoted(column) else "",
        on=of_key(plan, "p.key"),
        counts=plan.counts("t"),
        alone=alone_of_key(plan),
        before=shown(plan, column),
        theirs=shown(plan, column),
        not_kept=not_kept(plan, column, "p"),
        same_record=may_take_link(plan, column, "p")
        if column in plan.mapping.join_columns
        else names_record(plan, "t", "p.enerflo_key"),
        record="" if plan.key_is_record else ", p.enerflo_key",
    )


def insert_statement(plan: Comparison, fields: Sequence[str]) -> str:
    """Return the statement that makes the CRM rows of ``due``, whose records Enerflo has still."""
    keys = {
        column: typed_key(plan, "p.key", column)
        for column in plan.mapping.key_columns
        if column not in fields
    }
    values = {
        field: column_value(plan.live.columns[field], f"(p.v -> {literal(field)})", zone_of(plan, field))
        for field in fields
    }
    columns = {quoted(name): value for name, value in (keys | values).items()}
    touch = touched(plan)
    if touch is not None:
        columns.setdefault(*touch)
    # By all of them: one column alone may be the same in very many rows.
    links = {name: columns.get(quoted(name)) for name in plan.mapping.join_columns}
    return _INSERT.substitute(
        crm=plan.crm,
        columns=", ".join(columns),
        values=", ".join(columns.values()),
        on=of_key(plan, "p.key"),
        # Of a record that Enerflo deleted since the plan no row is made.
        lives=record_lives(plan, "p.enerflo_key"),
        unlinked=no_row_named(plan, links),
        key=plan.crm_key(f"n.{quoted(name)}" for name in plan.mapping.key_columns),
    )
