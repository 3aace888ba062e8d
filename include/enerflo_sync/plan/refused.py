"""Refusals: changes that a person refused are kept out of every later plan.

When a refusal ends: :mod:`.ended_refusals`. A refusal is about the change, not about the rule that produced
it: any change that would write the same value to the same field of the same record is refused. Plans of
``undo`` are a person's own decision, so refusals do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.crm.mapping import Side
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.plan.ended_refusals import OF_REFUSAL, end_refusals
from enerflo_sync.plan.remade import remade_statements
from enerflo_sync.plan.same_writes import SameWrite, same_writes
from enerflo_sync.reconcile.agreed_pairs import is_alone
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.on_its_way import names_array

# The outcome in ``decided`` of a change that a person refused.
REFUSED = "refused"
_TABLES = sa.text("""
/* enerflo-sync plan: tables with something that a person refused */
select distinct table_name from sync.refusals where account = :account and ended_at is null
""")

# A record is identified by its id at Enerflo if it has one, because the key of its CRM row may have changed.
_RECORD = "coalesce({0}.enerflo_key, {0}.key)"
# A column of a wide table may name another milestone by now, after titles changed at Enerflo: what a person
# refused of the column is still refused.
_SAME_COLUMN = "{0} - 'milestone_id' = {1} - 'milestone_id'"
_WORDS = """'refused by ' || r.decided_by || ' on '
      || to_char(r.decided_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
      || coalesce(': ' || nullif(btrim(r.reason), ''), '')"""

# The changes that are due now, each with a refusal that may be of it: of the same change of the same row
# (``is_own``), or of the same write to Enerflo that another row or column asks for.
_MAKE_MET = """
/* enerflo-sync plan: changes that a person refused before */
create temporary table refused_met (
  refusal_id bigint, table_name text, record jsonb, op text, direction text, field text, words text,
  is_own boolean, alike boolean, stands boolean
) on commit drop
"""

_MET = Template("""
/* enerflo-sync plan $name: changes that a person refused before */
insert into pg_temp.refused_met
with due as (
  select table_name, $decided as record, op, outcome as direction, null::text as field, null::jsonb as before,
         jsonb_object_agg(field, after) as after, max(agreed_at) as agreed_at, null::text as agreed_row
  from pg_temp.decided d
  where table_name = $table and outcome in ('to_crm', 'to_enerflo') and op = 'insert' and field is not null
  group by 1, 2, 3, 4
  union all
  select table_name, $decided, op, outcome, field, before, after, agreed_at, agreed_row
  from pg_temp.decided d
  where table_name = $table and outcome in ('to_crm', 'to_enerflo') and op <> 'insert'
)
select m.refusal_id, $table, m.record, m.op, m.direction, m.field, m.words, m.is_own, m.alike,
       m.alike and m.in_time
from (
  select r.refusal_id, d.record, d.op, d.direction, d.field, $words as words, o.is_own, $same as alike,
         coalesce(d.agreed_at <= r.decided_at, true) or $agreed_loosely as in_time
  from sync.refusals r
  join due d on $same_record and d.op = r.op and d.direction = r.direction
  cross join lateral (
    select $of_same_row and d.field is not distinct from r.field as is_own) o
  where r.account = %(account)s and r.table_name in ($tables) and r.ended_at is null
    and (o.is_own or $of_same_write and d.record = $refused)
) m
""")

# While looser options (tolerance, precision, null) made the two refused values equal, they became the agreed
# pair: no value of the change differs for that.
_AGREED_LOOSELY = f"""exists (
           select from sync.agreed a
           cross join lateral (select coalesce(a.crm_value, a.value) as crm_value) b
           where r.op = 'update' and a.ctid = d.agreed_row::tid and a.agreed_by = 'comparison'
             and {OF_REFUSAL.format("a.value", "nullif(b.crm_value, 'null')")})"""

# Both sides may have agreed since on another row or column. That does not end a refusal whose own change is
# still due.
_STAND_TOO = """
/* enerflo-sync plan: what would write to Enerflo what is refused, and still due, of another row or column */
update pg_temp.refused_met m set stands = true
where m.alike and not m.is_own and exists (
  select from pg_temp.refused_met o where o.refusal_id = m.refusal_id and o.is_own and o.stands)
"""

# A refused change is stored like a question: Enerflo's value in ``before``, the CRM's in ``source_value``.
_KEEP_OUT = Template(f"""
/* enerflo-sync plan $name: what a person refused is no change of the plan */
update pg_temp.decided d
set outcome = '{REFUSED}', reason = m.words, refusal_id = m.refusal_id,
    before = case when d.outcome = 'to_crm' then coalesce(d.source_value, d.after) else d.before end,
    source_value = case when d.outcome = 'to_crm' then d.before
                        when d.rule = '{LAST_MILESTONE}' then d.after
                        else coalesce(d.source_value, d.after) end
from pg_temp.refused_met m
where m.stands and m.table_name = $table and d.table_name = $table and d.outcome = m.direction
  and d.op = m.op and $decided = m.record
  and (d.op = 'insert' or d.field is not distinct from m.field)
""")  # noqa: S608 - a constant

# A person refused to create the install in the CRM, so new CRM rows that belong to it are refused too.
_BELONGINGS = Template(f"""
/* enerflo-sync plan $name: new rows of an install whose creation a person refused */
update pg_temp.decided d
set outcome = '{REFUSED}', reason = 'its install was ' || i.reason, refusal_id = i.refusal_id,
    before = coalesce(d.source_value, d.after), source_value = null
from $mirror m
join (select distinct (enerflo_key ->> 'install_id')::bigint as install_id, reason, refusal_id
      from pg_temp.decided where table_name = any(%(installs)s) and op = 'insert' and outcome = '{REFUSED}') i
  on i.install_id = m.install_id
where m.account = %(account)s and $same_record
  and d.table_name = $table and d.op = 'insert' and d.outcome = 'to_crm'
""")  # noqa: S608 - a constant

# A refused new record has a row for each field; report it once, not once for each field.
_TELL_ONCE = f"""
/* enerflo-sync plan: one line for each new record that a person refused */
with first as (
  select min(ctid) as id, jsonb_object_agg(field, coalesce(before, source_value)) as whole, table_name, key
  from pg_temp.decided where outcome = '{REFUSED}' and op = 'insert' and field is not null
  group by table_name, key
), others as (
  delete from pg_temp.decided d using first f
  where d.outcome = '{REFUSED}' and d.op = 'insert' and d.table_name = f.table_name and d.key = f.key
    and d.ctid <> f.id
)
update pg_temp.decided d
set field = null, after = null, before = case when d.before is not null then f.whole end,
    source_value = case when d.before is null then f.whole end
from first f where d.ctid = f.id
"""  # noqa: S608 - a constant

# The condition that a refusal ``r`` and a due change ``d`` are the same change. An update is compared by its
# two values, a whole row by all its fields. A field that was added to the mapping or removed from it since is
# no changed value. A deleted row shows all mapped fields, but a new row only those with a value; so whether a
# missing field is a change depends on whether the mapping is still that of the refused plan. If the customer
# was forgotten since, personal values are missing in the refusal and in the due change, and are not compared.
_SAME = Template("""case when r.op = 'update' then $of_field
         else coalesce((select $of_row from (
           select case when r.op = 'insert' then r.after else r.before end as r,
                  case when r.op = 'insert' then d.after else d.before end as d,
                  r.op = 'insert' and r.table_name = $table and exists (
                    select from sync.plans q where q.account = r.account and q.plan_hash = r.plan_hash
                      and q.config_hash = %(config_hash)s)
                    and not exists (
                    select from sync.plan_changes c where c.account = r.account and c.plan_hash = r.plan_hash
                      and c.table_name = r.table_name and c.key = r.key and c.op = 'insert'
                      and not jsonb_exists(r.after, c.field)) as mapped_alike) w), false) end""")
_ALIKE_PLAIN = """nullif(r.before, 'null') is not distinct from nullif(d.before, 'null')
           and nullif(r.after, 'null') is not distinct from nullif(d.after, 'null')"""
_ALIKE_OTHERS = (
    "(not w.mapped_alike"
    " or jsonb_strip_nulls(w.r - {names}) is not distinct from jsonb_strip_nulls(w.d - {names}))"
)
_ALIKE_FIELD = (
    "(not w.mapped_alike and not (jsonb_exists(w.r, {name}) and jsonb_exists(w.d, {name})) or {same})"
)


def keep_out_refused(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, config_hash: str
) -> None:
    """Mark changes in ``decided`` as refused if a person refused the same change before.

    Tables without refusals are not read.

    :param config_hash: the hash of the mapping under which the changes are due.
    """
    tables = set(connection.execute(_TABLES, {"account": account}).scalars())
    if not tables:
        return
    connection.exec_driver_sql("drop table if exists pg_temp.refused_met")  # a second look in one transaction
    connection.exec_driver_sql(_MAKE_MET)
    parts = {}
    mappings = {comparison.name: comparison.mapping for comparison in comparisons}
    remeant = {(comparison.name, name) for comparison in comparisons for name in comparison.remeant}
    for comparison in comparisons:
        writes = [
            write
            for write in same_writes(comparison.name, mappings)
            if write.table in tables
            and remeant.isdisjoint(((write.table, write.there), (comparison.name, write.here)))
        ]
        near = comparison.name, *comparison.siblings, *comparison.relatives
        if not tables.isdisjoint(near) or writes:
            parts[comparison.name] = _parts(comparison, comparisons, writes)
    of_account = {"account": account}
    for comparison in comparisons:
        if comparison.name in parts:
            met = _MET.substitute(
                parts[comparison.name], words=_WORDS, same=_same(comparison), agreed_loosely=_AGREED_LOOSELY
            )
            connection.exec_driver_sql(met, {**of_account, "config_hash": config_hash})
            if Side.ENERFLO in comparison.mapping.create_in:
                for remade in remade_statements(comparison, comparisons, _WORDS):
                    connection.exec_driver_sql(remade, of_account)
    connection.exec_driver_sql(_STAND_TOO)
    end_refusals(connection, comparisons, parts, {**of_account, "config_hash": config_hash})
    for comparison in comparisons:
        if comparison.name in parts:
            connection.exec_driver_sql(_KEEP_OUT.substitute(parts[comparison.name]))
    installs = [
        comparison.name for comparison in comparisons if comparison.is_installs and comparison.name in tables
    ]
    for comparison in comparisons if installs else ():
        if comparison.mirror_has_install and not comparison.is_installs:
            connection.exec_driver_sql(_belongings(comparison), {**of_account, "installs": installs})
    connection.exec_driver_sql(_TELL_ONCE)


def _parts(
    comparison: Comparison, comparisons: Sequence[Comparison], writes: Sequence[SameWrite]
) -> dict[str, str]:
    """Return SQL parts about a table's due changes ``d`` and the refusals ``r`` that may be of them.

    A row may have come from another table of ``sync.yaml`` with the same CRM table. A refusal from there also
    holds here, for columns that mean the same in both tables. A refusal about the record's row in another CRM
    table holds here once that row is gone.

    :param writes: other columns that write the same field of Enerflo as a column of this table. A refusal
        about such a column also holds here if it is about the same value; only its own row can end it.
    """
    names = comparison.mapping.key_columns
    alone = is_alone(comparison, [fitting_key(comparison, "r.key", column) for column in names])
    kinds = {other.name: other.kind for other in comparisons}
    of_same_row = [f"r.table_name = {literal(comparison.name)}"]
    of_kind = [name for name in comparison.siblings if kinds[name] == comparison.kind]
    for sibling, of_sibling in comparison.siblings.items():
        whole = " or r.op = 'delete' or r.op = 'insert' and r.direction = 'to_enerflo'"
        same = f"r.op = 'update' and r.field = any({names_array(sorted(of_sibling.same_fields))})"
        same += whole if sibling in of_kind else ""
        of_same_row.append(f"r.table_name = {literal(sibling)} and ({same}) and {alone}")
    near = comparison.name, *comparison.siblings, *comparison.relatives
    of_tables = [*near, *(write.table for write in writes)]
    listed = ", ".join(f"({', '.join(map(literal, write))})" for write in writes)
    of_same_write = [f"r.direction = 'to_enerflo' and (r.table_name, r.field, d.field) in ({listed})"]
    of_same_write = of_same_write if listed else []
    for name, relative in comparison.relatives.items():
        fields = ", ".join(f"({literal(there)}, {literal(here)})" for here, there in relative.fields.items())
        same = f"r.op = 'delete' or r.op = 'update' and (r.field, d.field) in ({fields})"
        of_same_write.append(
            f"r.direction = 'to_crm' and r.table_name = {literal(name)} and ({same})"
            f" and not {relative.stands('r.key', 'r.enerflo_key')}"
        )
    decided, refused = _RECORD.format("d"), _RECORD.format("r")
    same_record = _SAME_COLUMN if comparison.is_wide else "{0} = {1}"
    return {
        "name": comparison.name,
        "table": literal(comparison.name),
        "decided": decided,
        "refused": refused,
        "same_record": same_record.format("d.record", refused),
        "same_decided": same_record.format(decided, refused),
        "tables": ", ".join(map(literal, dict.fromkeys(of_tables))),
        "of_same_row": f"({' or '.join(of_same_row)})",
        "of_same_write": f"r.enerflo_key is not null and ({' or '.join(of_same_write)})"
        if of_same_write
        else "false",
    }


def _same(comparison: Comparison) -> str:
    """Return the condition that a refusal ``r`` and a due change ``d`` are the same change; never null."""
    names = [field.name for field in comparison.fields]
    of_field = " ".join(
        f"when {literal(field.name)} then {field.same_shown('r.before', 'd.before')}"
        f" and {field.same_shown('r.after', 'd.after')}"
        for field in comparison.fields
    )
    others = f"array[{', '.join(literal(name) for name in names)}]::text[]"
    of_row = [_ALIKE_OTHERS.format(names=others)]
    for field in comparison.fields:
        name = literal(field.name)
        same = field.same_shown(*(f"nullif({side} -> {name}, 'null')" for side in ("w.r", "w.d")))
        of_row.append(_ALIKE_FIELD.format(name=name, same=same))
    return _SAME.substitute(
        table=literal(comparison.name),
        of_field=f"case d.field {of_field} else {_ALIKE_PLAIN} end" if names else _ALIKE_PLAIN,
        of_row=" and ".join(of_row),
    )


def _belongings(comparison: Comparison) -> str:
    return _BELONGINGS.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        mirror=comparison.mirror,
        same_record=" and ".join(
            f"m.{quoted(column)} = (d.enerflo_key ->> {literal(column)})::bigint"
            for column in comparison.mirror_key
        ),
    )
