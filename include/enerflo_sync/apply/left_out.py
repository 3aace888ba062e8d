"""Rows that a statement wrote without an error and that the CRM's table does not have afterwards.

A table may pass over a write (its trigger returns null, or writes nothing although it returns the row; a
policy shows a row that it does not let us write), put back the former value, or have a view that does not
show the new row. Each check runs after the statement, so that an edit that another session committed
meanwhile is seen as an edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.agreed.soft_deletes import removal_condition, return_condition
from enerflo_sync.agreed.written import not_kept, of_key
from enerflo_sync.apply.crm_statements import insert_condition, update_condition
from enerflo_sync.crm.names import literal
from enerflo_sync.crm.where import (
    LEAVES,
    LEAVES_VIEW,
    NEW_MARKED,
    NEW_OUTSIDE,
    NEW_UNSEEN,
    named_columns,
)
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.bulk import driver_connection

NOT_KEPT = "the CRM's table keeps the value from before, by a trigger or rule of its own"

# Runs after the triggers that may fill columns which the insert left out.
_MADE_OUTSIDE = Template(f"""
/* enerflo-sync apply $name: new rows that do not count, or that a view does not show */
select distinct p.key::text from sync.plan_changes p
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.op = %(op)s
  and p.position between %(since)s and %(until)s and p.state = '{Decision.APPLIED}' and p.done_at = %(now)s
  and not exists (select from $crm t where $on and $inside)
""")  # noqa: S608 - a constant

_OF_PLAN = """p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table
    and p.op = %(op)s and p.direction = 'to_crm' and p.state = any(%(states)s) and p.done_at = %(now)s"""

_CHANGES = f"""select p.key, p.enerflo_key, p.before, p.after, p.row_digest from sync.plan_changes p
  where {_OF_PLAN} and p.position between %(first)s and %(last)s
    and p.field is not distinct from %(field)s::text"""  # noqa: S608 - a constant

_RECORDS = f"""select p.key, p.enerflo_key, jsonb_object_agg(p.field, p.after) as v from sync.plan_changes p
  where {_OF_PLAN} and p.position between %(since)s and %(until)s
  group by p.key, p.enerflo_key
  having min(p.position) between %(first)s and %(last)s
    and array_agg(p.field order by p.field) = %(fields)s::text[]"""  # noqa: S608 - a constant

_GENERATED = sa.text("""
/* enerflo-sync apply: whether the table works out a column that chooses rows */
select exists (
  select from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = :schema and c.relname = :table and a.attname = any(:columns) and a.attgenerated <> ''
    and not a.attisdropped)
""")

_STILL_AS_PLANNED = Template("""
/* enerflo-sync apply $name: rows that are as the plan expects and that the write did not reach */
select distinct p.key::text from ($moved) p where $condition
""")


def rows_outside(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]
) -> Sequence[str]:
    """Return the keys of rows that were just inserted and do not count, or that the view does not show."""
    mapping = comparison.mapping
    if mapping.condition is None and not mapping.deleted_when and not comparison.live.view:
        return []
    statement = _MADE_OUTSIDE.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        crm=comparison.crm,
        on=of_key(comparison, "p.key"),
        inside=comparison.counts("t"),
    )
    return _keys(connection, statement, values)


def why_outside(comparison: Comparison) -> str:
    """Return why a new row of :func:`rows_outside` may not stay."""
    if comparison.mapping.condition is not None:
        return NEW_OUTSIDE
    return NEW_MARKED if comparison.mapping.deleted_when else NEW_UNSEEN


def why_left(comparison: Comparison) -> str:
    """Return why a change of :func:`rows_that_left` is not made."""
    chosen = comparison.mapping.condition is not None or comparison.mapping.deleted_when
    return LEAVES if chosen else LEAVES_VIEW


def rows_that_left(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]
) -> Sequence[str]:
    """Return the keys of rows that were updated just now and that do not count any more, or are not shown.

    A plan asks about those that its own values take out; here triggers and views have had their say.

    :param values: as :func:`rows_passed_over` takes them.
    """
    if values["op"] != "update" or not _may_leave(connection, comparison, values["field"]):
        return []
    there = f"{of_key(comparison, 'p.key')} and {comparison.counts('t')}"
    statement = _STILL_AS_PLANNED.substitute(
        name=comparison.name,
        moved=_CHANGES.replace("$table", literal(comparison.name)),
        condition=f"not {_of_a_row(comparison, there)}",
    )
    return _keys(connection, statement, {**values, "states": [Decision.APPLIED]})


def _may_leave(connection: sa.Connection, comparison: Comparison, column: str) -> bool:
    """Return whether a write to a column can decide that its row does not count any more.

    Without this test each write to a table with ``where`` would look its rows up once more.
    """
    mapping, live = comparison.mapping, comparison.live
    choosing = {*mapping.deleted_when}
    if mapping.condition is not None:
        choosing.update(named_columns(mapping.condition, live))
    if live.view or (choosing and live.has_own_rules):
        return True
    if not choosing.isdisjoint({column, comparison.updated_at}):
        return True
    named = {"schema": live.schema, "table": live.name, "columns": sorted(choosing)}
    return bool(choosing) and bool(connection.execute(_GENERATED, named).scalar_one())


def rows_passed_over(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any], *, undone: bool
) -> Sequence[str]:
    """Return the keys of rows that count as moved, or removed, and that are still as the plan expects.

    Only a trigger, rule or policy of the table can pass over a write.

    :param values: as the statement got them that recorded the outcomes.
    :param undone: whether the plan is an undo.
    """
    op = values["op"]
    if not comparison.live.has_own_rules:
        return []
    match op:
        case "insert" if undone:
            moved, condition = _RECORDS, return_condition(connection, comparison, values)
        case "insert":
            moved, condition = _RECORDS, insert_condition(comparison, values["fields"])
        case "update":
            moved, condition = _CHANGES, _of_a_row(comparison, update_condition(comparison, values["field"]))
        case _:
            due = removal_condition(connection, comparison, undone=undone)
            moved, condition = _CHANGES, _of_a_row(comparison, due)
    statement = _STILL_AS_PLANNED.substitute(
        name=comparison.name,
        moved=moved.replace("$table", literal(comparison.name)),
        condition=condition,
    )
    states = [Decision.MOVED, Decision.APPLIED] if op == "delete" else [Decision.MOVED]
    return _keys(connection, statement, {**values, "states": states})


def rows_put_back(
    connection: sa.Connection, comparison: Comparison, values: Mapping[str, Any]
) -> Sequence[str]:
    """Return the keys of rows that were updated just now and that have the former value after all.

    :param values: as :func:`rows_passed_over` takes them.
    """
    if values["op"] != "update" or not comparison.live.has_own_rules:
        return []
    kept = f"{of_key(comparison, 'p.key')} and {not_kept(comparison, values['field'], 'p')}"
    statement = _STILL_AS_PLANNED.substitute(
        name=comparison.name,
        moved=_CHANGES.replace("$table", literal(comparison.name)),
        condition=_of_a_row(comparison, kept),
    )
    return _keys(connection, statement, {**values, "states": [Decision.APPLIED]})


def _of_a_row(comparison: Comparison, condition: str) -> str:
    return f"exists (select from {comparison.crm} t where {condition})"


def _keys(connection: sa.Connection, statement: str, values: Mapping[str, Any]) -> Sequence[str]:
    return [key for (key,) in driver_connection(connection).execute(statement, dict(values))]
