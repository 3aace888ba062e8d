"""Exchange 4.1: the last milestone that is completed in the CRM sets the install's status at Enerflo."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableName
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import voided

LAST_MILESTONE = "last_milestone"

_COMPLETED = Template("""
/* enerflo-sync plan: installs whose last milestone is completed in the CRM */
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, changed_at, observed_at)
select 'to_enerflo', 'installs', jsonb_build_object($key, i.install_id),
       jsonb_build_object('install_id', i.install_id), 'update', $status, to_jsonb(i.status_name),
       to_jsonb(s.name), d.after, d.policy, 'edited_in_crm', '$rule', d.changed_at, d.observed_at
from pg_temp.decided d
join enerflo.installs i on i.account = %(account)s
  and i.install_id = (d.enerflo_key ->> 'install_id')::bigint and i.deleted_at is null
join (
  select min(name) as name from enerflo.install_statuses
  where account = %(account)s and deleted_at is null
    and (status_id = %(completed_id)s or lower(btrim(name)) = %(completed_name)s)
) s on s.name is not null
where d.table_name = 'milestones' and d.outcome = 'to_enerflo' and d.field = $completed
  and coalesce(d.after, 'null') <> 'null'
  and (d.enerflo_key ->> 'milestone_id')::bigint = (
    select m.milestone_id from enerflo.milestones m
    where m.account = %(account)s and m.install_id = i.install_id and m.deleted_at is null
    order by m.sequence desc nulls last, m.milestone_id desc limit 1)
  and i.status_name is distinct from s.name and not ($voided)
  and not exists (
    select from pg_temp.decided o where o.table_name = 'installs' and o.field = $status
      and o.enerflo_key = jsonb_build_object('install_id', i.install_id)
      and o.outcome in ('to_crm', 'to_enerflo', 'review'))
""")


def complete_installs(
    connection: sa.Connection, plans: Sequence[Comparison], config: SyncConfig, values: dict[str, Any]
) -> None:
    """Decide that an install is completed whose last milestone this plan completes at Enerflo.

    The last is the one of the highest sequence. Not where the plan decides about the status already, nor for
    a voided install. The CRM's own status follows by the next plan, as any change in Enerflo does.
    """
    by_name = {plan.name: plan for plan in plans}
    milestones, installs = by_name.get(TableName.MILESTONES), by_name.get(TableName.INSTALLS)
    if milestones is None or installs is None or not installs.mapping.joined_by_key:
        return
    completed = _column(milestones, "completed_at")
    status = _column(installs, "status_name")
    if completed is None or status is None or len(installs.joins) != 1:
        return
    wanted = config.statuses.completed
    connection.exec_driver_sql(
        _COMPLETED.substitute(
            key=literal(installs.joins[0].crm_name),
            status=literal(status),
            completed=literal(completed),
            rule=LAST_MILESTONE,
            voided=voided("i", "status"),
        ),
        {
            **values,
            "completed_id": wanted if isinstance(wanted, int) else None,
            "completed_name": wanted.strip().lower() if isinstance(wanted, str) else None,
        },
    )


def _column(plan: Comparison, mirror: str) -> str | None:
    return next((name for name, field in plan.mapping.fields.items() if field.enerflo == mirror), None)
