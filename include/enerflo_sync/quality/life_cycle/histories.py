"""Histories of possibly changed installs, one row each, with the steps as bits and as array positions.

Two temporary tables: ``life_now`` has a row per install to judge, and ``life_dwell`` a row for each of their
steps that is in progress or took too long. ``life_steps`` and ``life_ways`` contain the declared graph.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.config import StatusNames
from enerflo_sync.quality.life_cycle.graph import LifeCycle
from enerflo_sync.quality.life_cycle.ways import bit, ways
from enerflo_sync.quality.texts import folded_sql
from enerflo_sync.reconcile.conditions import kind_parameters, status_among

_ALL = """
/* enerflo-sync life-cycle: all installs */
create temporary table life_to_judge on commit drop as
select install_id, true as anyway from enerflo.installs where account = %(account)s and deleted_at is null
union
select install_id, true from sync.life_cycle_installs where account = %(account)s
"""

# A tombstone does not change observed_at.
_MOVED = """
/* enerflo-sync life-cycle: installs that changed or passed a time limit */
create temporary table life_to_judge on commit drop as
select install_id, bool_or(due) as anyway from (
  select install_id, false as due from enerflo.milestones
  where account = %(account)s and observed_at > %(since)s
  union all
  select install_id, false from enerflo.milestones where account = %(account)s and deleted_at > %(since)s
  union all
  select install_id, false from enerflo.installs where account = %(account)s and observed_at > %(since)s
  union all
  select install_id, false from enerflo.installs where account = %(account)s and deleted_at > %(since)s
  union all
  select install_id, true from sync.life_cycle_installs
  where account = %(account)s and next_due_at <= %(now)s
) k group by 1
"""

# titles: as in the milestones.
_STEPS = """
create temporary table life_steps on commit drop as
select s.*, array(select k.title from pg_temp.life_titles k where k.step = s.step) as titles
from jsonb_to_recordset(cast(%(steps)s as jsonb)) as s (step integer, bit bigint, name text, words text,
  after bigint, done_by bigint, may_skip boolean, may_reopen boolean, days float, allowed text)
"""

_WAYS = """
create temporary table life_ways on commit drop as
select w.step, w.before, w.via, s.bit, b.bit as before_bit, b.words, b.may_skip, b.may_reopen
from jsonb_to_recordset(cast(%(ways)s as jsonb)) as w (step integer, before integer, via bigint)
join pg_temp.life_steps s on s.step = w.step join pg_temp.life_steps b on b.step = w.before
"""

# There are few titles but many milestones, so each title is folded once and looked up in an array, which is
# faster than any join.
_TITLES = Template("""
/* enerflo-sync life-cycle: which step each title means */
create temporary table life_titles on commit drop as
select m.title, k.step from (
  select distinct m.title from enerflo.milestones m $among
  where m.account = %(account)s and m.deleted_at is null
) m join (
  select distinct on (1) $known as title, step
  from jsonb_to_recordset(cast(%(titles)s as jsonb)) as k (title text, step integer) order by 1, step
) k on k.title = $seen
""")

_AMONG = "join pg_temp.life_to_judge t on t.install_id = m.install_id"

_TITLES_FOUND = """
select coalesce(array_agg(title), '{}') as titles, coalesce(array_agg(step), '{}') as steps
from pg_temp.life_titles
"""

# completed: per position, null if the install has no such step, infinity if it is open. A step that was ever
# seen completed is not in ``never``; ``first`` is its first completion.
_NOW = Template("""
/* enerflo-sync life-cycle: histories that are new or passed a time limit */
create temporary table life_now on commit drop as
select t.install_id, a.completed, a.first, a.started, a.present, a.open, a.never, a.reopened,
  a.completed_ids, a.completed_ats, a.unknown_ids, a.digest # f.of_status as digest,
  case when f.gone then 'gone' when f.voided then 'voided' when a.present = 0 then 'not_covered'
    else 'judged' end as state,
  not (f.gone or f.voided or $completed or $paused) as runs
from pg_temp.life_to_judge t
left join (
  select m.install_id, array[$completed_at]::timestamptz[] as completed,
    array[$first_at]::timestamptz[] as first,
    array[$started_at]::timestamptz[] as started,
    coalesce(bit_or(x.bit), 0) as present,
    coalesce(bit_or(x.bit) filter (where m.completed_at is null), 0) as open,
    coalesce(bit_or(x.bit) filter (where x.first_at is null), 0) as never,
    coalesce(bit_or(x.bit) filter (where m.completed_at is null and x.first_at is not null), 0) as reopened,
    coalesce(array_agg(m.milestone_id) filter (where x.first_at is not null), '{}') as completed_ids,
    coalesce(array_agg(x.first_at) filter (where x.first_at is not null), '{}') as completed_ats,
    coalesce(array_agg(m.milestone_id) filter (where k.step is null), '{}') as unknown_ids,
    bit_xor(hash_record_extended(row(m.milestone_id, m.title, m.started_at, m.completed_at), 0)) as digest
  from pg_temp.life_to_judge t
  join enerflo.milestones m on m.account = %(account)s and m.install_id = t.install_id
  left join sync.life_cycle_installs p on p.account = %(account)s and p.install_id = m.install_id
  cross join lateral (
    select (%(found_steps)s::integer[])[array_position(%(found_titles)s::text[], m.title)] as step offset 0
  ) k
  cross join lateral (
    select 1::bigint << (k.step - 1) as bit,
      least(m.completed_at, p.completed_ats[array_position(p.completed_ids, m.milestone_id)]) as first_at
  ) x
  where m.deleted_at is null
  group by m.install_id
) a on a.install_id = t.install_id
left join enerflo.installs i
  on i.account = %(account)s and i.install_id = t.install_id and i.deleted_at is null
left join sync.life_cycle_installs p on p.account = %(account)s and p.install_id = t.install_id
cross join lateral (
  select a.install_id is null or i.install_id is null as gone, $voided as voided,
    hash_record_extended(row(i.status_id, i.status_name), 0) as of_status
) f
where (t.anyway or p.digest is distinct from a.digest # f.of_status)
  and (p.install_id is not null or not f.gone)
""")

# A step's duration counts from its start; without one, from the completion of all steps before it. An
# optional step ends when a later step is completed.
_DWELL = """
/* enerflo-sync life-cycle: steps in progress, or longer than allowed */
create temporary table life_dwell on commit drop as
select n.install_id, s.step, s.name, s.allowed, n.open & s.bit <> 0 as open, b.begun, d.due_at,
  n.completed[s.step] as completed_at
from pg_temp.life_now n
join pg_temp.life_steps s on n.present & s.bit <> 0
cross join lateral (
  select coalesce(n.started[s.step], case when n.open & s.after = 0 then (
    select nullif(max(n.completed[w.before]), 'infinity') from pg_temp.life_ways w
    where w.step = s.step and n.present & w.via = 0) end) as begun
  offset 0
) b
cross join lateral (select b.begun + s.days * interval '1 day' as due_at) d
where n.runs and b.begun is not null and case when n.open & s.bit <> 0
  then n.present & ~n.open & s.done_by = 0 else n.completed[s.step] > d.due_at end
"""


def make_histories(
    connection: sa.Connection,
    life_cycle: LifeCycle,
    statuses: StatusNames,
    account: str,
    *,
    since: datetime | None,
    now: datetime,
) -> int:
    """Derive the possibly changed histories, in the caller's transaction; return the number to judge.

    If it is 0, the temporary tables may not exist.

    :param since: lower bound of the mirror's time for changes; None for all installs.
    """
    values = {"account": account, "since": since, "now": now, **_declared(life_cycle)}
    for kind, given in (
        ("voided", statuses.voided),
        ("completed", [statuses.completed]),
        ("paused", life_cycle.paused),
    ):
        values |= kind_parameters(kind, given)
    connection.exec_driver_sql(_ALL if since is None else _MOVED, values)
    if not _count(connection, "life_to_judge"):
        return 0
    connection.exec_driver_sql("analyze pg_temp.life_to_judge")
    titles = _TITLES.substitute(
        known=folded_sql("title"), seen=folded_sql("m.title"), among="" if since is None else _AMONG
    )
    for statement, table in ((titles, "titles"), (_STEPS, "steps"), (_WAYS, "ways")):
        connection.exec_driver_sql(statement, values)
        connection.exec_driver_sql(f"analyze pg_temp.life_{table}")
    found = connection.exec_driver_sql(_TITLES_FOUND).one()
    values |= {"found_titles": found.titles, "found_steps": found.steps}
    connection.exec_driver_sql(_histories(life_cycle), values)
    connection.exec_driver_sql(_DWELL, values)
    return _count(connection, "life_now")


def days_words(count: float) -> str:
    """Return a number of days in words."""
    return f"{count:g} day{'' if count == 1 else 's'}"


def _count(connection: sa.Connection, table: str) -> int:
    query = sa.text(f"select count(*) from pg_temp.{table}")  # noqa: S608 - a constant
    return int(connection.execute(query).scalar_one())


def _declared(life_cycle: LifeCycle) -> Mapping[str, str]:
    positions = {name: at for at, name in enumerate(life_cycle.steps, 1)}
    back = ways(life_cycle.after)
    steps = [
        {
            "step": positions[name],
            "bit": bit(positions[name]),
            "name": name,
            "words": name.replace("_", " "),
            "after": sum(bit(positions[before]) for before in set(step.after)),
            "done_by": sum({bit(way.step) for way in back if way.before == positions[name]}) * step.may_skip,
            "may_skip": step.may_skip,
            "may_reopen": step.may_reopen,
            "days": step.within_days,
            "allowed": None if step.within_days is None else days_words(step.within_days),
        }
        for name, step in life_cycle.steps.items()
    ]
    titles = [
        {"title": title, "step": positions[name]}
        for name, step in life_cycle.steps.items()
        for title in step.titles
    ]
    told = [{"step": way.step, "before": way.before, "via": way.via} for way in back]
    return {"steps": json.dumps(steps), "ways": json.dumps(told), "titles": json.dumps(titles)}


def _histories(life_cycle: LifeCycle) -> str:
    steps = list(enumerate(life_cycle.steps.values(), 1))

    def by_position(value: str) -> str:
        return ", ".join(f"{value} filter (where k.step = {at})" for at, _ in steps)

    return _NOW.substitute(
        completed_at=by_position("max(coalesce(m.completed_at, 'infinity'))"),
        first_at=", ".join(
            f"max(x.first_at) filter (where k.step = {at})" if step.may_reopen else "null"
            for at, step in steps
        ),
        started_at=by_position("min(m.started_at)"),
        voided=status_among("voided", "i", "status"),
        completed=status_among("completed", "i", "status"),
        paused=status_among("paused", "i", "status"),
    )
