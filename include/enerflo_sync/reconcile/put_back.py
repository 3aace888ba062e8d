"""Values of the CRM that a load of the table put back in place of what our plans had written.

A job may load the table again from a source that does not receive our writes. It restores the former values.
If it also gives all rows a new time, these values look like edits by people, and a plan would send them to
Enerflo over newer values.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.reconcile.agreed_pairs import same_as_agreed
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.still_asked import still_asked

# People may write fewer rows than this within one minute.
LOADED_ROWS = 10

# If the CRM's value was sent to Enerflo after our write, the value is a person's edit.
_REPLACED = Template("""exists (
      select from sync.ledger l
      where l.account = %(account)s and l.table_name in ($tables) and l.key = o.key and l.field = f.field
        and l.direction = 'to_crm' and l.op = 'update' and l.decision = 'applied' and $same
        and not exists (
          select from sync.ledger e
          where e.account = l.account and e.table_name = l.table_name and e.key = l.key and e.field = l.field
            and e.direction = 'to_enerflo' and e.decision = 'applied' and e.ledger_id > l.ledger_id))""")

# The row may have had another key when it was written: then the plan's own rows name its record. A value that
# a later plan sent to Enerflo, or wrote itself (an undo), is none that we replaced. The inner query does not
# depend on the row, so PostgreSQL runs it once, and only where a load is found. It sorts the changes of the
# records that differ, and compares none with all others, whatever PostgreSQL knows of their number: right
# after an apply it takes them for one (of 200,000 changes 10,000 in 0.2 s; over a minute if each looks for
# later ones). ``is true`` keeps the records that differ a hash, for the same reason. An array counts as few
# rows, so that each difference is looked up by a hash, too.
_REPLACED_UNDER_ANOTHER_KEY = Template("""(o.enerflo_key, f.field, coalesce(f.theirs, 'null')) in (
      select w.enerflo_key, w.field, w.before from unnest(array(
        select row(w.enerflo_key, w.field, w.value) from (
          select c.enerflo_key, c.field, s.value, p.created_at,
                 s.is_before and c.direction = 'to_crm' and c.op = 'update' as is_replaced,
                 max(p.created_at) filter (where c.direction = 'to_enerflo') over of_field as sent_at,
                 max(p.created_at) filter (where not s.is_before) over of_value as written_at
          from sync.plan_changes c join sync.plans p using (account, plan_hash)
          cross join lateral (
            values (true, coalesce(c.before, 'null')), (false, coalesce(c.after, 'null'))
          ) s (is_before, value)
          where c.account = %(account)s and c.table_name in ($tables) and c.state = 'applied'
            and (c.enerflo_key in (select unnest(array(
              select $record from $mismatched m where m.in_enerflo and m.in_crm)))) is true
          window of_field as (partition by c.table_name, c.enerflo_key, c.field),
                 of_value as (partition by c.table_name, c.enerflo_key, c.field, s.value)
        ) w
        where w.is_replaced and coalesce(w.sent_at <= w.created_at, true)
          and coalesce(w.written_at <= w.created_at, true)
      )) w (enerflo_key jsonb, field text, before jsonb))""")

# The inner query does not depend on the row, so PostgreSQL runs it once for all rows.
_LOADED = Template("""exists (with $loads
      select from loads l where l.minute = date_trunc('minute', o.changed_at))""")
_LOADS = Template("""loads as materialized (
        select date_trunc('minute', $changed) as minute from $rows t where $changed is not null$and_wanted
        group by 1 having count(*) >= $many$or_looked_up)""")
# With an index of the time, only minutes in which a mismatched row changed are looked at, if they are few: a
# look at all rows of a million would take most of the time of a comparison of those that changed.
_MINUTES = Template("""minutes as materialized (
        select distinct date_trunc('minute', m.changed_at) as minute from $mismatched m
        where m.changed_at is not null
      ), many as materialized (select count(*) > $most as yes from minutes), """)
_LOOKED_UP = Template("""
        union all
        select minute from minutes where not (select yes from many) and $many <= (
          select count(*) from (
            select from $rows t
            where $changed >= minute and $changed < minute + interval '1 minute' limit $many) x)""")
_MOST_LOOKED_UP = 10_000


def put_back(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` was replaced by our write and came back with many rows.

    A part of :mod:`enerflo_sync.reconcile.judge`. False if the time of change is only a day: it does not
    distinguish a load from the edits of that day.
    """
    updated_at = comparison.updated_at
    if updated_at is None or comparison.live.columns[updated_at].kind is Kind.DATE:
        return "false"
    replaced = _REPLACED.substitute(
        tables=comparison.names_of_table,
        same=same_as_agreed(comparison, "f.theirs", "l.old_value", in_crm=True),
    )
    under_another_key = _REPLACED_UNDER_ANOTHER_KEY.substitute(
        tables=comparison.names_of_table,
        record=comparison.record_of("m"),
        mismatched=comparison.mismatched,
    )
    loaded = _LOADED.substitute(loads=_loads(comparison, updated_at))
    either = f"coalesce({replaced} or {under_another_key}, false)"
    # Rows that are written after the load have other times, and the load is not seen any more.
    asked = still_asked(comparison, "put_back")
    return (
        f"((v.theirs or a.account is null) and (case when {loaded} then {either} else false end or {asked}))"
    )


def _loads(comparison: Comparison, updated_at: str) -> str:
    """Return the common table expression ``loads``: minutes in which many rows of the CRM's table changed."""
    named = {
        "changed": comparison.changed_at("t"),
        "rows": comparison.crm_rows,
        "many": LOADED_ROWS,
        "mismatched": comparison.mismatched,
        "most": _MOST_LOOKED_UP,
    }
    is_instant = comparison.live.columns[updated_at].kind is Kind.TIMESTAMPTZ
    if not (is_instant and updated_at in comparison.live.ordered_by):
        return _LOADS.substitute(named, and_wanted="", or_looked_up="")
    return _MINUTES.substitute(named) + _LOADS.substitute(
        named, and_wanted=" and (select yes from many)", or_looked_up=_LOOKED_UP.substitute(named)
    )
