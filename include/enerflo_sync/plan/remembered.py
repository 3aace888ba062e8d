"""Stores what a person refuses of a plan, and ends it if the plan is approved after all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.plan.same_writes import same_writes

# Condition on a change ``c`` of a rejected plan: it was refused with the plan, and not as a part before.
REFUSED_LAST = """c.state = 'refused' and c.done_at = (
    select max(done_at) from sync.plan_changes
    where account = :account and plan_hash = :plan_hash and state = 'refused')"""

_REMEMBER = sa.text("""
/* enerflo-sync apply: what a person refuses, to be remembered for each change */
insert into sync.refusals (account, table_name, key, enerflo_key, op, field, direction, before, after,
  source_value, plan_hash, decided_by, decided_at, reason)
select c.account, c.table_name, c.key, (array_agg(c.enerflo_key))[1], c.op, f.field, c.direction,
  (array_agg(c.before))[1],
  case when c.op = 'insert' then jsonb_object_agg(c.field, c.after) filter (where c.field is not null)
       else (array_agg(c.after))[1] end,
  case when c.op <> 'insert' then (array_agg(c.source_value))[1] end,
  c.plan_hash, :who, now(), :reason
from sync.plan_changes c
cross join lateral (select case when c.op <> 'insert' then c.field end as field) f
where c.account = :account and c.plan_hash = :plan_hash and c.position = any(:positions)
group by c.account, c.plan_hash, c.table_name, c.key, c.op, f.field, c.direction
order by min(c.position)
""").bindparams(sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)))

_OPEN_AGAIN = sa.text("""
/* enerflo-sync apply: refusals of a plan that a person approves after all */
update sync.refusals set ended_at = now(), ended_by = :who, end_reason = 'the plan was approved after all'
where account = :account and plan_hash = :plan_hash and ended_at is null
  and decided_at = (select max(decided_at) from sync.refusals
                    where account = :account and plan_hash = :plan_hash)
""")

_REFUSED_SINCE = sa.text(f"""
/* enerflo-sync apply: who refused a change of a rejected plan again, as one of a later plan */
select r.decided_by from sync.plan_changes c
join sync.refusals r on r.account = c.account and r.op = c.op
  and r.direction = c.direction and coalesce(r.enerflo_key, r.key) = coalesce(c.enerflo_key, c.key)
where c.account = :account and c.plan_hash = :plan_hash and {REFUSED_LAST}
  and r.plan_hash <> c.plan_hash and r.ended_at is null
  and (r.table_name = c.table_name and (c.op = 'insert' or r.field is not distinct from c.field)
    or c.op = 'update' and c.direction = 'to_enerflo' and c.enerflo_key is not null and exists (
      select from jsonb_to_recordset(cast(:writes as jsonb))
        as w("table" text, there text, name text, here text)
      where w.name = c.table_name and w.here = c.field and w."table" = r.table_name and w.there = r.field))
order by r.decided_at desc limit 1
""").bindparams(sa.bindparam("writes", type_=sa.JSON))  # noqa: S608 - a constant


def remember_refused(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    positions: Sequence[int],
    *,
    who: str,
    reason: str | None,
) -> None:
    """Store refusals of changes of a plan, in the caller's transaction.

    :param positions: the positions of the refused changes; for a new row those of all its fields.
    """
    connection.execute(
        _REMEMBER,
        {
            "account": account,
            "plan_hash": plan_hash,
            "positions": list(positions),
            "who": who,
            "reason": reason,
        },
    )


def open_again(connection: sa.Connection, account: str, plan_hash: str, who: str) -> None:
    """End the refusals of a plan's rejection: a person approves it after all."""
    connection.execute(_OPEN_AGAIN, {"account": account, "plan_hash": plan_hash, "who": who})


def refused_since(
    connection: sa.Connection, account: str, plan_hash: str, tables: Mapping[str, TableMapping]
) -> str | None:
    """Return who refused a change of a rejected plan again in another plan; None if nobody did.

    A change of another column that writes the same field of Enerflo is the same change.
    """
    writes = [{"name": name, **write._asdict()} for name in tables for write in same_writes(name, tables)]
    named = {"account": account, "plan_hash": plan_hash, "writes": writes}
    who = connection.scalar(_REFUSED_SINCE, named)
    return None if who is None else str(who)
