"""What a plan applied, in one temporary table, and what of it the mapping does not know any more."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison

UNDO = "undo"

# Columns of ``decided`` that every row of an undo fills.
COLUMNS = """outcome, table_name, key, enerflo_key, op, field, before, after, source_value, policy, cause,
  rule, reason, agreed_at"""

# The time of the ledger's row tells one undo apart from the same one made before.
MAKE_UNDOING = """
/* enerflo-sync undo: what the plan applied */
create temporary table undoing on commit drop as
select l.table_name, l.key, l.op, l.field, nullif(l.old_value, 'null') as old_value,
       nullif(l.new_value, 'null') as new_value, l.direction, l.policy, l.rule, l.recorded_at, p.enerflo_key
from sync.ledger l
left join lateral (
  select c.enerflo_key from sync.plan_changes c
  where c.account = l.account and c.plan_hash = l.plan_hash and c.table_name = l.table_name and c.key = l.key
    and c.op = l.op and c.direction = l.direction and c.field is not distinct from l.field limit 1
) p on true
where l.account = %(account)s and l.plan_hash = %(plan_hash)s and l.decision = 'applied'
"""

_UNMAPPED = sa.text(f"""
/* enerflo-sync undo: what the mapping does not know any more */
with gone as (
  delete from pg_temp.undoing u
  where not exists (select from jsonb_to_recordset(cast(:known as jsonb)) as k(table_name text, field text)
                    where k.table_name = u.table_name and (u.op <> 'update' or k.field = u.field))
  returning u.*
)
insert into pg_temp.decided ({COLUMNS})
select 'review', table_name, key, enerflo_key, op, field, null, null, null, policy, 'policy', '{UNDO}',
       'the mapping does not know it any more', recorded_at
from gone
""").bindparams(sa.bindparam("known", type_=sa.JSON))  # noqa: S608 - constants


def leave_unmapped(connection: sa.Connection, plans: Sequence[Comparison]) -> None:
    """Leave to a person what was written to a table or field that is not mapped, or not there, any more."""
    known = [
        {"table_name": str(plan.name), "field": name}
        for plan in plans
        for name in {*plan.mapping.fields, *plan.mapping.join_columns} & set(plan.live.columns)
    ]
    connection.execute(_UNMAPPED, {"known": known})
