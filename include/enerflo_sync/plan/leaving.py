"""Changes that would take their CRM row out of ``where``, or mark it as deleted: a person decides.

After such a write the row does not count any more: no reconciliation compares it again, and no later value of
Enerflo reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from typing import Any

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.written import column_value, of_key, zone_of
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.where import named_columns
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.refused import refuses_a_row

OUTSIDE = (
    "its row would stand outside where, and never be compared again: make the change in the CRM, or change"
    " where"
)
DELETED = (
    "its row would count as deleted (deleted_when), and never be compared again: make the change in the CRM,"
    " or change deleted_when"
)

# First each change is judged alone. Then the remaining changes of a row are judged together: two values may
# take the row out although each value alone would not.
_ASK = Template("""
/* enerflo-sync plan $name: changes that would take their row out */
with due as (
  select d.key, $field as field, jsonb_object_agg(d.field, d.after) as v from pg_temp.decided d
  where $of_table group by 1, 2
), leaving as (
  select p.key, p.field, case when $inside then $deleted else $outside end as why
  from due p join $crm t on $on and $counts
  cross join lateral (select $columns) n
  where not ($still_counts)
)
update pg_temp.decided d set outcome = 'review', before = d.source_value, source_value = d.before,
  after = null, reason = l.why
from leaving l where $of_table and d.key = l.key and d.field = coalesce(l.field, d.field)
""")

_KEYS = Template("""
/* enerflo-sync plan $name: rows whose changes choose whether they count */
select distinct d.key::text from pg_temp.decided d where $of_table
""")


def ask_about_leaving(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Make questions in ``decided`` of changes after which their CRM row would not count any more.

    A ``where`` that the CRM's own database evaluates is not judged here. There, the write itself is rolled
    back if it takes the row out.
    """
    for comparison in comparisons:
        choosing = _choosing(comparison)
        written = [*comparison.mapping.fields, *comparison.mapping.join_columns]
        if not (named := [name for name in choosing if name in written]):
            continue
        values: dict[str, Any] = {"account": account, "key": None}
        keys = _KEYS.substitute(name=comparison.name, of_table=_of_table(comparison, named))
        for field in ("d.field", "null::text"):
            statement = _statement(comparison, choosing, named, field)
            if not _judged(connection, statement, values):
                for key in connection.exec_driver_sql(keys, values).scalars().all():
                    _judged(connection, statement, {**values, "key": key})


def _judged(connection: sa.Connection, statement: str, values: dict[str, Any]) -> bool:
    """Return whether all values fit their columns; one that does not is left to the apply, which parks it."""
    try:
        with connection.begin_nested():
            connection.exec_driver_sql(statement, values)
    except sa.exc.DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error) or not refuses_a_row(error.orig):
            raise
        return False
    return True


def _choosing(comparison: Comparison) -> list[str]:
    """Return the columns that decide whether a row counts."""
    condition = comparison.mapping.condition
    named = named_columns(condition, comparison.live) if condition is not None else ()
    return list(dict.fromkeys([*named, *comparison.mapping.deleted_when]))


def _of_table(comparison: Comparison, named: Sequence[str]) -> str:
    return (
        f"d.table_name = {literal(comparison.name)} and d.outcome = 'to_crm' and d.op = 'update'"
        f" and d.field in ({', '.join(map(literal, named))})"
        " and (%(key)s::jsonb is null or d.key = %(key)s::jsonb)"
    )


def _statement(comparison: Comparison, choosing: Sequence[str], named: Sequence[str], field: str) -> str:
    columns = ", ".join(
        f"{_as_planned(comparison, name) if name in named else f't.{quoted(name)}'} as {quoted(name)}"
        for name in choosing
    )
    return _ASK.substitute(
        name=comparison.name,
        field=field,
        of_table=_of_table(comparison, named),
        crm=comparison.crm,
        on=of_key(comparison, "p.key"),
        counts=comparison.counts("t"),
        columns=columns,
        inside=comparison.inside("n"),
        still_counts=comparison.counts("n"),
        outside=literal(OUTSIDE),
        deleted=literal(DELETED),
    )


def _as_planned(comparison: Comparison, name: str) -> str:
    value = column_value(
        comparison.live.columns[name], f"(p.v -> {literal(name)})", zone_of(comparison, name)
    )
    return f"case when jsonb_exists(p.v, {literal(name)}) then {value} else t.{quoted(name)} end"
