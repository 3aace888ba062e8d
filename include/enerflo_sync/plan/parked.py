"""Parked changes: a change that could not be made is not retried for a day; plans show it as a question.

A change is planned at once if any of its values differs from the parked one, if another plan made it since,
if a person asks for a retry, or if it is sent to Enerflo and ``writes`` in sync.yaml now makes another
request of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.warehouse.set_back import CLOCKS_DIFFER

# After this time a parked change is planned again, because its obstacle may be gone.
TRIED_AGAIN_AFTER = timedelta(days=1)
# The beginning of the question about a parked change.
HELD_BACK = "it could not be made, and is tried again after a day: "

# The sections of `writes` that define the requests of each kind of record.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    RecordKind.INSTALLS: ("status",),
    RecordKind.MILESTONES: ("milestone",),
    RecordKind.NOTES: ("note",),
    RecordKind.LEADS: ("lead", "appointment"),
}

# The latest time that each change was parked, if it is still held back. Parameters: `account`, `since` and
# `writes`. A row of the ledger keeps its time: what was parked by a clock that was ahead, and was set back
# since, is not held back, else its day would begin only when that time comes.
HELD = f"""
  select p.* from (
    select distinct on (l.table_name, l.key, l.op, l.field) l.ledger_id, l.table_name, l.key, l.op, l.field,
           l.old_value, l.new_value, l.direction, l.reason, l.plan_hash, l.recorded_at,
           q.writes_hashes ->> l.table_name as writes
    from sync.ledger l left join sync.plans q on q.account = l.account and q.plan_hash = l.plan_hash
    where l.account = :account and l.decision = 'parked' and l.recorded_at > now() - :since
      and l.recorded_at <= now() + interval '{CLOCKS_DIFFER}'
    order by l.table_name, l.key, l.op, l.field, l.ledger_id desc
  ) p
  where (p.direction = 'to_crm' or p.writes is null
         or p.writes is not distinct from cast(:writes as jsonb) ->> p.table_name)
    and not exists (select from sync.retries r where r.account = :account and r.ledger_id = p.ledger_id)
    and not exists (
      select from sync.plan_changes m
      where m.account = :account and m.key = p.key and m.table_name = p.table_name and m.op = p.op
        and m.field is not distinct from p.field and m.direction = p.direction
        and m.after is not distinct from p.new_value
        and m.state = 'applied' and m.done_at > p.recorded_at)"""  # noqa: S608 - a constant

# A question has Enerflo's value in `before` and the CRM's in `source_value`. A held new record is one
# question, not one for each field.
_HOLD = sa.text(f"""
/* enerflo-sync plan: changes that could not be made a short while ago */
with parked as ({HELD}
), due as (
  select d.ctid as id, d.table_name, d.key, d.op, p.reason
  from pg_temp.decided d
  left join parked p on p.table_name = d.table_name and p.key = d.key and p.op = d.op
    and p.direction = d.outcome and p.field is not distinct from d.field
    and p.new_value is not distinct from nullif(d.after, 'null')
    and p.old_value is not distinct from nullif(d.before, 'null')
  where d.outcome in ('to_crm', 'to_enerflo')
), held as (
  -- If any field of a new record has another value, it is a new attempt and is not held back.
  select id, reason from due where op <> 'insert' and reason is not null
  union all
  select d.id, r.reason from due d
  join (select table_name, key, min(reason) as reason from due where op = 'insert'
        group by table_name, key having bool_and(reason is not null)) r using (table_name, key)
  where d.op = 'insert'
), taken as (
  delete from pg_temp.decided d using held h where d.ctid = h.id
  returning d.*, '{HELD_BACK}' || h.reason as why
)
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, source_value, policy,
  cause, rule, facts, reason, changed_at, observed_at, agreed_at)
select 'review', table_name, key, enerflo_key, op, field,
       case when outcome = 'to_crm' then source_value else before end,
       case when outcome = 'to_crm' then before else source_value end,
       policy, cause, rule, facts, why, changed_at, observed_at, agreed_at
from taken where op <> 'insert'
union all
select 'review', table_name, key, enerflo_key, op, null,
       case when outcome = 'to_crm' then coalesce(values, '{{}}') end,
       case when outcome = 'to_enerflo' then coalesce(values, '{{}}') end,
       policy, cause, rule, '[]', why, changed_at, observed_at, null
from (
  select table_name, key, enerflo_key, op, outcome, min(policy) as policy, min(cause) as cause,
         min(rule) as rule, min(why) as why, min(changed_at) as changed_at, min(observed_at) as observed_at,
         jsonb_object_agg(field, source_value) filter (where source_value is not null) as values
  from taken where op = 'insert' group by table_name, key, enerflo_key, op, outcome
) made
""").bindparams(sa.bindparam("since", type_=sa.Interval), sa.bindparam("writes", type_=JSONB))  # noqa: S608 - a constant


def writes_hashes(config: SyncConfig, account: str) -> dict[str, str]:
    """Return for each table the digest of the sections of ``writes`` that define its requests to Enerflo."""
    writes = config.writes.model_dump(mode="json")
    hashes = {}
    for name, mapping in config.tables_for(account).items():
        sections = _SECTIONS.get(mapping.kind(name))
        if sections is None:
            continue
        content = json.dumps([writes[section] for section in sections], sort_keys=True)
        hashes[name] = hashlib.sha256(content.encode()).hexdigest()
    return hashes


def held_values(config: SyncConfig, account: str) -> dict[str, Any]:
    """Return the parameters of a statement with :data:`HELD`."""
    return {"account": account, "since": TRIED_AGAIN_AFTER, "writes": writes_hashes(config, account)}


def hold_parked(connection: sa.Connection, config: SyncConfig, account: str) -> None:
    """Make questions in ``decided`` of changes that were parked within a day and have the same values."""
    connection.execute(_HOLD, held_values(config, account))
