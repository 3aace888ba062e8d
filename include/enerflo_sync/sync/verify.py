"""After an apply: whether the two sides are now as the plan said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

_CHECK = sa.text("""
/* enerflo-sync verify: applied changes that still differ */
select count(*) filter (where c.state = 'applied') as applied,
       count(*) filter (where c.state = 'applied' and c.table_name <> all(:compared)) as not_compared,
       count(*) filter (where c.state = 'applied' and d.cause is not null) as differing
from sync.plan_changes c
join sync.plans p using (account, plan_hash)
left join sync.differences d
  on d.account = c.account and d.reconciliation_id = :reconciliation_id and d.table_name = c.table_name
 and d.key = c.key and (d.field = c.field or d.field is null) and d.cause <> 'equal_after_normalisation'
 -- What an undo left apart differs, and is meant to.
 and not (p.kind = 'undo' and d.cause = 'policy')
where c.account = :account and c.plan_hash = :plan_hash
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
