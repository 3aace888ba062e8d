"""Decides how to undo a plan's changes at Enerflo: a value is written back; created records stay."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.mapping import Direction, RecordKind
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.outbox.reasons import ALREADY_SO
from enerflo_sync.outbox.values import EnerfloValues
from enerflo_sync.plan.undoing import COLUMNS, UNDO, UNDONE, WRITTEN_LATER
from enerflo_sync.reconcile.compare import Comparison

_MOVED = "Enerflo says something else than the plan wrote: it moved since"
_BARRED = "Enerflo's may not be written any more (direction)"
_NEVER_CHANGED = "the table's records are created and never changed later by now (create_only)"
_NOT_OURS = "Enerflo had it before the plan wrote anything: somebody else wrote it there"
_GONE = "Enerflo has the record no longer"
_TO_ENERFLO = {Direction.BOTH, Direction.TO_ENERFLO}
_STAYS: Mapping[str, str] = {
    RecordKind.NOTES: "Enerflo's API takes no note back: delete it there by hand; the CRM's row keeps its id",
    RecordKind.LEADS: "Enerflo's API takes no lead back: close it there by hand; the CRM's row keeps its id",
}

# The created record is found by its CRM row, which stores the record's id.
_CREATED = Template(f"""
/* enerflo-sync undo $name: records that were made in Enerflo */
insert into pg_temp.decided ({COLUMNS})
select 'review', u.table_name, u.key, null, 'delete', null, r.record, null, r.row, u.policy,
       '{UNDONE}', '{UNDO}', %(reason)s, u.recorded_at
from (
  select table_name, key, min(policy) as policy, min(recorded_at) as recorded_at
  from pg_temp.undoing where table_name = %(table)s and direction = 'to_enerflo' and op <> 'update'
  group by table_name, key
) u
left join lateral (
  select case when e.account is not null then $record end as record, u.key as row
  from $rows t left join $mirror e on e.account = %(account)s and e.deleted_at is null and $linked
  where $on limit 1
) r on true
""")  # noqa: S608 - constants

_UPDATED = sa.text("""
/* enerflo-sync undo: fields that were written to Enerflo */
select distinct field from pg_temp.undoing
where table_name = :table and direction = 'to_enerflo' and op = 'update' order by 1
""")

_DECISION = f"""
/* enerflo-sync undo: the decision about a value that was written to Enerflo */
insert into pg_temp.decided ({COLUMNS})
select :outcome, :table, key, enerflo_key, 'update', field, nullif(cast(:now as jsonb), 'null'), old_value,
       case when :reason is null then old_value else new_value end, :policy, '{UNDONE}', '{UNDO}', :reason,
       recorded_at
from pg_temp.undoing
where table_name = :table and direction = 'to_enerflo' and op = 'update' and field = :field and key = :key
"""  # noqa: S608 - constants
_DECIDE = sa.text(_DECISION).bindparams(
    sa.bindparam("reason", type_=sa.Text), sa.bindparam("now", type_=JSONB), sa.bindparam("key", type_=JSONB)
)


def undo_in_enerflo(connection: sa.Connection, comparison: Comparison, account: str) -> None:
    """Decide about every change in ``undoing`` that was made at Enerflo for one mapped table."""
    table = str(comparison.name)
    stays = _STAYS.get(comparison.kind, "Enerflo's API does not take it back")
    created = _CREATED.substitute(
        name=comparison.name,
        record=jsonb_object((name, f"e.{quoted(name)}") for name in comparison.mirror_key),
        rows=comparison.crm_rows,
        mirror=comparison.mirror,
        linked=" and ".join(
            f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
        ),
        on=of_key(comparison, "u.key"),
    )
    connection.exec_driver_sql(created, {"table": table, "reason": stays, "account": account})
    same = EnerfloValues(connection).same
    for field in connection.execute(_UPDATED, {"table": table}).scalars().all():
        mapping = comparison.mapping.fields[field]
        for row in _present(connection, comparison, field, account):
            reason = None
            if not row.lives:
                reason = _GONE
            elif row.how == ALREADY_SO:
                reason = _NOT_OURS
            elif not any(same(comparison, field, row.now, made) for made in (row.new_value, row.kept_value)):
                reason = _MOVED
            elif row.written_later:
                reason = WRITTEN_LATER
            elif mapping.direction not in _TO_ENERFLO:
                reason = _BARRED
            elif comparison.mapping.create_only:
                reason = _NEVER_CHANGED
            values = {
                "table": table,
                "field": field,
                "key": row.key,
                "now": row.now,
                "policy": str(mapping.source_of_truth),
                "reason": reason,
                "outcome": "to_enerflo" if reason is None else "review",
            }
            connection.execute(_DECIDE, values)


def _present(connection: sa.Connection, comparison: Comparison, field: str, account: str) -> list[Any]:
    """Return Enerflo's present value, as plans show it, for each value that was written to a field."""
    n, one = next((n, one) for n, one in enumerate(comparison.fields, 1) if one.name == field)
    on = " and ".join(
        f"e.{quoted(name)} = (u.enerflo_key ->> {literal(name)})::bigint" for name in comparison.mirror_key
    )
    statement = (
        f"/* enerflo-sync undo {comparison.name}: what Enerflo says now */"  # noqa: S608 - names of the mapping
        " select u.key, u.new_value, coalesce(u.kept_value, u.new_value) as kept_value, u.how,"
        " u.written_later, v.now, v.lives"
        " from pg_temp.undoing u left join lateral ("
        f"   select {one.enerflo.shown} as now, lives from ("
        f"     select e.{quoted(one.mirror_column)} as e{n}, e.deleted_at is null as lives"
        f"     from {comparison.mirror} e where e.account = %(account)s and {on}) m) v on true"
        " where u.table_name = %(table)s and u.direction = 'to_enerflo' and u.op = 'update'"
        " and u.field = %(field)s"
    )
    values = {"account": account, "table": str(comparison.name), "field": field}
    return list(connection.exec_driver_sql(statement, values).all())
