"""What one writes next: the same loop, which also notes of each change what ours does, one by one."""

from __future__ import annotations

from typing import Any

import psycopg
import sqlalchemy as sa

from benchmarks.jobs import ApplyJob
from benchmarks.peers.naive_apply import changes_of, update_of

_STATE = """
update sync.plan_changes set state = 'applied', done_at = now()
where account = 'default' and plan_hash = %s and position = %s
"""
_LEDGER = """
insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, losing_value, direction,
  policy, cause, rule, facts, plan_hash, decision, decided_by, evidence, run_id, changed_at, observed_at,
  recorded_at)
select account, table_name, key, op, field, before, after, before, direction, policy, cause, rule, facts,
  plan_hash, state, 'the benchmark', 'plan', 'loop', changed_at, observed_at, done_at
from sync.plan_changes where account = 'default' and plan_hash = %s and position = %s
"""
_AGREED = """
insert into sync.agreed (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link)
select account, table_name, key, field, nullif(source_value, 'null'), null, done_at, 'push', false
from sync.plan_changes where account = 'default' and plan_hash = %s and position = %s
on conflict (account, table_name, key, field) do update set value = excluded.value,
  crm_value = excluded.crm_value, agreed_at = excluded.agreed_at, agreed_by = excluded.agreed_by
"""
_ENDED = "update sync.plans set state = 'applied' where account = 'default' and plan_hash = %s"


def run(job: ApplyJob) -> dict[str, Any]:
    """Make the plan's changes, each with its state, its row of the ledger and its agreed value."""
    url = sa.make_url(job.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    applied = 0
    with psycopg.connect(url) as connection:
        for position, field, after, key, before in changes_of(connection, job.plan_hash):
            written = connection.execute(update_of(field), (after, key, before)).rowcount
            for statement in (_STATE, _LEDGER, _AGREED) if written else ():
                connection.execute(statement, (job.plan_hash, position))
            connection.commit()
            applied += written
        connection.execute(_ENDED, (job.plan_hash,))
    return {"applied": applied}
