"""Find violations in the histories of ``life_now`` by SQL, and store findings with their outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.quality.life_cycle.graph import CheckId, LifeCycle
from enerflo_sync.quality.life_cycle.ways import bit


@dataclass(frozen=True)
class Changes:
    """Numbers of new and of resolved findings."""

    found: int
    resolved: int


_FORM = 'YYYY-MM-DD HH24:MI "UTC"'

# The nearest steps before a completed step, on each way through the graph. Steps that the install does not
# have are skipped, as are optional steps that were never completed. A step that may be reopened counts from
# its first completion. ``at`` is null if it was never completed.
_BEFORE = """
/* enerflo-sync life-cycle: completed steps whose earlier step is later, or not completed */
create temporary table life_before on commit drop as
select distinct n.install_id, w.step, w.words, n.completed[w.step] as completed_at, x.at
from pg_temp.life_now n
join pg_temp.life_ways w on n.present & ~n.open & w.bit <> 0 and n.present & w.before_bit <> 0
  and (n.present & ~(n.never & %(may_skip)s)) & w.via = 0
cross join lateral (
  select case when n.never & w.before_bit <> 0 then null when w.may_reopen then n.first[w.before]
    else n.completed[w.before] end as at offset 0
) x
where n.state = 'judged' and case when x.at is null then not w.may_skip
  else x.at < 'infinity' and n.completed[w.step] < x.at - %(tolerance)s end
"""

_OUT_OF_ORDER = """
  select install_id, step,
    string_agg('not before ' || words || ', ' || to_char(at, %(form)s), ' and ' order by words),
    'completed ' || to_char(completed_at, %(form)s)
  from pg_temp.life_before where at is not null group by install_id, step, completed_at
"""

_SKIPPED = """
  select install_id, step, string_agg(words, ' and ' order by words) || ' completed first',
    'completed ' || to_char(completed_at, %(form)s)
  from pg_temp.life_before where at is null group by install_id, step, completed_at
"""

_REOPENED = """
  select n.install_id, s.step, 'completed, as on ' || to_char(r.at, %(form)s), 'open'
  from (select * from pg_temp.life_now where state = 'judged' and reopened <> 0 offset 0) n
  join pg_temp.life_steps s on n.reopened & s.bit <> 0 and not s.may_reopen
  cross join lateral (
    select max(r.at) as at from unnest(n.completed_ids, n.completed_ats) r (id, at)
    join enerflo.milestones m on m.account = %(account)s and m.install_id = n.install_id
      and m.milestone_id = r.id
    where m.deleted_at is null and m.completed_at is null and m.title = any(s.titles)
  ) r
"""

_BEFORE_START = """
  select n.install_id, s.step, 'not before the start, ' || to_char(n.started[s.step], %(form)s),
    'completed ' || to_char(n.completed[s.step], %(form)s)
  from pg_temp.life_now n
  join pg_temp.life_steps s on n.present & s.bit <> 0 and n.open & s.bit = 0
  where n.state = 'judged' and n.completed[s.step] < n.started[s.step] - %(tolerance)s
"""

_OVERDUE = """
  select install_id, step, 'completed within ' || allowed || ', by ' || to_char(due_at, %(form)s),
    'open since ' || to_char(begun, %(form)s)
  from pg_temp.life_dwell where open and due_at <= %(now)s
"""

_LATE = """
  select install_id, step, 'completed within ' || allowed || ', by ' || to_char(due_at, %(form)s),
    'completed ' || to_char(completed_at, %(form)s)
  from pg_temp.life_dwell where not open
"""

_KINDS: Mapping[CheckId, str] = {
    CheckId.OUT_OF_ORDER: _OUT_OF_ORDER,
    CheckId.SKIPPED: _SKIPPED,
    CheckId.REOPENED: _REOPENED,
    CheckId.BEFORE_START: _BEFORE_START,
    CheckId.OVERDUE: _OVERDUE,
    CheckId.LATE: _LATE,
}

_FOUND = """
create temporary table life_found (install_id bigint, step text, check_id text, milestone_id bigint,
  severity text, reason text, expected jsonb, found jsonb) on commit drop
"""

# If several milestones mean the step, name the open one, otherwise the last completed one.
_FIND = Template("""
/* enerflo-sync life-cycle: $check */
insert into life_found
select f.install_id, s.name, '$check', m.milestone_id, %(severity)s, %(reason)s, to_jsonb(f.expected),
  to_jsonb(f.found)
from ($found) f (install_id, step, expected, found)
join pg_temp.life_steps s on s.step = f.step
cross join lateral (
  select m.milestone_id from enerflo.milestones m
  where m.account = %(account)s and m.install_id = f.install_id and m.deleted_at is null
    and m.title = any(s.titles)
  order by m.completed_at desc nulls first, m.milestone_id limit 1
) m
""")

_RESOLVE = """
/* enerflo-sync life-cycle: findings that are gone */
update sync.life_cycle_findings f set resolved_at = %(now)s, checked_at = %(now)s
from pg_temp.life_now n
where f.account = %(account)s and f.install_id = n.install_id and f.resolved_at is null and not exists (
  select from pg_temp.life_found g
  where g.install_id = f.install_id and g.step = f.step and g.check_id = f.check_id)
"""

# The newest finding gets the highest id; within one run, the order of life_cycle.yaml decides.
_KEEP = """
/* enerflo-sync life-cycle: new and persisting findings */
insert into sync.life_cycle_findings as f (account, install_id, step, milestone_id, check_id, severity,
  expected, found, reason, since, checked_at, run_id)
select %(account)s, install_id, step, milestone_id, check_id, severity, expected, found, reason, %(now)s,
  %(now)s, %(run_id)s
from pg_temp.life_found
order by array_position(%(checks)s::text[], check_id) desc, install_id, step
on conflict (account, install_id, step, check_id) where resolved_at is null do update set
  milestone_id = excluded.milestone_id, severity = excluded.severity, expected = excluded.expected,
  found = excluded.found, reason = excluded.reason, checked_at = excluded.checked_at
"""

_LAST = "select coalesce(max(finding_id), 0) from sync.life_cycle_findings where account = %(account)s"

_COUNT = """
select count(*) from sync.life_cycle_findings
where account = %(account)s and resolved_at is null and finding_id > %(last)s
"""


def keep_findings(
    connection: sa.Connection, life_cycle: LifeCycle, account: str, run_id: str, now: datetime
) -> Changes:
    """Find violations in ``life_now``, and store them, in the caller's transaction."""
    steps = enumerate(life_cycle.steps.values(), 1)
    values: dict[str, Any] = {
        "account": account,
        "run_id": run_id,
        "now": now,
        "form": _FORM,
        "checks": [str(check) for check in life_cycle.checks],
        "tolerance": timedelta(hours=life_cycle.tolerance_hours),
        "may_skip": sum(bit(at) for at, step in steps if step.may_skip),
    }
    connection.exec_driver_sql(_BEFORE, values)
    connection.exec_driver_sql(_FOUND)
    for check, options in life_cycle.checks.items():
        told = {"severity": str(options.severity), "reason": options.reason}
        statement = _FIND.substitute(check=check, found=_KINDS[check])
        connection.exec_driver_sql(statement, values | told)
    connection.exec_driver_sql("analyze pg_temp.life_found")
    resolved = connection.exec_driver_sql(_RESOLVE, values).rowcount
    values["last"] = connection.exec_driver_sql(_LAST, values).scalar_one()
    connection.exec_driver_sql(_KEEP, values)
    return Changes(connection.exec_driver_sql(_COUNT, values).scalar_one(), resolved)
