"""Outcomes of changes that were handed over to a tool: the CRM's copy shows the value, or another value.

A change whose value the copy shows is recorded as applied, and its values become agreed values, as after our
own write. A superseded change may still arrive, because the tool may have read it before. When it does, that
is not an edit by a person either, so the copy is searched for it until ``late_hours`` are over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy, agree_written
from enerflo_sync.agreed.ended_deletions import end_other_deletions
from enerflo_sync.agreed.handing_over import deliver, load_acknowledgements, note_not_made
from enerflo_sync.agreed.mapped_otherwise import OTHERWISE, end_mapped_otherwise
from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.agreed.own_words import stand_for
from enerflo_sync.agreed.own_writes import note_unseen
from enerflo_sync.agreed.relinked_arrivals import RELINKED, end_relinked
from enerflo_sync.agreed.renamed_columns import make_former
from enerflo_sync.agreed.whole_rows import note_new_rows
from enerflo_sync.agreed.written import as_written, fitting_key
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.live.arrivals import last_arrival
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.levels import tables_in_doubt
from enerflo_sync.reconcile.meanings import stored_meanings, zone_read_in
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.on_its_way import SINCE, names_array
from enerflo_sync.reconcile.values import NUMBER_TEXT, ZONED_TEXT, Field, shown_in_crm
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.statistics import note_growth

_GONE = "its row is gone from the CRM''s copy"
SEEN = "it was handed over, and the CRM's copy shows it"
# The limit for tables whose mapping has no ``write_to: changes`` any more: the default of ``late_hours``.
_DEFAULT_HOURS = 24.0

_FOLLOWED = sa.text("""
/* enerflo-sync plan: tables with changes that were handed over and are looked for */
select distinct table_name from sync.crm_changes where account = :account and ended_at is null
""")

# ``seen`` is what the copy shows for each change: 'arrived', a reason why it cannot arrive, or null if the
# copy shows nothing new.
_LOOK = Template("""
/* enerflo-sync plan $name: what the CRM's copy shows of changes that were handed over */
create temporary table $looked on commit drop as
select o.number, o.plan_hash, o.position, o.key, o."column", o.op, o.kind, o.state, o.approved_by,
  case when o.twins > 1 then null
    when o.op = 'delete' then case when o.in_crm is null then 'arrived'
      when o.state = 'open' and o.kind <> 'undo' and o.lives then 'Enerflo has the record again' end
    when o.in_crm is null then case
      when o.state = 'open' and o.op = 'update' then '$gone'
      when o.state = 'open' and o.kind <> 'undo' and o.lives is not true
        then 'Enerflo deleted the record meanwhile' end
    when o.op = 'update' and not o.linked then case
      when o.state = 'open' then '$relinked' end
    when o.shows then 'arrived'
    when o.state <> 'open' then null
    when o.op = 'insert' and not $named then $otherwise
    when o.op = 'insert' then 'the CRM''s copy has the row, and shows another value'
    when not o.as_copied then 'the CRM''s copy shows another value'
    when o.kind = 'sync' and o.lives is not true then 'Enerflo deleted the record meanwhile'
    when o.kind = 'sync' and o.equal then 'Enerflo says again what the CRM''s copy shows' end as seen
from (
  select o.*, $linked as linked, case o."column" $shows else o.op = 'insert' and $named end as shows,
         case o."column" $as_copied else true end as as_copied, case o."column" $equal else false end as equal
  from (
    select w.*, $columns, m.lives, c.here as in_crm, count(*) over (partition by w.number) as twins
    from sync.crm_changes w left join ($mirror_side) m on $of_record left join ($crm_side) c on $of_row
    where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.op <> 'insert'
    union all
    select w.*, $columns, m.lives, c.here as in_crm, count(*) over (partition by w.number) as twins
    from sync.crm_changes w left join ($mirror_side) m on $of_record left join ($crm_side) c on $of_new_row
    where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.op = 'insert'
  ) o
) o
""")

# While a copy is being loaded again, its rows are missing. A missing row is then no evidence that a deletion
# arrived, nor that an update cannot arrive.
_NOT_LOADED = Template("""
/* enerflo-sync plan $name: rows that are missing while the CRM's copy has lost many at once */
update $looked set seen = null
where op = 'delete' and seen = 'arrived' or op = 'update' and seen = '$gone'
""")

_NEWER_THAN = """n.key = a.key and n.op = 'update' and a.op = 'update' and n."column" = a."column"
      and n.number > a.number"""

# If several changes of one column have the same value, the newest one counts as arrived. Changes older than
# an arrived one end. Newer ones stay open; the arrived value is now the copy's value that they replace.
_RECORD_ARRIVALS = Template("""
/* enerflo-sync plan $name: what became of changes that were handed over */
with arrived as (
  select key, op, "column", max(number) as number from $looked where seen = 'arrived' group by 1, 2, 3
), ended as (
  update sync.crm_changes w set state = l.state, reason = l.reason, state_at = %(now)s, ended_at = l.ended_at
  from (
    select number, 'arrived' as state, null as reason, %(now)s::timestamptz as ended_at from arrived
    union all
    select number, 'superseded', seen, null::timestamptz from $looked n where seen <> 'arrived'
      and not exists (select from arrived a where $newer_than)
  ) l where w.account = %(account)s and w.number = l.number
  returning w.number
), older as (
  update sync.crm_changes w set ended_at = %(now)s,
    state = case when w.state = 'open' then 'superseded' else w.state end,
    reason = case when w.state = 'open' then 'a later change arrived' else w.reason end,
    state_at = case when w.state = 'open' then %(now)s else w.state_at end
  from arrived a
  where w.account = %(account)s and w.table_name = $table and w.key = a.key and w.op = a.op
    and w."column" is not distinct from a."column" and w.number < a.number and w.ended_at is null
), newer as (
  update sync.crm_changes w set copy_value = o.after
  from $looked n join arrived a on $newer_than
  join sync.crm_changes o on o.account = %(account)s and o.number = a.number
  where w.account = %(account)s and w.number = n.number
)
select l.plan_hash, l.kind, l.approved_by, array_agg(l.position order by l.position) as positions,
       (array_agg(l.key order by l.number))[1]::text as key, bool_or(l.op = 'insert') as made
from $looked l join arrived a using (number)
group by l.plan_hash, l.kind, l.approved_by, case when l.kind = 'link' then l.key end
""")

# The CRM had the row when its record was made. That it is gone now is a deletion, as it is of a row that has
# the id: no new row is made of the record.
_ROW_GONE = Template("""
/* enerflo-sync plan $name: rows that are gone before the ids of their records arrived */
insert into sync.agreed (account, table_name, key, field, value, agreed_at, agreed_by, is_link, enerflo_key)
select w.account, w.table_name, w.key, w."column", w.after, %(now)s, '$by', true, w.enerflo_key
from $looked l join sync.crm_changes w on w.account = %(account)s and w.number = l.number
where l.kind = 'link' and l.seen = '$gone' and w.state = 'superseded'
on conflict do nothing
""")

_FORGET = Template("""
/* enerflo-sync plan $name: changes that do not come through any more */
update sync.crm_changes w set ended_at = %(now)s
where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.state <> 'open'
  and greatest(w.state_at, $since) <= %(until)s::timestamptz - %(hours)s
""")

# Pairs of a column whose change arrived, but was handed over before the column's values changed their
# meaning. A pair with a newer change on its way is left out, because that change replaces the arrived value.
_MEANT_OTHERWISE = Template("""and a.key in (
    select l.key from $looked l join sync.crm_changes w on w.account = a.account and w.number = l.number
    where l.seen = 'arrived' and l."column" = a.field and w.made_at < $since::timestamptz
      and not exists (select from sync.crm_changes n
        where n.account = w.account and n.table_name = w.table_name and n.key = w.key and n.number > w.number
          and n."column" = w."column" and n.state = 'open' and n.ended_at is null))""")

_CREATED = sa.text("""
select position from sync.plan_changes
where account = :account and plan_hash = :plan_hash and table_name = :table and op = 'insert'
  and direction = 'to_enerflo' and state = 'applied' and key = cast(:key as jsonb)
""")


def record_arrivals(
    connection: sa.Connection, comparisons: Sequence[Comparison], account: str, *, read_back: bool = False
) -> None:
    """Look up handed-over changes in the CRM's copies and record their outcomes, in the caller's transaction.

    A change whose value the copy shows is recorded as applied in the plan and in the ledger, and its values
    become agreed values. A change that cannot arrive any more, because the copy or Enerflo has another value,
    is superseded; the next plan decides again. Changes whose column or row ``sync.yaml`` now maps differently
    end first. Tables without handed-over changes are not read.

    :param read_back: the rows that we wrote ourselves were read back after it, and their times are stored.
    """
    end_mapped_otherwise(connection, comparisons, account)
    tables = set(connection.execute(_FOLLOWED, {"account": account}).scalars())
    in_doubt = tables_in_doubt(connection, account, None) if tables else {}
    for comparison in comparisons:
        if comparison.name in tables:
            load_acknowledgements(connection, comparison, account)
            # What we write ourselves is read back row by row.
            loads = str(comparison.name) in in_doubt and not comparison.mapping.is_carried
            looked = _record_arrivals(connection, comparison, account, loads=loads)
            if not read_back:
                note_unseen(connection, comparison, account, looked)
    if tables:
        note_not_made(connection, account, "copy")
        deliver(connection, comparisons, account)


def _record_arrivals(connection: sa.Connection, comparison: Comparison, account: str, *, loads: bool) -> str:
    now = transaction_time(connection)
    values: dict[str, Any] = {"account": account, "now": now}
    looked = f"pg_temp.looked_{comparison.name}"
    connection.exec_driver_sql(f"drop table if exists {looked}")
    meanings = stored_meanings(connection, account, [comparison.name])[comparison.name]
    found = connection.exec_driver_sql(_look(comparison, looked, meanings), values)
    note_growth(connection, looked, found.rowcount, "number", "op", '"column"', "seen", "key")
    named = {"name": str(comparison.name), "table": literal(comparison.name), "looked": looked}
    named["newer_than"] = _NEWER_THAN
    if loads:
        connection.exec_driver_sql(_NOT_LOADED.substitute(named, gone=_GONE), values)
    end_other_deletions(connection, comparison, looked, values, _GONE)
    end_relinked(connection, comparison, looked, values)
    for row in connection.exec_driver_sql(_RECORD_ARRIVALS.substitute(named), values).all():
        applying = Applying(account, row.plan_hash, "copy", row.approved_by)
        if row.kind == "link":
            _agree_on_link(connection, comparison, applying, row.key)
            continue
        _apply(connection, comparison, applying, row, values)
    gone = _ROW_GONE.substitute(named, gone=_GONE, by=AgreedBy.PUSH)
    connection.exec_driver_sql(gone, values)
    _follow_words(connection, comparison, account, looked, meanings)
    hours = (
        comparison.mapping.handed_to.late_hours
        if comparison.mapping.handed_to is not None
        else _DEFAULT_HOURS
    )
    # While the copy gets no rows, no change can be seen in it. So the hours end at the newest row of the
    # copy.
    last = last_arrival(connection, comparison.mapping, comparison.live)
    until = {"until": now if last is None else last.at, "hours": timedelta(hours=hours)}
    connection.exec_driver_sql(_FORGET.substitute(named, since=SINCE), {**values, **until})
    return looked


def _follow_words(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    looked: str,
    meanings: Mapping[str, Mapping[str, Any]],
) -> None:
    """Correct the pairs of arrived changes whose words stood for other values when they were handed over.

    Otherwise the pair would say that both sides agree, although their values now mean different things.
    """
    mapped = {field.name for field in comparison.fields}
    for name, meaning in meanings.items():
        if (since := meaning.get("said_since")) is None or name not in comparison.meanings:
            continue
        which = _MEANT_OTHERWISE.substitute(looked=looked, since=literal(since))
        if name in mapped:
            stand_for(connection, comparison, account, name, which)
        else:
            make_former(connection, comparison, account, name, which)


def _apply(
    connection: sa.Connection, comparison: Comparison, applying: Applying, row: Any, values: Mapping[str, Any]
) -> None:
    record_outcome(
        connection,
        applying,
        row.positions,
        Decision.APPLIED,
        values["now"],
        reason=SEEN,
        evidence=f"copy:{full_name(comparison.mapping)}",
        found_after=True,
    )
    by = AgreedBy.UNDO if row.kind == "undo" else AgreedBy.PUSH
    agree_written(connection, comparison, applying.account, applying.plan_hash, row.positions, by)
    if row.made:
        made = {**values, "plan_hash": applying.plan_hash}
        note_new_rows(connection, {comparison.name: comparison}, [comparison.name], made)


def _agree_on_link(connection: sa.Connection, comparison: Comparison, applying: Applying, key: str) -> None:
    """Store the agreed values of a record that was created at Enerflo, now that its CRM row has its id."""
    named = {
        "account": applying.account,
        "plan_hash": applying.plan_hash,
        "table": str(comparison.name),
        "key": key,
    }
    positions = connection.execute(_CREATED, named).scalars().all()
    if positions:
        read_at = transaction_time(connection)
        agree_written(
            connection, comparison, applying.account, applying.plan_hash, positions, AgreedBy.PUSH, read_at
        )


def _look(comparison: Comparison, looked: str, meanings: Mapping[str, Mapping[str, Any]]) -> str:
    numbers, joins = range(1, len(comparison.fields) + 1), range(1, len(comparison.joins) + 1)
    links = {join.crm_name: n for n, join in enumerate(comparison.joins, 1)}
    fields = {field.name: field for field in comparison.fields}
    links = {name: value for name, value in links.items() if name not in fields}
    varies = any(join.varies for join in comparison.joins)
    same_link = " and ".join(f"c.j{n} = m.j{n}" for n in joins)
    return _LOOK.substitute(
        name=comparison.name,
        gone=_GONE,
        relinked=RELINKED,
        looked=looked,
        table=literal(comparison.name),
        columns=", ".join(
            [
                *(f"m.e{n}" for n in numbers),
                *(f"c.c{n}" for n in numbers),
                *(f"m.mc{n}" for n in numbers if comparison.is_wide),
                *(f"m.j{n} as mj{n}, c.j{n} as cj{n}" for n in joins),
            ]
        ),
        # The copy is not read for a column that sync.yaml does not name any more.
        named=f'o."column" = any({names_array(list(comparison.mapping.crm_columns))})',
        otherwise=literal(OTHERWISE),
        mirror_side=mirror_side(comparison),
        crm_side=crm_side(comparison),
        of_record=" and ".join(
            f"m.p{n} = (w.enerflo_key ->> {literal(column)})::bigint"
            for n, column in enumerate(comparison.mirror_key, 1)
        ),
        of_row=_of_key(comparison),
        # The CRM may create the row under a key of its own, or spell the key differently.
        of_new_row=_of_key(comparison) if comparison.mapping.joined_by_key and not varies else same_link,
        linked="true" if comparison.key_is_record else _is_linked(comparison),
        shows=_cases(
            fields,
            links,
            lambda field: _shows_then(comparison, field, meanings.get(field.name, {})),
            "o.cj{0} = o.mj{0}",
        ),
        as_copied=_cases(
            fields,
            links,
            lambda field: _shows(comparison, field, "o.copy_value"),
            "o.cj{0} is null",
        ),
        equal=_cases(fields, {}, lambda field: f"o.lives and {field.equal}", "false"),
    )


def _of_key(comparison: Comparison) -> str:
    return " and ".join(
        f"c.k{n} = {fitting_key(comparison, 'w.key', column)}"
        for n, column in enumerate(comparison.mapping.key_columns, 1)
    )


def _is_linked(comparison: Comparison) -> str:
    """Return the condition that the CRM row of ``o`` names its record, or that the change writes that id."""
    same = " and ".join(f"o.cj{n} = o.mj{n}" for n, _ in enumerate(comparison.joins, 1))
    links = ", ".join(literal(join.crm_name) for join in comparison.joins)
    return f'coalesce({same} or o."column" in ({links}), o.lives is not true)'


def _cases(
    fields: Mapping[str, Field], links: Mapping[str, int], of_field: Callable[[Field], str], of_link: str
) -> str:
    cases = [f"when {literal(name)} then {of_field(field)}" for name, field in fields.items()]
    cases += [
        f"when {literal(name)} then coalesce({of_link.format(one)}, false)" for name, one in links.items()
    ]
    return " ".join(cases) or "when null then false"


def _shows(comparison: Comparison, field: Field, value: str) -> str:
    """Return the condition that the copy shows a JSON value: as declared, rounded, or of an hour twice."""
    same = field.same_shown(field.crm.shown, value, in_crm=True)
    live = comparison.live.columns[field.name]
    text = f"({value} #>> '{{}}')"
    if live.kind is Kind.INTEGER or (live.kind is Kind.DECIMAL and "," in live.type):
        places = live.type.rpartition(",")[2].rstrip(") ") if live.kind is Kind.DECIMAL else "0"
        rounded = f"round((case when {text} ~ {literal(NUMBER_TEXT)} then {text}::numeric end), {places})"
        return f"({same} or coalesce(c{_number(comparison, field)}::numeric = {rounded}, false))"
    if live.kind is Kind.TIMESTAMP:
        again = field.same_shown(field.crm.shown, as_written(comparison, field.name, value), in_crm=True)
        return f"({same} or case when {text} ~ {literal(ZONED_TEXT)} then {again} else false end)"
    return same


def _shows_then(comparison: Comparison, field: Field, meaning: Mapping[str, Any]) -> str:
    """Return the condition that the copy shows the value to write, in the zone of when it was handed over."""
    found = [_shows(comparison, field, "o.after")]
    since = "-infinity"
    for until, reads in meaning.get("read_before", []):
        if (zone := zone_read_in({"reads": reads})) is not None:
            mapping = field.mapping.model_copy(update={"time_zone": zone})
            live = comparison.live.columns[field.name]
            now = shown_in_crm(mapping, f"c{_number(comparison, field)}", live, zone)
            same = replace(field, mapping=mapping, zone=zone).same_shown(now, "o.after", in_crm=True)
            then = f"o.made_at >= {literal(since)}::timestamptz and o.made_at < {literal(until)}::timestamptz"
            found.append(f"{then} and {same}")
        since = until
    return f"({' or '.join(found)})"


def _number(comparison: Comparison, field: Field) -> int:
    return list(comparison.fields).index(field) + 1
