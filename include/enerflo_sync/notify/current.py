"""The facts that can be reported now: one query per event, all with the same columns.

Columns: ``cause`` (heading that groups facts), ``key`` (identity of a fact, reported once), ``size``
(severity), ``at``, and ``line``: a list of ``[label, value, class of personal data or null]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.notify.late import (
    COPY_OF,
    UnreadDrop,
    first_webhook,
    handed_over,
    late_copies,
    late_reconciliation,
    stale_lists,
)
from enerflo_sync.notify.verdict import open_verdicts

CURRENT = "pg_temp.current"

# A deal with a signed version can only be signed again after a void (REFERENCE.md §10). Both events contain
# the same version, so it is reported once.
_PROJECTS = Template("""
select distinct on (key)
  '' as cause, coalesce(s.content_hash, e.event_id) as key, 1 as size, e.received_at as at,
  jsonb_build_array(
    jsonb_build_array('install', coalesce(s.install_id, e.install_id), null),
    jsonb_build_array('customer', i.customer_name, 'name'),
    jsonb_build_array('office', i.office_name, null),
    jsonb_build_array('panels', s.panel_count, null),
    jsonb_build_array('panel type', s.panel_type, null),
    jsonb_build_array('battery', s.battery_configuration, null),
    jsonb_build_array('panels before', s.panels_before, null),
    jsonb_build_array('gross cost', s.gross_cost, null),
    jsonb_build_array('street', s.street, 'address'),
    jsonb_build_array('city', s.city, 'address')) as line
from sync.webhook_events e
left join lateral (
  select s.*, count(*) over () as versions, lead(s.panel_count) over newest as panels_before
  from enerflo.submissions s
  where s.account = e.account and s.deal_id = e.deal_id and s.first_seen_at <= e.received_at
  window newest as (order by s.first_seen_at desc, s.content_hash)
  order by s.first_seen_at desc, s.content_hash limit 1
) s on true
left join enerflo.installs i on i.account = e.account and i.install_id = coalesce(s.install_id, e.install_id)
where e.account = :account and e.received_at > :since and e.event in ($events) and e.state = 'applied'
  and coalesce(s.versions, 1) $versions
order by key, at
""")

_SIGNED = """
select '' as cause, f.change_order_id || ' ' || f.signed_at as key, 1 as size, f.signed_at as at,
  jsonb_build_array(
    jsonb_build_array('change order', f.change_order_id, null),
    jsonb_build_array('install', f.install_id, null),
    jsonb_build_array('customer', i.customer_name, 'name'),
    jsonb_build_array('panel type', o.panel_type_new, null),
    jsonb_build_array('panels', o.panel_count_new, null),
    jsonb_build_array('battery', o.battery_new, null),
    jsonb_build_array('adders', nullif(f.adder_count, 0), null),
    jsonb_build_array('total change', o.total_change, null)) as line
from enerflo.change_orders o
join sync.change_order_facts f using (account, change_order_id)
left join enerflo.installs i on i.account = o.account and i.install_id = o.install_id
where o.account = :account and o.observed_at > :since and o.deleted_at is null
  and f.status_kind in ('signed', 'override') and f.signed_at > :old
  and (o.observed_by <> 'backfill' or :historical)
"""

_HELD = """
select r.reason || ' (' || r.check_id || ')' as cause, f.item_id as key, 1 as size, f.checked_at as at,
  jsonb_build_array(
    jsonb_build_array('change order', f.change_order_id, null),
    jsonb_build_array('install', f.install_id, null),
    jsonb_build_array('found', r.found, null),
    jsonb_build_array('expected', r.expected, null)) as line
from sync.change_order_facts f
join sync.quarantine q on q.account = f.account and q.item_id = f.item_id and q.state = 'open'
cross join lateral (
  select r.check_id, r.reason, r.found, r.expected from sync.quality_results r
  where r.account = f.account and r.run_id = f.run_id and r.change_order_id = f.change_order_id
    and not r.passed and r.severity = 'hold'
  order by array_position(f.failing, r.check_id) limit 1
) r
where f.account = :account and f.failing <> '{}'
"""

_LIFE_CYCLE = """
select f.reason || ' (' || f.check_id || ')' as cause, f.finding_id::text as key, 1 as size, f.since as at,
  jsonb_build_array(
    jsonb_build_array('install', f.install_id, null),
    jsonb_build_array('step', f.step, null),
    jsonb_build_array('found', f.found, null),
    jsonb_build_array('expected', f.expected, null)) as line
from sync.life_cycle_findings f
where f.account = :account and f.resolved_at is null
"""

_UNEXPLAINED = """
select '' as cause, d.table_name || coalesce('.' || d.field, '') as key, count(*) as size,
  max(r.started_at) as at,
  jsonb_build_array(
    jsonb_build_array('', d.table_name || coalesce('.' || d.field, ''), null),
    jsonb_build_array('unexplained', count(*), null)) as line
from (
  select * from sync.reconciliations where account = :account and finished_at is not null
  order by started_at desc limit 1
) r
join sync.differences d using (account, reconciliation_id)
where r.unexplained > :budget and d.cause = 'unexplained'
group by d.table_name, d.field
"""

_VERDICT = """
select '' as cause, v.name as key, 1 as size, v.at,
  jsonb_build_array(jsonb_build_array('', v.headline, null)) as line
from jsonb_to_recordset(cast(:verdicts as jsonb)) v(name text, headline text, at timestamptz)
"""

_PLANS = """
select '' as cause, plan_hash as key, change_count as size, created_at as at,
  jsonb_build_array(
    jsonb_build_array('plan', left(plan_hash, 12), null),
    jsonb_build_array('changes', change_count, null),
    jsonb_build_array('open until', to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)
  ) as line
from sync.plans
where account = :account and state = 'open' and needs_approval and mode <> 'report' and expires_at > :now
"""

_QUARANTINE = """
select '' as cause, fingerprint as key, count(*) as size, max(last_seen_at) as at,
  jsonb_build_array(
    jsonb_build_array('', min(kind), null),
    jsonb_build_array('reason', min(reason), null),
    jsonb_build_array('fingerprint', left(fingerprint, 40), null),
    jsonb_build_array('items', count(*), null)) as line
from sync.quarantine
where account = :account and state = 'open' and kind <> 'change_order'
group by fingerprint having count(*) >= :quarantine
"""

_THROTTLED = """
select '' as cause, endpoint as key, sum(throttled) as size, max(hour) as at,
  jsonb_build_array(
    jsonb_build_array('', endpoint, null),
    jsonb_build_array('refused', sum(throttled), null),
    jsonb_build_array('of requests', sum(calls), null)) as line
from sync.api_calls where account = :account and hour > :now - interval '2 hours'
group by endpoint having sum(throttled) >= :throttled
"""

# An alert that was told ends when webhooks arrive, and not because `silent_hours` was raised. So its size is
# the hours that applied when it was told; earlier versions stored 1.
_SILENT = """
select '' as cause, 'webhooks' as key, :silent_hours as size, max(received_at) as at,
  jsonb_build_array(jsonb_build_array(
    'the last one arrived', to_char(max(received_at) at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)
  ) as line
from sync.webhook_events where account = :account and :has_drop
having max(received_at) < greatest(:now - make_interval(hours => :silent_hours), (
  select told_at - make_interval(hours => case when size = 1 then :silent_hours else size::integer end)
  from sync.told where account = :account and event = 'webhooks_silent'))
union all
select '', 'webhooks', :silent_hours, s.at,
  jsonb_build_array(
    jsonb_build_array(
      case when s.not_looked then 'no run ever looked into the drop, and its first file is of'
        else 'none ever arrived since' end,
      to_char(s.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null),
    jsonb_build_array('changes that polls found', s.changes, null),
    jsonb_build_array('files of the drop in quarantine', s.files, null),
    jsonb_build_array('files that wait in the drop', s.unread, null))
from jsonb_to_recordset(cast(:first_webhook as jsonb))
  s(at timestamptz, changes bigint, files bigint, unread bigint, not_looked boolean)
"""

_STALE = """
select '' as cause, s.name as key, 1 as size, s.at,
  jsonb_build_array(
    jsonb_build_array('', s.name, null),
    jsonb_build_array(
      case when s.was_read then 'read whole last at' when s.is_new then 'in no poll yet, as of that of'
        else 'never read whole, polled since' end,
      to_char(s.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)
  ) as line
from jsonb_to_recordset(cast(:stale as jsonb)) s(name text, at timestamptz, was_read boolean, is_new boolean)
"""

_LATE_RECONCILIATION = """
select '' as cause, s.name as key, 1 as size, s.at,
  jsonb_build_array(jsonb_build_array(
    'the newest began', to_char(s.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)) as line
from jsonb_to_recordset(cast(:late_reconciliation as jsonb)) s(name text, at timestamptz)
"""

# A key that waits for seconds is no news: it does so in every busy minute.
_BLOCKED = """
select '' as cause, b.key_fingerprint as key, 1 as size, coalesce(b.updated_at, :now) as at,
  jsonb_build_array(
    jsonb_build_array('API key', left(b.key_fingerprint, 12), null),
    jsonb_build_array('waits until', to_char(b.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null),
    jsonb_build_array('requests allowed a minute', b.limit_per_window, null)) as line
from (
  select b.*, greatest(b.blocked_until, case when b.remaining <= 0 then b.reset_at end) as until
  from sync.request_budgets b where b.account = :account
) b
where b.until > :now + make_interval(secs => :blocked_seconds) or (b.until > :now and exists (
  select from sync.told where account = :account and event = 'budget_exhausted' and key = b.key_fingerprint))
"""

_EXPIRING = """
select '' as cause, plan_hash as key, change_count as size, created_at as at,
  jsonb_build_array(
    jsonb_build_array('plan', left(plan_hash, 12), null),
    jsonb_build_array('changes', change_count, null),
    jsonb_build_array('open until', to_char(expires_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)
  ) as line
from sync.plans
where account = :account and state = 'open' and needs_approval and mode <> 'report' and expires_at > :now
  and (expires_at <= :now + make_interval(secs => :expiring_seconds) or exists (
    select from sync.told t
    where t.account = :account and t.event = 'approval_expiring' and t.key = plan_hash))
"""

_LATE = """
select 'changes that the copy does not show' as cause, t.table_name as key, c.n as size, c.since as at,
  jsonb_build_array(
    jsonb_build_array('', t.table_name, null),
    jsonb_build_array('late', c.n, null),
    jsonb_build_array('of them not acknowledged', nullif(c.not_taken, 0), null),
    jsonb_build_array('since', to_char(c.since at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null)
  ) as line
from jsonb_to_recordset(cast(:handed_to as jsonb)) t(table_name text, late_hours float)
cross join lateral (
  select count(*) as n, count(*) filter (where acknowledged_at is null) as not_taken,
    min(coalesce(acknowledged_at, made_at)) as since
  from sync.crm_changes
  where account = :account and table_name = t.table_name and ended_at is null and state = 'open'
    and coalesce(acknowledged_at, made_at) <= :now - make_interval(secs => t.late_hours * 3600)) c
where c.n > 0
union all
select 'copies that are old', :copy_of || s.name, 1, s.at,
  jsonb_build_array(
    jsonb_build_array('', s.name, null),
    jsonb_build_array('as of', to_char(s.at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), null))
from jsonb_to_recordset(cast(:late_copies as jsonb)) s(name text, at timestamptz)
"""

_SUBMITTED, _RECEIVED = "'deal.projectSubmitted'", "'deal.projectReceived'"

_QUERIES: Mapping[NotifyEvent, str] = {
    NotifyEvent.PROJECT_SUBMITTED: _PROJECTS.substitute(events=_SUBMITTED, versions="< 2"),
    NotifyEvent.PROJECT_RECEIVED: _PROJECTS.substitute(events=_RECEIVED, versions="< 2"),
    NotifyEvent.PROJECT_RESUBMITTED: _PROJECTS.substitute(
        events=f"{_SUBMITTED}, {_RECEIVED}", versions=">= 2"
    ),
    NotifyEvent.CHANGE_ORDER_SIGNED: _SIGNED,
    NotifyEvent.CHANGE_ORDER_HELD: _HELD,
    NotifyEvent.LIFE_CYCLE: _LIFE_CYCLE,
    NotifyEvent.UNEXPLAINED_DIFFERENCES: _UNEXPLAINED,
    NotifyEvent.NO_ALL_CLEAR: _VERDICT,
    NotifyEvent.PLAN_WAITING: _PLANS,
    NotifyEvent.QUARANTINE_GROWING: _QUARANTINE,
    NotifyEvent.ACCOUNT_THROTTLED: _THROTTLED,
    NotifyEvent.MIRROR_STALE: _STALE,
    NotifyEvent.RECONCILE_LATE: _LATE_RECONCILIATION,
    NotifyEvent.WEBHOOKS_SILENT: _SILENT,
    NotifyEvent.BUDGET_EXHAUSTED: _BLOCKED,
    NotifyEvent.APPROVAL_EXPIRING: _EXPIRING,
    NotifyEvent.CRM_COPY_LATE: _LATE,
}


def make_current(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    events: Iterable[NotifyEvent],
    *,
    first_look: datetime,
    now: datetime,
    unread: UnreadDrop | None = None,
) -> None:
    """Fill the temporary table ``current`` in the caller's transaction.

    :param first_look: facts from before this moment are not reported.
    :param unread: the drop, if no run ever looked into it.
    """
    options = config.notify
    wanted = list(events)
    old = now - timedelta(days=options.news_days)
    values: dict[str, Any] = {
        "account": account,
        "now": now,
        "old": old,
        "since": max(first_look, old),
        "historical": options.historical,
        "budget": config.reconcile.unexplained_budget,
        "quarantine": options.quarantine,
        "throttled": options.throttled,
        "silent_hours": options.silent_hours,
        "blocked_seconds": options.blocked_minutes * 60,
        "expiring_seconds": options.expiring_hours * 3600,
        "has_drop": config.account(account).has_drop,
        "first_webhook": "[]",
        "stale": "[]",
        "late_copies": "[]",
        "late_reconciliation": "[]",
        "verdicts": "[]",
        "copy_of": COPY_OF,
        "handed_to": json.dumps(handed_over(config, account)),
    }
    if NotifyEvent.WEBHOOKS_SILENT in wanted:
        values["first_webhook"] = json.dumps(first_webhook(connection, config, account, now, unread))
    if NotifyEvent.MIRROR_STALE in wanted:
        values["stale"] = json.dumps(stale_lists(connection, config, account, now))
    if NotifyEvent.RECONCILE_LATE in wanted:
        values["late_reconciliation"] = json.dumps(late_reconciliation(connection, config, account, now))
    if NotifyEvent.CRM_COPY_LATE in wanted:
        values["late_copies"] = json.dumps(late_copies(connection, config, account, now))
    if NotifyEvent.NO_ALL_CLEAR in wanted:
        values["verdicts"] = json.dumps(open_verdicts(connection, config, account))
    found = " union all ".join(
        f"select {literal(str(event))} as event, q.* from ({_QUERIES[event]}) q"  # noqa: S608 - constants
        for event in wanted
    )
    statement = sa.text(
        "/* enerflo-sync notify: what can be told */"
        f" create temporary table current on commit drop as {found}"
    )
    connection.execute(statement, values)
    connection.exec_driver_sql(f"analyze {CURRENT}")
