"""State stored per install, so that the next run judges only installs that changed or are due."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.quality.life_cycle.graph import CheckId, LifeCycle

_FORGET = """
/* enerflo-sync life-cycle: installs that are gone */
delete from sync.life_cycle_installs p using pg_temp.life_now n
where p.account = %(account)s and p.install_id = n.install_id and n.state = 'gone'
"""

_KEEP = """
/* enerflo-sync life-cycle: what is known of the installs that were judged */
insert into sync.life_cycle_installs as p (account, install_id, digest, state, steps, next_due_at,
  completed_ids, completed_ats, unknown_ids)
select %(account)s, n.install_id, n.digest, n.state, coalesce(d.steps, '{}'),
  case when %(overdue)s then d.next_due_at end, n.completed_ids, n.completed_ats, n.unknown_ids
from pg_temp.life_now n
left join (
  select install_id, array_agg(name order by step) as steps,
    min(due_at) filter (where due_at > %(now)s) as next_due_at
  from pg_temp.life_dwell where open group by 1
) d using (install_id)
where n.state <> 'gone'
on conflict (account, install_id) do update set digest = excluded.digest, state = excluded.state,
  steps = excluded.steps, next_due_at = excluded.next_due_at, completed_ids = excluded.completed_ids,
  completed_ats = excluded.completed_ats, unknown_ids = excluded.unknown_ids
where (p.digest, p.state, p.steps, p.next_due_at, p.completed_ids, p.completed_ats, p.unknown_ids)
  is distinct from (excluded.digest, excluded.state, excluded.steps, excluded.next_due_at,
    excluded.completed_ids, excluded.completed_ats, excluded.unknown_ids)
"""


def keep_state(connection: sa.Connection, life_cycle: LifeCycle, account: str, now: datetime) -> None:
    """Store the state of the installs in ``life_now``, in the caller's transaction."""
    values = {"account": account, "now": now, "overdue": CheckId.OVERDUE in life_cycle.checks}
    connection.exec_driver_sql(_FORGET, values)
    connection.exec_driver_sql(_KEEP, values)
