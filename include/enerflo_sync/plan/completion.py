"""Exchange 4.1: when the CRM completes the last milestone of an install, its status at Enerflo is set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import CompletedNeeds, SyncConfig
from enerflo_sync.crm.live.gone_statuses import gone_statuses
from enerflo_sync.crm.mapping import Direction, RecordKind
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.crm.retention import APPOINTMENT_DAYS
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import voided
from enerflo_sync.reconcile.join_columns import JoinColumn

LAST_MILESTONE = "last_milestone"
NOTHING_COMPLETES = (
    "its install is complete with it, and no status of the company is called {name}: correct"
    " statuses.completed"
)

# Open milestones are counted as they will be after the plan is applied. If several milestones of an install
# are completed, the change of the last milestone is used. If the CRM already called the milestone completed
# when both sides last agreed, another date does not complete the install again: a person may have opened the
# install since. The milestone's row may have had another key at that time. In a wide table the agreed pair
# names only the install, while a change also names the milestone.
_COMPLETED = Template("""
/* enerflo-sync plan: installs whose last milestone is completed in the CRM */
with completing as materialized (
  select (enerflo_key ->> 'install_id')::bigint as install_id,
         (enerflo_key ->> 'milestone_id')::bigint as milestone_id,
         coalesce(after, 'null') <> 'null' as completes
  from pg_temp.decided where (table_name, field) in ($completed) and outcome = 'to_enerflo'
), open as materialized (
  select m.install_id, count(*) filter (where not coalesce(c.completes, m.completed_at is not null)) as open
  from enerflo.milestones m left join completing c using (install_id, milestone_id)
  where m.account = %(account)s and m.deleted_at is null
    and m.install_id in (select install_id from completing where completes)
  group by 1
)
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, reason, changed_at, observed_at)
select distinct on (e.install_id) 'to_enerflo', $table, $key,
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
where (d.table_name, d.field) in ($completed) and d.outcome = 'to_enerflo'
  and coalesce(d.after, 'null') <> 'null'
  and not exists (
    select from sync.agreed a
    where a.account = %(account)s and (a.table_name, d.table_name) in ($of_one_table) and a.key = d.key
      and a.field = d.field and coalesce(a.enerflo_key <@ d.enerflo_key, true)
      and a.agreed_by not like 'former%%' and coalesce(a.crm_value, a.value, 'null') <> 'null')
  and (d.agreed_at is not null or coalesce((
    select coalesce(a.crm_value, a.value, 'null')
    from sync.agreed l join sync.agreed a on a.account = l.account and a.table_name = l.table_name
      and a.key = l.key and a.field = d.field and a.enerflo_key <@ d.enerflo_key
    where l.account = %(account)s and l.table_name = d.table_name
      and l.link in (d.enerflo_key -> 'install_id', to_jsonb(d.enerflo_key ->> 'install_id'))
      and (a.agreed_by not like 'former%%' or a.agreed_by like 'former_row%%')
    order by a.agreed_at desc limit 1), 'null') = 'null')
  and $needs
  and e.status_name is distinct from s.name and not ($voided) and $here and not $outside
  and not exists (
    select from pg_temp.decided x where (x.table_name, x.field) in ($statuses)
      and x.enerflo_key = jsonb_build_object('install_id', e.install_id)
      and (x.outcome in ('to_crm', 'to_enerflo', 'review') or x.rule = 'void'))
order by e.install_id, (d.enerflo_key ->> 'milestone_id')::bigint = final.milestone_id desc, d.key
""")
_LEFT_OPEN = Template("""
/* enerflo-sync plan: installs whose needed milestone a person refused to complete */
delete from pg_temp.decided c using pg_temp.decided d
where c.rule = '$rule' and c.outcome = 'to_enerflo'
  and (d.table_name, d.field) in ($completed) and d.outcome = 'refused'
  and coalesce(d.before, 'null') = 'null' and coalesce(d.source_value, 'null') <> 'null'
  and d.enerflo_key -> 'install_id' = c.enerflo_key -> 'install_id' and $needed
""")
# A process may end between the write of the milestone and that of the status, or the status is refused. Once
# the milestone is read back it is no change any more, so no later plan would complete the install.
_LATE = Template("""
/* enerflo-sync plan: installs that an older plan did not complete although it wrote their last milestone */
with lately as materialized (
  select c.*, p.created_at from sync.plan_changes c join sync.plans p using (account, plan_hash)
  where c.account = %(account)s and c.table_name = $table and c.field = $status and c.rule = '$rule'
    and p.created_at > now() - make_interval(days => $days)
)
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, before, after, source_value,
  policy, cause, rule, changed_at, observed_at)
select 'to_enerflo', $table, c.key, c.enerflo_key, 'update', c.field, c.before, c.after, c.source_value,
       c.policy, c.cause, c.rule, c.changed_at, c.observed_at
from (select distinct on (enerflo_key) * from lately order by enerflo_key, created_at desc) c
join enerflo.installs e on e.account = c.account and e.deleted_at is null
  and e.install_id = (c.enerflo_key ->> 'install_id')::bigint and to_jsonb(e.status_name) = c.before
where c.state in ('planned', 'superseded', 'sent', 'parked') and not ($voided) and not $outside
  and c.after in (
    select to_jsonb(s.name) from enerflo.install_statuses s
    where s.account = c.account and s.deleted_at is null
      and (s.status_id = %(completed_id)s or lower(btrim(s.name)) = %(completed_name)s))
  and exists (
    select from lately n join sync.plan_changes m using (account, plan_hash)
    where n.enerflo_key = c.enerflo_key and (m.table_name, m.field) in ($completed)
      and m.direction = 'to_enerflo' and m.state = 'applied' and m.after = c.source_value
      and m.enerflo_key -> 'install_id' = c.enerflo_key -> 'install_id'
      -- Nobody took the date away in the CRM since.
      and not exists (
        select from pg_temp.decided x where (x.table_name, x.field) = (m.table_name, m.field)
          and x.key = m.key and x.outcome <> 'to_crm' and coalesce(x.source_value, 'null') = 'null'))
  and 0 = (
    select count(*) from (
      select m.completed_at from enerflo.milestones m
      where m.account = c.account and m.install_id = e.install_id and m.deleted_at is null
      order by m.sequence desc nulls last, m.milestone_id desc limit $needed) m where m.completed_at is null)
  and not exists (
    select from sync.ledger l
    where l.account = c.account and l.table_name = c.table_name and l.key = c.key and l.field = c.field
      and l.decision = 'applied' and l.recorded_at > c.created_at)
  and not exists (
    select from pg_temp.decided x where (x.table_name, x.field) in ($statuses)
      and x.enerflo_key = c.enerflo_key
      and (x.outcome in ('to_crm', 'to_enerflo', 'review') or x.rule = 'void'))
""")
_FINAL = """(d.enerflo_key ->> 'milestone_id')::bigint = (
    select m.milestone_id from enerflo.milestones m
    where m.account = %(account)s and m.deleted_at is null
      and m.install_id = (d.enerflo_key ->> 'install_id')::bigint
    order by m.sequence desc nulls last, m.milestone_id desc limit 1)"""
# Otherwise the milestone would be written now, and nothing would ever complete the install.
_ASK = Template("""
/* enerflo-sync plan: last milestones, while no status is called as statuses.completed */
update pg_temp.decided d set outcome = 'review', after = null, reason = $reason
where (d.table_name, d.field) in ($completed) and d.outcome = 'to_enerflo'
  and coalesce(d.after, 'null') <> 'null' and d.op = 'update' and $last
""")
_NONE_OPEN = """not exists (
    select from enerflo.milestones m
    where m.account = %(account)s and m.deleted_at is null and m.completed_at is null
      and m.install_id = (d.enerflo_key ->> 'install_id')::bigint
      and not exists (
        select from pg_temp.decided x
        where x.enerflo_key @> jsonb_build_object('install_id', m.install_id, 'milestone_id', m.milestone_id)
          and x.outcome in ('to_enerflo', 'review') and coalesce(x.source_value, 'null') <> 'null'))"""
_NEEDS = {
    CompletedNeeds.FINAL: "(d.enerflo_key ->> 'milestone_id')::bigint = final.milestone_id",
    CompletedNeeds.ALL: "o.open = 0",
}


def ask_where_nothing_completes(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, account: str
) -> None:
    """Make questions of the last milestones of installs while no status is ``statuses.completed``."""
    completed = _columns(comparisons, RecordKind.MILESTONES, "completed_at")
    wanted = config.statuses.completed
    installs = [one for one in comparisons if "to_enerflo" in one.mode.writes and _sets_status(one)]
    if not completed or not installs or isinstance(wanted, int):
        return
    if gone_statuses(connection, [wanted], account):
        needs_all = config.statuses.completed_needs is CompletedNeeds.ALL
        statement = _ASK.substitute(
            reason=literal(NOTHING_COMPLETES.format(name=wanted)),
            completed=_listed(completed),
            last=_NONE_OPEN if needs_all else _FINAL,
        )
        connection.exec_driver_sql(statement, {"account": account})


def complete_installs(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, values: dict[str, Any]
) -> None:
    """Decide that the status of an install becomes completed if this plan completes its last milestone.

    The last milestone is the one with the highest sequence; with ``completed_needs: all`` it is any milestone
    after whose completion no other is open. Nothing is decided if the plan already decides about the status,
    if its direction (or ``create_only``) does not allow a write to Enerflo, or if the install is voided on
    either side. The next plan brings the new status to the CRM, as it does with every change at Enerflo.

    A completion that a plan of the last week did not make, although it wrote the milestone, is decided again.

    The change belongs to the mapped table of installs that has the install's row, or to the first such table
    if none has. So one request completes an install that is in two tables.
    """
    completed = _columns(comparisons, RecordKind.MILESTONES, "completed_at")
    statuses = _columns(comparisons, RecordKind.INSTALLS, "status_name")
    installs = [comparison for comparison in comparisons if _sets_status(comparison)]
    if not completed:
        return
    needs, wanted = config.statuses.completed_needs, config.statuses.completed
    common = {
        "completed": _listed(completed),
        "statuses": _listed(statuses),
        "of_one_table": _listed(
            (name, one.name) for one in comparisons for name in (one.name, *one.siblings)
        ),
        "rule": LAST_MILESTONE,
        "needs": _NEEDS[needs],
        "needed": "all" if needs is CompletedNeeds.ALL else "1",
        "days": APPOINTMENT_DAYS,
        "voided": voided("e", "status"),
    }
    values = {
        **values,
        "completed_id": wanted if isinstance(wanted, int) else None,
        "completed_name": wanted.strip().lower() if isinstance(wanted, str) else None,
    }

    def decide(statement: Template, comparison: Comparison, here: str = "true") -> None:
        of_table = _of_table(comparison)
        connection.exec_driver_sql(statement.substitute(common, **of_table, here=here), values)

    for comparison in installs if len(installs) > 1 else ():
        decide(_COMPLETED, comparison, _is_here(comparison))
    for comparison in installs[:1]:
        decide(_COMPLETED, comparison)
    for comparison in installs:
        decide(_LATE, comparison)


def leave_open(
    connection: sa.Connection, comparisons: Sequence[Comparison], config: SyncConfig, account: str
) -> None:
    """Leave installs as they are whose last milestone, or one of all that are needed, a person refused."""
    completed = _columns(comparisons, RecordKind.MILESTONES, "completed_at")
    if completed:
        needs_all = config.statuses.completed_needs is CompletedNeeds.ALL
        statement = _LEFT_OPEN.substitute(
            rule=LAST_MILESTONE, completed=_listed(completed), needed="true" if needs_all else _FINAL
        )
        connection.exec_driver_sql(statement, {"account": account})


def _of_table(comparison: Comparison) -> dict[str, str]:
    """Return the SQL parts about a mapped table of installs and its row of the install ``e``."""
    (join,) = comparison.joins
    return {
        "key": _key(comparison, join),
        "installs": comparison.mirror_rows,
        "table": literal(comparison.name),
        "status": literal(_column(comparison, "status_name") or ""),
        # Nothing is sent for an install whose CRM row the table's ``where`` excludes.
        "outside": _stands_outside(comparison, join),
    }


def _stands_outside(comparison: Comparison, join: JoinColumn) -> str:
    if comparison.mapping.condition is None:
        return "false"
    same = f"{join.crm} = ({join.mirror})::{join.type}"
    return f"exists (select from {comparison.rows_outside} t where {same})"


def _key(installs: Comparison, join: JoinColumn) -> str:
    """Return the key of the install ``e``, in the spelling of its CRM row if there are several spellings."""
    value = f"({join.mirror})::{join.type}"
    made = jsonb_object([(join.crm_name, join.as_stored(value))])
    if not join.varies:
        return made
    key = installs.crm_key([f"t.{quoted(join.crm_name)}"])
    row = f"select {key} from {installs.crm_rows} t where {join.crm} = {value} limit 1"  # noqa: S608 - names
    return f"coalesce(({row}), {made})"


def _sets_status(comparison: Comparison) -> bool:
    """Return whether a table is one of installs, maps their status, and may send it."""
    return comparison.is_installs and _column(comparison, "status_name") is not None and _may_set(comparison)


def _may_set(comparison: Comparison) -> bool:
    """Return whether a table may send the status of installs: as it is mapped, and if ids are its key."""
    mapping = comparison.mapping
    field = mapping.fields[_column(comparison, "status_name") or ""]
    allowed = field.direction in {Direction.BOTH, Direction.TO_ENERFLO} and not mapping.create_only
    return allowed and mapping.joined_by_key and len(comparison.joins) == 1


def _is_here(comparison: Comparison) -> str:
    """Return the condition that the CRM's table has a row of the install ``e``."""
    same = " and ".join(
        f"({join.crm})::{join.type} = ({join.mirror})::{join.type}" for join in comparison.joins
    )
    return f"exists (select from {comparison.crm_rows} t where {same})"


def _columns(comparisons: Sequence[Comparison], kind: str, mirror: str) -> list[tuple[str, str]]:
    """Return each table of a kind with the CRM column mapped to a mirror column; a wide table has several."""
    found = []
    for comparison in comparisons:
        columns = [name for name, field in comparison.mapping.fields.items() if field.enerflo == mirror]
        if comparison.kind == kind:
            found += [(comparison.name, name) for name in (columns if comparison.is_wide else columns[:1])]
    return found


def _listed(columns: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"({literal(table)}, {literal(column)})" for table, column in columns)


def _column(comparison: Comparison, mirror: str) -> str | None:
    return next((name for name, field in comparison.mapping.fields.items() if field.enerflo == mirror), None)
