"""After an apply: whether the two sides are now as the plan said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

# A difference of a record that one side lacks has the key of the side that has it: a CRM row that is gone is
# found by its record of Enerflo, which only the agreed pairs tell where we sent that record.
_CHECK = sa.text("""
/* enerflo-sync verify: applied changes that still differ */
with applied as materialized (
  select c.position, c.table_name, c.key, c.enerflo_key, c.op, c.field, p.kind = 'undo' as undo
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
       count(distinct c.position) filter (where c.table_name <> all(:compared)) as not_compared,
       count(distinct c.position) filter (where d.cause is not null
         -- What an undo left apart differs, and is meant to: so does a row that it took away or put back.
         and not (c.undo and (d.cause = 'policy' or c.op <> 'update' and d.field is null))) as differing
from applied c left join differing d using (position)
""").bindparams(sa.bindparam("compared", type_=sa.ARRAY(sa.Text)))


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """Of a plan's applied changes, how many a later reconciliation found to differ again.

    ``not_compared`` are changes of tables that no reconciliation compares (``reconcile: false``): nothing is
    known of these.
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
    """Return how many of a plan's applied changes stand among a reconciliation's differences.

    One that does was changed again since, or a table's trigger keeps another value than it was given.

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
