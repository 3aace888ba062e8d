"""Changes to be carried to the CRM's own database, grouped as writes of whole rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.refusals import why_refused
from enerflo_sync.agreed.soft_deletes import marking_value, unmarked_rows
from enerflo_sync.agreed.whole_rows import as_planned
from enerflo_sync.agreed.written import as_written, column_value, of_key, shown, typed_key, zone_of
from enerflo_sync.crm.copies import KEY_HASH, ROW_HASH, UNREAD, is_unread
from enerflo_sync.crm.marks import own_mark
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.refused import refuses_a_row

# The id of a record that was created at Enerflo is written in every mode: it completes a write to Enerflo.
_OPEN = """w.account = %(account)s and w.table_name = %(table)s and w.ended_at is null and w.state = 'open'
  and (w.kind = 'link' or %(to_crm)s)"""
_GROUPS = f"""
/* enerflo-sync carry: columns that are to be carried */
select distinct w.op, w."column" as name from sync.crm_changes w where {_OPEN} order by 1, 2
"""  # noqa: S608 - a constant


_NUMBERS = f"""
/* enerflo-sync carry: changes of one column that are to be carried */
select w.number from sync.crm_changes w
where {_OPEN} and w.op = %(op)s and w."column" = %(column)s::text order by w.number
"""  # noqa: S608 - a constant
_OF_ONE_ROW = f"""
/* enerflo-sync carry: all columns of a new row */
select w.number from sync.crm_changes w join sync.crm_changes u on u.key = w.key
where {_OPEN} and w.op = 'insert' and u.number = %(number)s
"""  # noqa: S608 - a constant


# What was sent of the row ``w.key``, and a row ``t`` does not say.
_SENT = """c.account = w.account and c.plan_hash = w.plan_hash and c.table_name = w.table_name
      and c.key = w.key and c.op = 'insert' and c.direction = 'to_enerflo'"""
_DIFFERS = Template(f"""exists (select from sync.plan_changes c
      where {_SENT} and $says is distinct from nullif(c.source_value, 'null'))""")  # noqa: S608 - a constant
_GIVEN_AWAY = Template(f"""
/* enerflo-sync carry $name: ids whose row has another key by now */
select w.number from sync.crm_changes w
where {_OPEN} and w.kind = 'link' and exists (select from sync.plan_changes c where {_SENT})
  and exists (select from $crm t where $on and $counts and $differs)
  and exists (select from $crm t where not ($on) and $counts and $unlinked and not $differs)
""")  # noqa: S608 - constants


# An undo takes the mark away from a row that nobody touched since, instead of making it.
_UNMARKED = Template(f"""
/* enerflo-sync carry $name: marks that are taken away */
select w.number, w.key::text as key, $before as value, t.id is not null as as_left,
  exists (select from $crm t where $on and $counts) as lives, t.row_hash, t.key_hash, $keys
from sync.crm_changes w
join sync.plans q on q.account = w.account and q.plan_hash = w.plan_hash
join sync.plan_changes c on c.account = q.account and c.plan_hash = q.stands_on
  and c.table_name = w.table_name and c.key = w.key and $of_mark
left join lateral (
  select t.ctid as id, t.{ROW_HASH} as row_hash, t.{KEY_HASH} as key_hash, t.* from $crm t
  where $on and $as_left
) t on true
where {_OPEN} and w.op = 'insert' and w.kind = 'undo'
order by w.number
""")  # noqa: S608 - constants


@dataclass
class RowWrite:
    """One row to write: an insert, an update, or a deletion mark.

    :param numbers: the changes of ``sync.crm_changes`` that the write consists of.
    :param key: the row's key in the copy's types; ``key_text`` is the same as JSON.
    :param row_hash: the digest that the row must have; None for an insert.
    """

    op: str
    numbers: list[int]
    key: tuple[Any, ...]
    key_text: str
    row_hash: int | None
    key_hash: int | None
    values: dict[str, Any] = field(default_factory=dict)


def due_writes(
    connection: sa.Connection, comparison: Comparison, account: str
) -> tuple[list[RowWrite], list[int]]:
    """Return the rows that a table's open changes concern, as the copy has them now, and moved changes.

    If the table's mode does not write the CRM any more, only ids of records created at Enerflo are returned.
    The second result has the numbers of changes whose column has neither the value that the plan saw nor the
    planned value, and of deletions whose row is not as the plan saw it. A column that already has the planned
    value is not written again.

    A row that the copy does not have, or has twice, is left out, as is a deletion where no column marks one.
    """
    values = {"account": account, "table": str(comparison.name), "to_crm": "to_crm" in comparison.mode.writes}
    writes: dict[tuple[str, Any], RowWrite] = {}
    unmarked, moved = _unmarked(connection, comparison, values, writes)
    for op, name in connection.exec_driver_sql(_GROUPS, values).all():
        if op == "delete":
            mark = _mark(comparison)
            if mark is None:
                continue
            (name, value), says = mark, f"case when {as_planned(comparison)} then 'before' else 'else' end"
        else:
            if name not in comparison.live.columns:
                continue
            value = column_value(comparison.live.columns[name], "w.after", zone_of(comparison, name))
            says = _says(comparison, name)
        query = _new_rows(comparison, value) if op == "insert" else _rows_there(comparison, value, says)
        chosen = {**values, "op": op, "column": None if op == "delete" else name}
        for row in connection.exec_driver_sql(query, chosen):
            if row.number in unmarked:
                continue
            if row.says != "before":
                if row.says != "after":
                    moved.append(row.number)
                continue
            key = tuple(row[6:])
            write = writes.setdefault(
                (op, row.key), RowWrite(op, [], key, row.key, row.row_hash, row.key_hash)
            )
            write.numbers.append(row.number)
            write.values[name] = row.value
    for write in writes.values():
        if write.op == "insert":
            pairs = zip(comparison.mapping.key_columns, write.key, strict=True)
            write.values = dict(pairs) | write.values
    return list(writes.values()), moved


def _unmarked(
    connection: sa.Connection,
    comparison: Comparison,
    values: Mapping[str, Any],
    writes: dict[tuple[str, Any], RowWrite],
) -> tuple[set[int], list[int]]:
    """Add the marks that an undo takes away to ``writes``; return their changes, and those that moved."""
    parts = unmarked_rows(connection, comparison)
    if parts is None:
        return set(), []
    column = parts.pop("column")
    query = _UNMARKED.substitute(
        parts,
        name=comparison.name,
        crm=comparison.crm,
        on=of_key(comparison, "w.key"),
        counts=comparison.counts("t"),
        keys=", ".join(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
    )
    changes, moved = set[int](), list[int]()
    for row in connection.exec_driver_sql(query, values):
        changes.add(row.number)
        if row.as_left:
            write = RowWrite("update", [], tuple(row[7:]), row.key, row.row_hash, row.key_hash)
            write = writes.setdefault(("unmark", row.key), write)
            write.numbers.append(row.number)
            write.values[column] = row.value
        elif not row.lives:
            moved.append(row.number)
    return changes, moved


def given_away(connection: sa.Connection, comparison: Comparison, account: str) -> list[int]:
    """Return the numbers of open ids whose row says something else than was sent, while another row says it.

    An import gave the row's key to another one before the id was written.
    """
    values = {"account": account, "table": str(comparison.name), "to_crm": "to_crm" in comparison.mode.writes}
    links = [join for join in comparison.joins if join.crm_name not in comparison.mapping.key_columns]
    if not links:
        return []
    cases = " ".join(
        f"when {literal(one.name)} then nullif({shown(comparison, one.name)}, 'null')"
        for one in comparison.fields
        if one.name not in comparison.mapping.key_columns
    )
    query = _GIVEN_AWAY.substitute(
        name=comparison.name,
        crm=comparison.crm,
        on=of_key(comparison, "w.key"),
        counts=comparison.counts("t"),
        unlinked=" and ".join(join.is_open("t") for join in links),
        differs=_DIFFERS.substitute(says=f"case c.field {cases} else nullif(c.source_value, 'null') end"),
    )
    return list(connection.exec_driver_sql(query, values).scalars())


def unfit_changes(connection: sa.Connection, comparison: Comparison, account: str) -> dict[int, str]:
    """Return the numbers of open changes whose value does not fit their column's type, with the reasons.

    If a value of a new row does not fit, the changes of all its columns are returned.
    """
    values = {"account": account, "table": str(comparison.name), "to_crm": "to_crm" in comparison.mode.writes}
    unfit: dict[int, str] = {}
    for op, name in connection.exec_driver_sql(_GROUPS, values).all():
        if op == "delete" or name not in comparison.live.columns:
            continue
        converted = [column_value(comparison.live.columns[name], "w.after", zone_of(comparison, name))]
        if op == "insert":
            converted += [typed_key(comparison, "w.key", one) for one in comparison.mapping.key_columns]
        query = (
            f"select {', '.join(converted)} from sync.crm_changes w"  # noqa: S608 - quoted names
            " where w.number = any(%(numbers)s::bigint[])"
        )
        numbers = connection.exec_driver_sql(_NUMBERS, {**values, "op": op, "column": name}).scalars().all()
        for number, reason in _refused(connection, query, numbers).items():
            of_row = [number]
            if op == "insert":
                of_row += connection.exec_driver_sql(_OF_ONE_ROW, {**values, "number": number}).scalars()
            unfit |= dict.fromkeys(of_row, reason)
    return unfit


def _refused(connection: sa.Connection, query: str, numbers: Sequence[int]) -> dict[int, str]:
    """Return the numbers of changes that a query cannot convert, each with the reason, by bisection."""
    if not numbers:
        return {}
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(query, {"numbers": list(numbers)}).all()
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error) or not refuses_a_row(error.orig):
            raise
        if len(numbers) == 1:
            return {numbers[0]: why_refused(error.orig)}
        middle = len(numbers) // 2
        halves = (_refused(connection, query, half) for half in (numbers[:middle], numbers[middle:]))
        return {number: why for half in halves for number, why in half.items()}
    return {}


def _mark(comparison: Comparison) -> tuple[str, str] | None:
    """Return the column that marks a row as deleted and its value as SQL; None if no column does."""
    name = own_mark(comparison.mapping, comparison.live, frozenset(comparison.live.columns))
    return None if name is None else (name, marking_value(comparison, name))


def _says(comparison: Comparison, name: str) -> str:
    """Return whether a row ``t`` has the value before the plan, the planned value, or another."""
    now = f"nullif({shown(comparison, name)}, 'null')"
    after = f"nullif({as_written(comparison, name, 'w.after')}, 'null')"
    field = next((one for one in comparison.fields if one.name == name), None)
    # Compared as mapped: a column may store less of a value than was written.
    alike = "" if field is None else f" or {field.same_shown(now, 'w.after', in_crm=True)}"
    unread = f"when {is_unread(name)} then 'else'" if UNREAD in comparison.live.columns else ""
    return (
        f"case {unread} when {now} is not distinct from nullif(w.copy_value, 'null') then 'before'"
        f" when {now} is not distinct from {after}{alike} then 'after' else 'else' end"
    )


def _rows_there(comparison: Comparison, value: str, says: str) -> str:
    """Return the query of changes whose row the copy has exactly once."""
    keys = ", ".join(f"t.{quoted(name)}" for name in comparison.mapping.key_columns)
    on, counts = of_key(comparison, "w.key"), comparison.counts("t")
    return f"""
    /* enerflo-sync carry {comparison.name}: rows that are to be changed */
    select w.number, w.key::text as key, {says} as says, {value} as value,
      t.{ROW_HASH} as row_hash, t.{KEY_HASH} as key_hash, {keys}
    from sync.crm_changes w join {comparison.crm} t on {on} and {counts}
    where {_OPEN} and w.op = %(op)s and w."column" is not distinct from %(column)s::text
      and (select count(*) from {comparison.crm} t where {on} and {counts}) = 1
    order by w.number
    """  # noqa: S608 - quoted names


def _new_rows(comparison: Comparison, value: str) -> str:
    keys = ", ".join(typed_key(comparison, "w.key", name) for name in comparison.mapping.key_columns)
    return f"""
    /* enerflo-sync carry {comparison.name}: rows that are to be made */
    select w.number, w.key::text as key, 'before' as says, {value} as value,
      null::bigint as row_hash, null::bigint as key_hash, {keys}
    from sync.crm_changes w
    where {_OPEN} and w.op = %(op)s and w."column" = %(column)s::text
    order by w.number
    """  # noqa: S608 - quoted names


def numbers_of(writes: Sequence[RowWrite]) -> list[int]:
    """Return the numbers of the changes in the writes."""
    return [number for write in writes for number in write.numbers]
