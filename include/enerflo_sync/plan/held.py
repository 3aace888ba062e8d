"""Change orders that a check holds back: each becomes a question and one ledger row, and is never applied.

A change order whose present content was not checked yet is held back as well, so that nothing unchecked
reaches the CRM.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome

# For each change order in ``wanted`` that is held back: the reason in words, and its quarantine item. A
# change order is recognised by the key of Enerflo's record, whatever the name of the CRM's table is.
_HELD = """
select o.change_order_id, q.state, q.item_id,
  case when q.item_id is null then 'held: it was not checked yet'
       else 'held: ' || coalesce((
         select string_agg(rtrim(r.reason, '.') || ' (' || r.check_id || ')', '; '
                           order by array_position(f.failing, r.check_id))
         from sync.quality_results r
         where r.account = f.account and r.run_id = f.run_id and r.change_order_id = f.change_order_id
           and not r.passed and r.severity = 'hold'), q.reason) end as reason
from wanted w
join enerflo.change_orders o on o.account = :account and o.change_order_id = w.change_order_id
left join sync.change_order_facts f on f.account = o.account and f.change_order_id = o.change_order_id
left join sync.quarantine q on q.account = f.account and q.item_id = f.item_id
  and f.observed_at = o.observed_at
where o.deleted_at is null
  and (f.observed_at is distinct from o.observed_at or q.state in ('open', 'dismissed'))
"""

_FIND = sa.text(f"""
/* enerflo-sync plan: change orders that are held back */
create temporary table held_orders on commit drop as
with wanted as (
  select distinct (enerflo_key ->> 'change_order_id')::bigint as change_order_id from pg_temp.decided
  where jsonb_exists(enerflo_key, 'change_order_id') and op <> 'delete' and outcome in ('to_crm', 'review')
)
{_HELD}
""")  # noqa: S608 - a constant

# A new change order has a decision for each field. Report a held new order once, not once for each field.
_ONE_QUESTION = """
/* enerflo-sync plan: one question for a new change order that is held back */
delete from pg_temp.decided d using pg_temp.held_orders h, (
  select ctid as place, row_number() over (partition by table_name, key order by ctid) as n
  from pg_temp.decided
  where op = 'insert' and jsonb_exists(enerflo_key, 'change_order_id')
) e
where d.ctid = e.place and e.n > 1 and d.outcome = 'to_crm'
  and (d.enerflo_key ->> 'change_order_id')::bigint = h.change_order_id
"""

_ASK = """
/* enerflo-sync plan: what is held back is a question, or settled by a person */
update pg_temp.decided d
set outcome = case when h.state = 'dismissed' then 'keep' else 'review' end, reason = h.reason,
    cause = case when h.item_id is null then d.cause else 'quarantined' end,
    field = case when d.op = 'insert' then null else d.field end,
    after = case when d.op = 'insert' then null else d.after end,
    before = case when d.op = 'insert' then d.enerflo_key when d.outcome = 'to_crm' then d.source_value
                  else d.before end,
    source_value = case when d.op = 'insert' then null when d.outcome = 'to_crm' then d.before
                        else d.source_value end
from pg_temp.held_orders h
where d.op <> 'delete' and d.outcome in ('to_crm', 'review')
  and (d.enerflo_key ->> 'change_order_id')::bigint = h.change_order_id
"""

_LEDGER = sa.text("""
/* enerflo-sync plan: what was held back, in the ledger once */
insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, direction, policy, cause,
  rule, facts, plan_hash, decision, reason, decided_by, evidence, run_id, changed_at, observed_at,
  recorded_at)
select :account, d.table_name, d.key, d.op, d.field, d.source_value,
  case when d.field is not null then d.before end, 'to_crm', d.policy,
  'quarantined', 'change_order_checks', d.facts, :plan_hash, 'held', h.reason, 'the change-order checks',
  'quarantine:' || h.item_id, 'plan-' || left(:plan_hash, 12), d.changed_at, d.observed_at, now()
from pg_temp.decided d
join pg_temp.held_orders h on (d.enerflo_key ->> 'change_order_id')::bigint = h.change_order_id
where d.outcome = 'review' and h.state = 'open' and not exists (
  select from sync.ledger l
  where l.account = :account and l.table_name = d.table_name and l.key = d.key and l.decision = 'held'
    and l.op = d.op and l.field is not distinct from d.field and l.evidence = 'quarantine:' || h.item_id)
order by d.key::text, d.field
""").bindparams(sa.bindparam("plan_hash", type_=sa.Text))

_PLANNED = sa.text(f"""
/* enerflo-sync apply: planned change orders that are now held back */
with changes as (
  select position, (enerflo_key ->> 'change_order_id')::bigint as change_order_id from sync.plan_changes
  where account = :account and plan_hash = :plan_hash and op <> 'delete' and direction = 'to_crm'
    and state = 'planned' and jsonb_exists(enerflo_key, 'change_order_id')
), wanted as (select distinct change_order_id from changes)
select h.reason, array_agg(c.position) as positions
from ({_HELD}) h join changes c using (change_order_id) group by 1
""")  # noqa: S608 - a constant


def hold_checked(connection: sa.Connection, account: str) -> None:
    """Make questions in ``decided`` of changes of orders that are held back or not checked yet."""
    connection.exec_driver_sql("drop table if exists pg_temp.held_orders")
    connection.execute(_FIND, {"account": account})
    connection.exec_driver_sql(_ONE_QUESTION)
    connection.exec_driver_sql(_ASK)


def note_held(connection: sa.Connection, account: str, plan_hash: str) -> None:
    """Write the held change orders of a plan into the ledger, once for each quarantine item."""
    connection.execute(_LEDGER, {"account": account, "plan_hash": plan_hash})


def move_held(connection: sa.Connection, applying: Applying, now: datetime) -> None:
    """Record changes as moved if their change order was held back after the plan was made."""
    named = {"account": applying.account, "plan_hash": applying.plan_hash}
    for reason, positions in connection.execute(_PLANNED, named).all():
        record_outcome(connection, applying, positions, Decision.MOVED, now, reason=reason)
