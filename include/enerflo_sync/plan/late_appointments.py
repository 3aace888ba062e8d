"""Appointments that are still missing although an older plan delivered their lead.

A lead and its appointment are created by one plan. After the lead is linked, it is not a creation any more.
So without this module an appointment that failed would not be in any later plan.
"""

from __future__ import annotations

from datetime import timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.written import alone_of_key, of_key
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.retention import APPOINTMENT_DAYS
from enerflo_sync.outbox.links import link_columns
from enerflo_sync.plan.creations import due
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.near_keys import normal_key

KEY_AT_ENERFLO = "integration_record_id"
# After this time a missing appointment is not planned any more; a person has to handle it.
_FOR = timedelta(days=APPOINTMENT_DAYS)

_LATE = Template("""
/* enerflo-sync plan leads: appointments that an older plan did not make */
insert into pg_temp.decided (outcome, table_name, key, op, field, after, source_value, policy, cause, rule,
  changed_at, observed_at)
select 'to_enerflo', $table, c.key, 'insert', $start, to_jsonb(t.$column), to_jsonb(t.$column), 'sent_along',
       c.cause, 'create', c.changed_at, now()
from (
  select distinct on (c.key) c.* from sync.plan_changes c join sync.plans p using (account, plan_hash)
  where c.account = %(account)s and c.table_name = $table and c.op = 'insert'
    and c.direction = 'to_enerflo' and c.field = $start and p.created_at > now() - %(late)s
  order by c.key, p.created_at desc
) c
join $crm t on $of_key
where c.state not in ('applied', 'refused') and t.$column is not null and $linked and ($due) $alone
  and not $of_another_lead
  and exists (
    select from sync.plan_changes l
    where l.account = c.account and l.plan_hash = c.plan_hash and l.table_name = c.table_name
      and l.key = c.key and l.op = 'insert' and l.field <> c.field
      and (l.state = 'applied' or l.sent_at is not null))
  and not exists (select from pg_temp.decided d where d.table_name = $table and d.key = c.key
    and d.op = 'insert')
""")


def plan_late_appointments(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, account: str
) -> None:
    """Decide that missing appointments are created if their lead is already at Enerflo."""
    appointment = config.writes.appointment
    if (
        comparison.kind != RecordKind.LEADS
        or appointment is None
        or appointment.start not in comparison.live.columns
    ):
        return
    names = link_columns(comparison)
    links = [f"{join.crm} is not null" for join in comparison.joins if join.crm_name in names]
    if not links:
        return
    statement = _LATE.substitute(
        table=literal(comparison.name),
        start=literal(appointment.start),
        column=quoted(appointment.start),
        crm=comparison.crm_rows,
        of_key=of_key(comparison, "c.key"),
        linked=" and ".join(links),
        due=due(comparison),
        alone=alone_of_key(comparison),
        of_another_lead=_of_another_lead(comparison),
    )
    values: dict[str, Any] = {"account": account, "late": _FOR}
    connection.exec_driver_sql(statement, values)


def _of_another_lead(comparison: Comparison) -> str:
    """Return the condition that the customer of a CRM row ``t`` was delivered under another key.

    An import may have given the key of the lead whose appointment is missing to another lead.
    """
    adopted = [name for name, mirror in comparison.mapping.adopt_columns.items() if mirror == KEY_AT_ENERFLO]
    columns = adopted or comparison.mapping.key_columns
    if len(columns) > 1:
        return "false"
    same = " and ".join(
        f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
    )
    return (
        f"exists (select from {comparison.mirror} e where e.account = %(account)s and {same}"
        f" and {normal_key(f'e.{KEY_AT_ENERFLO}')} <> {normal_key(f't.{quoted(columns[0])}::text')})"
    )
