"""What a person refused: remembered for each change, and kept out of every later plan.

A refusal stands until a value of the change is another one (compared as the mapping declares, so that another
spelling of the same value changes nothing), until both sides agreed meanwhile, or until a person opens the
change again. It binds the change and not the rule that asks for it: whatever would write the same value to
the same field of the same record is refused. Plans of ``undo`` are a person's own act, and are not bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

# The outcome in ``decided`` of a change that a person refused.
REFUSED = "refused"
# Why a refusal ended without a person.
VALUE_CHANGED = "a value changed"

_REMEMBER = sa.text("""
/* enerflo-sync apply: what a person refuses, to be remembered for each change */
insert into sync.refusals (account, table_name, key, enerflo_key, op, field, direction, before, after,
  source_value, plan_hash, decided_by, decided_at, reason)
select c.account, c.table_name, c.key, (array_agg(c.enerflo_key))[1], c.op, f.field, c.direction,
  (array_agg(c.before))[1],
  case when c.op = 'insert' then jsonb_object_agg(c.field, c.after) filter (where c.field is not null)
       else (array_agg(c.after))[1] end,
  case when c.op <> 'insert' then (array_agg(c.source_value))[1] end,
  c.plan_hash, :who, now(), :reason
from sync.plan_changes c
cross join lateral (select case when c.op <> 'insert' then c.field end as field) f
where c.account = :account and c.plan_hash = :plan_hash and c.position = any(:positions)
group by c.account, c.plan_hash, c.table_name, c.key, c.op, f.field, c.direction
order by min(c.position)
""").bindparams(sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)))

_OPEN_AGAIN = sa.text("""
/* enerflo-sync apply: refusals of a plan that a person approves after all */
update sync.refusals set ended_at = now(), ended_by = :who, end_reason = 'the plan was approved after all'
where account = :account and plan_hash = :plan_hash and ended_at is null
""")

_REFUSED_SINCE = sa.text("""
/* enerflo-sync apply: who refused a change of a rejected plan again, as one of a later plan */
select r.decided_by from sync.plan_changes c
join sync.refusals r on r.account = c.account and r.table_name = c.table_name and r.op = c.op
  and r.direction = c.direction and coalesce(r.enerflo_key, r.key) = coalesce(c.enerflo_key, c.key)
  and (c.op = 'insert' or r.field is not distinct from c.field)
where c.account = :account and c.plan_hash = :plan_hash and c.state = 'refused'
  and r.plan_hash <> c.plan_hash and r.ended_at is null
order by r.decided_at desc limit 1
""")

_TABLES = sa.text("""
/* enerflo-sync plan: tables with something that a person refused */
select distinct table_name from sync.refusals where account = :account and ended_at is null
""")

# A record is known by its id at Enerflo where it has one: the key of its CRM row may be another one by now.
_RECORD = "coalesce({0}.enerflo_key, {0}.key)"
_WORDS = """'refused by ' || r.decided_by || ' on '
      || to_char(r.decided_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
      || coalesce(': ' || nullif(btrim(r.reason), ''), '')"""

# What is due now beside what was refused of the same record and field.
_MET = Template("""
/* enerflo-sync plan $name: changes that a person refused before */
create temporary table refused_$name on commit drop as
with due as (
  select table_name, $decided as record, op, outcome as direction, null::text as field, null::jsonb as before,
         jsonb_object_agg(field, after) as after, max(agreed_at) as agreed_at
  from pg_temp.decided d
  where table_name = $table and outcome in ('to_crm', 'to_enerflo') and op = 'insert' and field is not null
  group by 1, 2, 3, 4
  union all
  select table_name, $decided, op, outcome, field, before, after, agreed_at
  from pg_temp.decided d
  where table_name = $table and outcome in ('to_crm', 'to_enerflo') and op <> 'insert'
)
select r.refusal_id, d.record, d.op, d.direction, d.field, $words as words,
       (coalesce(d.agreed_at <= r.decided_at, true) and $same) as same
from sync.refusals r
join due d on d.record = $refused and d.op = r.op and d.direction = r.direction
  and d.field is not distinct from r.field
where r.account = %(account)s and r.table_name = $table and r.ended_at is null
""")

_END = Template(f"""
/* enerflo-sync plan $name: refusals of changes that are others by now */
update sync.refusals r set ended_at = now(), end_reason = '{VALUE_CHANGED}'
from pg_temp.refused_$name m where r.account = %(account)s and r.refusal_id = m.refusal_id and not m.same
""")  # noqa: S608 - a constant

# What is not due any more, because both sides agree: a value changed, and whoever changes it back makes
# another change. That nothing is due is no proof of it: a duplicate or an unread record hides a difference.
_END_AGREED = Template(f"""
/* enerflo-sync plan $name: refusals of changes about whose field both sides agree by now */
update sync.refusals r set ended_at = now(), end_reason = '{VALUE_CHANGED}'
where r.account = %(account)s and r.table_name = $table and r.ended_at is null and r.op = 'update'
  and not exists (select from pg_temp.decided d where d.table_name = $table and d.field = r.field
                  and d.op = 'update' and $decided = $refused)
  and exists (
    select from (
      select $values from ($mirror_side) m join ($crm_side) c on $of_row where m.lives and $of_record
    ) o where case r.field $equal else false end$and_moved)
""")  # noqa: S608 - a constant

# About the status of an install that its last milestone would have completed both sides agreed when that was
# refused: only another status than then is news.
_AND_MOVED = Template(f"""
      and not (case r.field $as_before else false end and exists (
        select from sync.plan_changes p
        where p.key = r.key and p.account = r.account and p.plan_hash = r.plan_hash
          and p.table_name = r.table_name and p.field = r.field and p.rule = '{LAST_MILESTONE}'))""")

# What is shown of a refused change stands where the two sides of a question stand.
_KEEP_OUT = Template(f"""
/* enerflo-sync plan $name: what a person refused is no change of the plan */
update pg_temp.decided d
set outcome = '{REFUSED}', reason = m.words, refusal_id = m.refusal_id,
    before = case when d.outcome = 'to_crm' then coalesce(d.source_value, d.after) else d.before end,
    source_value = case when d.outcome = 'to_crm' then d.before
                        when d.rule = '{LAST_MILESTONE}' then d.after
                        else coalesce(d.source_value, d.after) end
from pg_temp.refused_$name m
where m.same and d.table_name = $table and d.outcome = m.direction and d.op = m.op and $decided = m.record
  and (d.op = 'insert' or d.field is not distinct from m.field)
""")  # noqa: S608 - a constant

# A row of the CRM that belongs to an install that is not to be created there.
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

# A new record is one whole, and is told once.
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

# A refusal ``r`` and what is due, ``d``: of a field both its values, of a whole row all of them.
# A field that came into the mapping since, or left it, is no value that changed. A row that is deleted shows
# each mapped field; a new one only what it has a value for, so that the plan's mapping has to be known. Of
# one whose customer was forgotten since, what is personal is left neither in the refusal nor in what is due.
_SAME = Template("""case when r.op = 'update' then $of_field
         else coalesce((select $of_row from (
           select case when r.op = 'insert' then r.after else r.before end as r,
                  case when r.op = 'insert' then d.after else d.before end as d,
                  r.op = 'insert' and exists (
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


def remember_refused(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    positions: Sequence[int],
    *,
    who: str,
    reason: str | None,
) -> None:
    """Remember that a person refused changes of a plan, in the caller's transaction.

    :param positions: of the changes in the plan; of a new row all of them.
    """
    connection.execute(
        _REMEMBER,
        {
            "account": account,
            "plan_hash": plan_hash,
            "positions": list(positions),
            "who": who,
            "reason": reason,
        },
    )


def open_again(connection: sa.Connection, account: str, plan_hash: str, who: str) -> None:
    """End the refusals of a plan that a person approves after all."""
    connection.execute(_OPEN_AGAIN, {"account": account, "plan_hash": plan_hash, "who": who})


def refused_since(connection: sa.Connection, account: str, plan_hash: str) -> str | None:
    """Return who refused a change of a rejected plan again, as a change of another plan; None: nobody."""
    who = connection.scalar(_REFUSED_SINCE, {"account": account, "plan_hash": plan_hash})
    return None if who is None else str(who)


def keep_out_refused(
    connection: sa.Connection, plans: Sequence[Comparison], account: str, config_hash: str
) -> None:
    """Take out of what is due in ``decided`` whatever a person refused and is the same still.

    A refusal whose change has another value by now ends. Where nothing was refused nothing is looked at.

    :param config_hash: of the mapping under which the changes are due.
    """
    tables = set(connection.execute(_TABLES, {"account": account}).scalars())
    for plan in plans:
        if plan.name in tables:
            _keep_out_of_table(connection, plan, account, config_hash)
    installs = [plan.name for plan in plans if plan.is_installs and plan.name in tables]
    for plan in plans if installs else ():
        if plan.mirror_has_install and not plan.is_installs:
            connection.exec_driver_sql(_belongings(plan), {"account": account, "installs": installs})
    if tables:
        connection.exec_driver_sql(_TELL_ONCE)


def _keep_out_of_table(connection: sa.Connection, plan: Comparison, account: str, config_hash: str) -> None:
    common = {
        "name": plan.name,
        "table": literal(plan.name),
        "decided": _RECORD.format("d"),
        "refused": _RECORD.format("r"),
    }
    connection.exec_driver_sql(
        f"drop table if exists pg_temp.refused_{plan.name}"  # a second look in one transaction
    )
    same = _MET.substitute(common, words=_WORDS, same=_same(plan))
    connection.exec_driver_sql(same, {"account": account, "config_hash": config_hash})
    connection.exec_driver_sql(_END.substitute(common), {"account": account})
    if plan.fields:
        connection.exec_driver_sql(_END_AGREED.substitute(common, **_both_sides(plan)), {"account": account})
    connection.exec_driver_sql(_KEEP_OUT.substitute(common))


def _both_sides(plan: Comparison) -> dict[str, str]:
    """Return the SQL of what both sides say of a refusal's record ``r`` at present."""
    numbers = range(1, len(plan.fields) + 1)
    return {
        "mirror_side": mirror_side(plan),
        "crm_side": crm_side(plan),
        "of_record": " and ".join(
            f"m.p{n} = (r.enerflo_key ->> {literal(column)})::bigint"
            for n, column in enumerate(plan.mirror_key, 1)
        ),
        "of_row": " and ".join(
            f"c.k{n} = {fitting_key(plan, 'r.key', column)}"
            for n, column in enumerate(plan.mapping.key_columns, 1)
        ),
        "values": ", ".join(
            [
                *(f"m.e{n}" for n in numbers),
                *(f"c.c{n}" for n in numbers),
                *(f"m.mc{n}" for n in numbers if plan.is_wide),
            ]
        ),
        "equal": " ".join(f"when {literal(field.name)} then {field.equal}" for field in plan.fields),
        "and_moved": _AND_MOVED.substitute(as_before=_as_before(plan)) if plan.is_installs else "",
    }


def _as_before(plan: Comparison) -> str:
    """Return the cases of whether Enerflo says of a refusal's field what it said then."""
    return " ".join(
        f"when {literal(field.name)} then {field.same_shown('r.before', field.enerflo.shown)}"
        for field in plan.fields
    )


def _same(plan: Comparison) -> str:
    """Return the condition that a refusal ``r`` and what is due, ``d``, are one change; never null."""
    names = [field.name for field in plan.fields]
    of_field = " ".join(
        f"when {literal(field.name)} then {field.same_shown('r.before', 'd.before')}"
        f" and {field.same_shown('r.after', 'd.after')}"
        for field in plan.fields
    )
    others = f"array[{', '.join(literal(name) for name in names)}]::text[]"
    of_row = [_ALIKE_OTHERS.format(names=others)]
    for field in plan.fields:
        name = literal(field.name)
        same = field.same_shown(*(f"nullif({side} -> {name}, 'null')" for side in ("w.r", "w.d")))
        of_row.append(_ALIKE_FIELD.format(name=name, same=same))
    return _SAME.substitute(
        of_field=f"case d.field {of_field} else {_ALIKE_PLAIN} end" if names else _ALIKE_PLAIN,
        of_row=" and ".join(of_row),
    )


def _belongings(plan: Comparison) -> str:
    return _BELONGINGS.substitute(
        name=plan.name,
        table=literal(plan.name),
        mirror=plan.mirror,
        same_record=" and ".join(
            f"m.{quoted(column)} = (d.enerflo_key ->> {literal(column)})::bigint"
            for column in plan.mirror_key
        ),
    )
