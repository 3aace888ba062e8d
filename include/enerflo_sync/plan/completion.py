"""Exchange 4.1: the last milestone that is completed in the CRM sets the install's status at Enerflo."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import CompletedNeeds, SyncConfig
from enerflo_sync.crm.mapping import Direction, TableName
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import voided
from enerflo_sync.reconcile.join_columns import JoinColumn

LAST_MILESTONE = "last_milestone"

# What is open is counted as it will be once the plan is applied. Of an install with several changes the one
# of the last milestone speaks.
_COMPLETED = Template("""
/* enerflo-sync plan: installs whose last milestone is completed in the CRM */
with completing as materialized (
  select (enerflo_key ->> 'install_id')::bigint as install_id,
         (enerflo_key ->> 'milestone_id')::bigint as milestone_id,
         coalesce(after, 'null') <> 'null' as completes
  from pg_temp.decided where table_name = 'milestones' and outcome = 'to_enerflo' and field = $completed
), open as materialized (
  select m.install_id, count(*) filter (where not coalesce(c.completes, m.completed_at is not null)) as open
  from enerflo.milestones m left join completing c using (install_id, milestone_id)
  where m.account = %(account)s and m.deleted_at is null
    and m.install_id in (select install_id from completing where completes)
  group by 1
)
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, reason, changed_at, observed_at)
select distinct on (e.install_id) 'to_enerflo', 'installs', $key,
       jsonb_build_object('install_id', e.install_id), 'update', $status, to_jsonb(e.status_name),
       to_jsonb(s.name), d.after, d.policy, 'edited_in_crm', '$rule',
       case o.open when 0 then null when 1 then '1 milestone is still open'
            else o.open || ' milestones are still open' end,
       d.changed_at, d.observed_at
from pg_temp.decided d
join enerflo.installs e on $installs
  and e.install_id = (d.enerflo_key ->> 'install_id')::bigint and e.deleted_at is null
join (
  select min(name) as name from enerflo.install_statuses
  where account = %(account)s and deleted_at is null
    and (status_id = %(completed_id)s or lower(btrim(name)) = %(completed_name)s)
) s on s.name is not null
cross join lateral (
  select m.milestone_id from enerflo.milestones m
  where m.account = %(account)s and m.install_id = e.install_id and m.deleted_at is null
  order by m.sequence desc nulls last, m.milestone_id desc limit 1
) final
join open o on o.install_id = e.install_id
where d.table_name = 'milestones' and d.outcome = 'to_enerflo' and d.field = $completed
  and coalesce(d.after, 'null') <> 'null'
  and $needs
  and e.status_name is distinct from s.name and not ($voided)
  and not exists (
    select from pg_temp.decided x where x.table_name = 'installs' and x.field = $status
      and x.enerflo_key = jsonb_build_object('install_id', e.install_id)
      and x.outcome in ('to_crm', 'to_enerflo', 'review'))
order by e.install_id, (d.enerflo_key ->> 'milestone_id')::bigint = final.milestone_id desc, d.key
""")
_NEEDS = {
    CompletedNeeds.FINAL: "(d.enerflo_key ->> 'milestone_id')::bigint = final.milestone_id",
    CompletedNeeds.ALL: "o.open = 0",
}


def complete_installs(
    connection: sa.Connection, plans: Sequence[Comparison], config: SyncConfig, values: dict[str, Any]
) -> None:
    """Decide that an install is completed whose last milestone this plan completes at Enerflo.

    The last is the one of the highest sequence; with ``completed_needs: all`` it is whichever is completed
    when no other is open. Not where the plan decides about the status already, nor
    where its direction keeps it from Enerflo, nor for a voided install. The CRM's own status follows by the
    next plan, as any change in Enerflo does.
    """
    by_name = {plan.name: plan for plan in plans}
    milestones, installs = by_name.get(TableName.MILESTONES), by_name.get(TableName.INSTALLS)
    if milestones is None or installs is None or not installs.mapping.joined_by_key:
        return
    completed = _column(milestones, "completed_at")
    status = _column(installs, "status_name")
    if completed is None or status is None or len(installs.joins) != 1:
        return
    if installs.mapping.fields[status].direction not in {Direction.BOTH, Direction.TO_ENERFLO}:
        return
    (join,) = installs.joins
    wanted = config.statuses.completed
    connection.exec_driver_sql(
        _COMPLETED.substitute(
            key=_key(installs, join),
            installs=installs.mirror_rows,
            status=literal(status),
            completed=literal(completed),
            rule=LAST_MILESTONE,
            needs=_NEEDS[config.statuses.completed_needs],
            voided=voided("e", "status"),
        ),
        {
            **values,
            "completed_id": wanted if isinstance(wanted, int) else None,
            "completed_name": wanted.strip().lower() if isinstance(wanted, str) else None,
        },
    )


def _key(installs: Comparison, join: JoinColumn) -> str:
    """Return the key of the install ``e``: as its row spells it, where there are several ways."""
    value = f"({join.mirror})::{join.type}"
    made = jsonb_object([(join.crm_name, join.as_stored(value))])
    if not join.varies:
        return made
    key = installs.crm_key([f"t.{quoted(join.crm_name)}"])
    row = f"select {key} from {installs.crm_rows} t where {join.crm} = {value} limit 1"  # noqa: S608 - names
    return f"coalesce(({row}), {made})"


def _column(plan: Comparison, mirror: str) -> str | None:
    return next((name for name, field in plan.mapping.fields.items() if field.enerflo == mirror), None)
