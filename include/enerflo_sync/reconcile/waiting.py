"""Explained differences that wait for a person: the last plan asks about them, or could not end them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from enerflo_sync.reconcile.compare import Comparison

# Why a plan keeps a change of a column that the mapping lets it write.
UNWRITTEN = "the CRM's column takes no values: a view works it out, or the role may not write it"

_UNWRITTEN = sa.text("""
/* enerflo-sync reconcile: what the last plan could write nowhere */
select coalesce((summary -> 'kept' ->> :reason)::bigint, 0) from sync.plans
where account = :account and kind = 'sync' and part = 1 order by created_at desc limit 1
""")

# The newest plan's questions, and changes that could not be made since. Refused changes do not wait: they
# stay as they are.
_WAITING = sa.text("""
/* enerflo-sync reconcile: differences that the last plan left to a person */
with newest as (
  select plan_hash, created_at from sync.plans
  where account = :account and kind = 'sync' and part = 1 order by created_at desc limit 1
), left_over as (
  select u.key, u.field from sync.plan_undecided u join newest n using (plan_hash)
  where u.account = :account and u.table_name = :table and u.refusal_id is null
  union
  select l.key, l.field from sync.ledger l join newest n on l.recorded_at >= n.created_at
  where l.account = :account and l.table_name = :table and l.decision = 'parked'
    and not exists (select from sync.retries r where r.account = l.account and r.ledger_id = l.ledger_id)
)
select count(*) from sync.differences d
where d.account = :account and d.reconciliation_id = :reconciliation_id and d.table_name = :table
  and d.cause not in ('unexplained', 'in_flight', 'on_its_way', 'planned', 'gone_at_once')
  and exists (select from left_over w
    where w.key = d.key and (d.field is null or w.field is null or w.field = d.field))
""")


def count_waiting(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> int:
    """Return how many explained differences wait for a person: asked about by the last plan, or not made.

    A reconciliation before the first plan counts none. Takes ``account`` and ``reconciliation_id``.
    """
    named = {**parameters, "table": str(comparison.name)}
    return int(connection.execute(_WAITING, named).scalar_one())


def waiting_remarks(number: int) -> list[str]:
    """Return a sentence if differences wait for a person."""
    if not number:
        return []
    verb = "difference waits" if number == 1 else "differences wait"
    return [
        f"{number:,} explained {verb} for a person: the last plan asks, or the change could not be made."
        " The inbox and `enerflo-sync plan` say why."
    ]


def unwritten_remarks(connection: sa.Connection, account: str) -> list[str]:
    """Return a sentence if the last plan left differences because the CRM's columns take no values."""
    number = connection.execute(_UNWRITTEN, {"account": account, "reason": UNWRITTEN}).scalar() or 0
    if not number:
        return []
    verb = "difference of the last plan is" if number == 1 else "differences of the last plan are"
    return [
        f"{number:,} {verb} written nowhere: {UNWRITTEN}. enerflo-sync doctor names the columns;"
        " direction: to_enerflo, or create_in without crm, says that it is meant."
    ]
