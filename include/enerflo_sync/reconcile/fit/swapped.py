"""Two columns of one row that have each other's value: a hint that no field alone can show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.mapping import FieldType, TableMapping
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.fit.hint_columns import has_no_form
from enerflo_sync.reconcile.fit.hints import Hint, field_hint_sql
from enerflo_sync.reconcile.values import Field

# Yes and no stand in each other's place by chance.
_TYPES = (FieldType.TEXT, FieldType.NUMBER, FieldType.INTEGER, FieldType.TIMESTAMP, FieldType.DATE)
# The doctor looks at this many fields of a type at most, those with the most rows that no other hint fits.
_FIELDS = 10

# Stored differences have no statistics yet: grouping and a hashed subquery cost the same whatever the planner
# takes their number for, where a join could become a nested loop over all of them.
_STORED = Template("""
/* enerflo-sync reconcile $name: fields that have each other's values */
with fields (field, type) as (values $fields), plain as materialized (
  select d.difference_id, d.key, d.field, f.type, $mine as mine, $theirs as theirs
  from sync.differences d join fields f on f.field = d.field
  where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
    and $has_no_form and d.cause <> 'equal_after_normalisation' and $only
), records as (
  select array_agg(difference_id) as ids, array_agg(mine) as mine, array_agg(theirs) as theirs
  from plain where mine is not null and theirs is not null group by key, type having count(*) > 1
), swapped as (
  select a.id from records r
  cross join lateral unnest(r.ids, r.mine, r.theirs) a (id, mine, theirs)
  cross join lateral unnest(r.ids, r.mine, r.theirs) b (id, mine, theirs)
  where b.id <> a.id and b.mine = a.theirs and b.theirs = a.mine
)
update sync.differences d set hint = '$hint'
where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
  and $has_no_form and (d.difference_id in (select id from swapped)) is true
""")


def swapped_statement(name: str, mapping: TableMapping, only: str = "true") -> str | None:
    """Return the statement that gives stored differences the hint ``swapped``, where no other hint fits them.

    Takes ``account`` and ``reconciliation_id``. None if no two fields of the table have one type.

    :param only: the condition that a difference ``d`` was judged by this run; carried ones keep their hint.
    """
    fields = [
        (column, one.type)
        for of_type in _by_type(mapping.fields.items(), lambda item: item[1].type)
        for column, one in of_type
    ]
    if not fields:
        return None
    return _STORED.substitute(
        name=name,
        table=literal(name),
        fields=", ".join(f"({literal(column)}, {literal(kind)})" for column, kind in fields),
        mine=_plain("d.enerflo_value", "f.type in ('number', 'integer')"),
        theirs=_plain("d.crm_value", "f.type in ('number', 'integer')"),
        only=only,
        has_no_form=has_no_form("d.hint"),
        hint=Hint.SWAPPED,
    )


def swapped_rows(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    pairs: str,
    unhinted: Mapping[str, int],
) -> dict[str, dict[str, int]]:
    """Return in how many matched rows two fields have each other's value, by both names.

    :param pairs: the select of the matched rows; takes ``account``.
    :param unhinted: how many rows of each field differ and have no other hint.
    """
    asked = [
        two
        for of_type in _by_type(
            [one for one in comparison.fields if unhinted.get(one.name)], lambda one: one.mapping.type
        )
        for two in combinations(sorted(of_type, key=lambda one: -unhinted[one.name])[:_FIELDS], 2)
    ]
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if not asked:
        return found
    counts = ", ".join(f"count(*) filter (where {_are_swapped(comparison, *two)})" for two in asked)
    query = (
        f"/* enerflo-sync doctor: columns that have each other's values */ select {counts} from ({pairs}) p"  # noqa: S608 - columns
    )
    rows = connection.exec_driver_sql(query, {"account": account}).one()
    for (left, right), number in zip(asked, rows, strict=True):
        if number:
            found[left.name][right.name] = found[right.name][left.name] = number
    return found


def _by_type(fields: Any, type_of: Any) -> Iterator[Sequence[Any]]:
    """Yield the fields of each type that at least two of them have."""
    for kind in _TYPES:
        of_type = [one for one in fields if type_of(one) is kind]
        if len(of_type) > 1:
            yield of_type


def _are_swapped(comparison: Comparison, left: Field, right: Field) -> str:
    is_number = str(left.mapping.type in (FieldType.NUMBER, FieldType.INTEGER)).lower()
    (a, b), (c, d) = (
        [_plain(side.shown, is_number) for side in (one.enerflo, one.crm)] for one in (left, right)
    )
    differing = [f"({one.differs}) and not coalesce({one.equal}, false)" for one in (left, right)]
    unhinted = [
        f"{field_hint_sql(comparison.kind, comparison.mapping, one.name, mine, theirs)} is null"
        for one in (left, right)
        for mine, theirs in [[f"({side.shown} #>> '{{}}')" for side in (one.enerflo, one.crm)]]
    ]
    return " and ".join([*differing, f"{a} = {d}", f"{b} = {c}", *unhinted])


def _plain(value: str, is_number: str) -> str:
    """Return a JSON value as a text; of a field of numbers 12 and 12.00 are one."""
    text = f"btrim(({value}) #>> '{{}}')"
    short = f"{is_number} and length({text}) <= 40 and {text} ~ '^-?[0-9]+([.][0-9]+)?$'"
    return f"(case when {short} then trim_scale({text}::numeric)::text else nullif({text}, '') end)"
