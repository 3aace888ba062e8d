"""The check after an apply: whether both sides now have the values of the plan."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

# A difference about a record that one side lacks has the key of the side that has it. So if a CRM row is
# gone, its difference is found by the key of Enerflo's record; for a record that we created at Enerflo, only
# the agreed pairs have that key.
_CHECK = sa.text("""
/* enerflo-sync verify: applied changes that still differ */
with applied as materialized (
  select c.position, c.table_name, c.key, c.enerflo_key, c.op, c.field, p.kind = 'undo' as undo,
    c.policy in ('on_insert', 'sent_along') as aside
  from sync.plan_changes c join sync.plans p using (account, plan_hash)
  where c.account = :account and c.plan_hash = :plan_hash and c.state = 'applied'
), records as (
  select position, enerflo_key from applied
  union
  select c.position, a.enerflo_key
  from applied c join sync.agreed a
    on a.account = :account and a.table_name = c.table_name and a.key = c.key and a.is_link
), found as (
  select table_name, key, field, enerflo_value, cause from sync.differences
  where account = :account and reconciliation_id = :reconciliation_id
    and cause <> 'equal_after_normalisation'
), differing as (
  select c.position, d.field, d.cause from applied c join found d using (table_name, key)
  where d.field = c.field or d.field is null
  union
  select c.position, d.field, d.cause from applied c join records r using (position)
  join found d on d.table_name = c.table_name and d.field is null and d.enerflo_value = r.enerflo_key
)
select count(distinct c.position) as applied,
       count(distinct c.position) filter (
         where c.table_name <> all(:compared) or c.aside and d.cause is null) as not_compared,
       count(distinct c.position) filter (where d.cause is not null
         -- Differences that an undo leaves on purpose do not count, nor rows that it deleted or restored.
         and not (c.undo and (d.cause = 'policy' or c.op <> 'update' and d.field is null))) as differing
from applied c left join differing d using (position)
""").bindparams(sa.bindparam("compared", type_=sa.ARRAY(sa.Text)))


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a plan's applied changes a later reconciliation found to differ again.

    ``not_compared`` counts changes that were not checked: of tables that no reconciliation compares
    (``reconcile: false``), and of columns that only a new record gets (``on_insert``, or sent along with it).
    """

    plan_hash: str
    account: str
    reconciliation_id: str
    applied: int
    differing: int
    not_compared: int = 0


def verify_plan(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    reconciliation_id: str,
    compared: Sequence[str],
) -> Verification:
    """Return how many of a plan's applied changes are among a reconciliation's differences.

    Such a value was changed again since, or a trigger of the table stored another value.

    :param compared: the tables that the reconciliation compared.
    """
    named = {"account": account, "plan_hash": plan_hash, "reconciliation_id": reconciliation_id}
    row = connection.execute(_CHECK, {**named, "compared": list(compared)}).one()
    return Verification(
        plan_hash=plan_hash,
        account=account,
        reconciliation_id=reconciliation_id,
        applied=row.applied,
        differing=row.differing,
        not_compared=row.not_compared,
    )
