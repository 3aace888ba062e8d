"""What the CRM's copy shows of changes that were handed over to a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.mapped_otherwise import OTHERWISE
from enerflo_sync.agreed.relinked_arrivals import RELINKED
from enerflo_sync.agreed.written import as_written, fitting_key
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.meanings import zone_read_in
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.on_its_way import names_array
from enerflo_sync.reconcile.values import NUMBER_TEXT, ZONED_TEXT, Field, shown_in_crm
from enerflo_sync.warehouse.statistics import note_growth

GONE = "its row is gone from the CRM''s copy"

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


def look_at_copy(
    connection: sa.Connection, comparison: Comparison, account: str, meanings: Mapping[str, Mapping[str, Any]]
) -> str:
    """Make the temporary table of a CRM table's changes on their way, and return its name.

    Its column ``seen`` is 'arrived', a reason why the change cannot arrive, or null if the copy shows nothing
    new.

    :param meanings: what is stored of the columns' meanings.
    """
    looked = f"pg_temp.looked_{comparison.name}"
    connection.exec_driver_sql(f"drop table if exists {looked}")
    found = connection.exec_driver_sql(_look(comparison, looked, meanings), {"account": account})
    note_growth(connection, looked, found.rowcount, "number", "op", '"column"', "seen", "key")
    return looked


def _look(comparison: Comparison, looked: str, meanings: Mapping[str, Mapping[str, Any]]) -> str:
    numbers, joins = range(1, len(comparison.fields) + 1), range(1, len(comparison.joins) + 1)
    links = {join.crm_name: n for n, join in enumerate(comparison.joins, 1)}
    fields = {field.name: field for field in comparison.fields}
    links = {name: value for name, value in links.items() if name not in fields}
    varies = any(join.varies for join in comparison.joins)
    same_link = " and ".join(f"c.j{n} = m.j{n}" for n in joins)
    return _LOOK.substitute(
        name=comparison.name,
        gone=GONE,
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
