"""Changes that could not be made are not tried again at once: they stand in the plan as questions for a day.

A change that differs in any value is another one, and due at once.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

# After this a parked change is planned again as it was: what stood in its way may be gone.
TRIED_AGAIN_AFTER = timedelta(days=1)

_HOLD = sa.text("""
/* enerflo-sync plan: changes that could not be made a short while ago */
with parked as (
  select distinct on (table_name, key, op, field) table_name, key, op, field, new_value, old_value, reason
  from sync.ledger
  where account = :account and decision = 'parked' and recorded_at > now() - :since
  order by table_name, key, op, field, ledger_id desc
), due as (
  select d.ctid as id, d.table_name, d.key, d.op, p.reason
  from pg_temp.decided d
  left join parked p on p.table_name = d.table_name and p.key = d.key and p.op = d.op
    and p.field is not distinct from d.field
    and p.new_value is not distinct from nullif(d.after, 'null')
    and p.old_value is not distinct from nullif(d.before, 'null')
  where d.outcome in ('to_crm', 'to_enerflo')
), held as (
  -- A new record is one whole: with another value in any field it is another attempt.
  select id, reason from due where op <> 'insert' and reason is not null
  union all
  select d.id, r.reason from due d
  join (select table_name, key, min(reason) as reason from due where op = 'insert'
        group by table_name, key having bool_and(reason is not null)) r using (table_name, key)
  where d.op = 'insert'
)
update pg_temp.decided d
set outcome = 'review', reason = 'it could not be made, and is tried again after a day: ' || h.reason
from held h where d.ctid = h.id
""").bindparams(sa.bindparam("since", type_=sa.Interval))


def hold_parked(connection: sa.Connection, account: str) -> None:
    """Leave to a person in ``decided`` what was parked within a day and is the same still."""
    connection.execute(_HOLD, {"account": account, "since": TRIED_AGAIN_AFTER})
