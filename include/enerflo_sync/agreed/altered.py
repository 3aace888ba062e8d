"""Values that the CRM's table changes when we write them: both values are agreed on, but not called equal."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.written import as_written, of_key, shown
from enerflo_sync.crm.fields import EITHER_SIDE
from enerflo_sync.crm.mapping import Direction
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

# If only the column's type changed the value (it rounded a number), the pair keeps its word ``push``.
_ALTERED = Template("""
/* enerflo-sync agree $name: values of which the CRM's table made other ones */
update sync.agreed a set agreed_by = '$altered'
from sync.plan_changes p join $crm t on $on
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.field = $field
  and p.op = %(op)s and p.direction = 'to_crm' and p.position between %(first)s and %(until)s
  and p.state = 'applied' and p.done_at = %(now)s
  and a.account = p.account and a.table_name = p.table_name and a.key = p.key and a.field = p.field
  and a.agreed_by = '$push' and a.crm_value is not null and $shown is distinct from $written
""")


# A plan leaves out columns for which Enerflo has no value. If the table fills them in, that is nobody's edit.
_FILLED = Template("""
/* enerflo-sync agree $name: what the CRM's table filled in by itself in new rows */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key)
select distinct on (p.key, f.field)
       %(account)s, $table, p.key, f.field, null::jsonb, f.theirs, %(now)s, '$altered', false, $record
from (
  select key, enerflo_key, array_agg(field) as written from sync.plan_changes
  where account = %(account)s and plan_hash = %(plan_hash)s and table_name = $table and op = 'insert'
    and direction = 'to_crm' and position between %(first)s and %(until)s
    and state = 'applied' and done_at = %(now)s
  group by key, enerflo_key
) p join $crm t on $on cross join lateral (values $fields) f (field, theirs)
where nullif(f.theirs, 'null') is not null and f.field <> all(p.written)
on conflict (account, table_name, key, field) do nothing
""")


def note_filled(connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]) -> None:
    """Store values that a default or trigger filled in in new rows as agreed, with null as Enerflo's value.

    Otherwise the next plan would take such a value for a person's edit, and send it to Enerflo. Fields whose
    source of truth is the CRM are left out, because there the value should be sent. Runs in the caller's
    transaction, after the pairs were stored.

    :param values: ``account``, ``plan_hash``, the positions ``first`` and ``until``, and ``now``.
    """
    fields = [
        name
        for name, field in comparison.mapping.fields.items()
        if field.direction is Direction.BOTH and field.source_of_truth in EITHER_SIDE
    ]
    if not fields:
        return
    statement = _FILLED.substitute(
        name=comparison.name,
        altered=AgreedBy.ALTERED,
        table=literal(comparison.name),
        record="null::jsonb" if comparison.key_is_record else "p.enerflo_key",
        crm=comparison.crm_rows,
        on=of_key(comparison, "p.key"),
        fields=", ".join(f"({literal(name)}, {shown(comparison, name)})" for name in fields),
    )
    connection.exec_driver_sql(statement, dict(values))


def note_altered(
    connection: sa.Connection, comparison: Comparison, column: str, values: Mapping[str, Any]
) -> None:
    """Mark agreed pairs of one CRM column of which the table has another value than the one that was written.

    Only a trigger, rule or view of the table can make one. Runs in the caller's transaction, after the pairs
    were stored.

    :param values: ``account``, ``plan_hash``, ``op``, the positions ``first`` and ``until``, and ``now``.
    """
    statement = _ALTERED.substitute(
        name=comparison.name,
        altered=AgreedBy.ALTERED,
        push=AgreedBy.PUSH,
        crm=comparison.crm_rows,
        on=of_key(comparison, "p.key"),
        table=literal(comparison.name),
        field=literal(column),
        shown=shown(comparison, column),
        written=as_written(comparison, column, "p.after"),
    )
    connection.exec_driver_sql(statement, dict(values))
