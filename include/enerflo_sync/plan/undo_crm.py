"""Decides how to undo a plan's changes to the CRM: updated values, inserted rows and deleted rows."""

from __future__ import annotations

from functools import partial
from string import Template

import psycopg
import sqlalchemy as sa

from enerflo_sync.agreed.soft_deletes import left_alone, mark_of, marks, shown_row
from enerflo_sync.agreed.whole_rows import one_of_its_key, row_digest
from enerflo_sync.agreed.written import as_written, of_key, shown
from enerflo_sync.crm.mapping import Direction
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.plan.undoing import COLUMNS, UNDO, UNDONE, WRITTEN_LATER, said_in_enerflo
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record
from enerflo_sync.warehouse.refused import refuses_a_row

_MOVED = "the CRM says something else than the plan wrote: it moved since"
_MARKED = "a row of the CRM that is marked as deleted has its key"
_GONE = "no row of the CRM has its key any more"
_NOT_SHOWN = f"{_GONE} (deleted or marked so, left out by where, or given another key)"
_REUSED = "another row of the CRM has its key by now"
_RELINKED = "its row names another record of Enerflo by now"
_BARRED = "the column of the CRM may not be written any more (direction)"
_NEVER_CHANGED = "the table''s rows are created and never changed later by now (create_only)"
_TWICE = "more than one row of the CRM has its key"
_NOT_KNOWN = "an older version made the row and did not note its other columns: somebody may have filled them"
_NOT_MARKED = "the column that marked the row as deleted is not ours to write any more (deleted_when)"
_NOT_SEEN = "nobody saw whether our write or a person marked its row, as the CRM was away just then"
_NOT_KEPT = "an older version deleted the row and kept only its mapped columns"

_TO_CRM = {Direction.BOTH, Direction.TO_CRM}

_UPDATES = Template(f"""
/* enerflo-sync undo $name: values that were written to one column of the CRM */
insert into pg_temp.decided ({COLUMNS})
select distinct case when r.reason is null then 'to_crm' else 'review' end, $table, u.key, u.enerflo_key,
       'update', u.field, case when r.reason is null then v.now else $said end, u.old_value,
       case when r.reason is null then u.old_value when t.$known is not null then v.now end, $policy,
       '{UNDONE}', '{UNDO}', r.reason, u.recorded_at
from pg_temp.undoing u left join $rows t on $on
cross join lateral (select $now as now, $written as written) v
cross join lateral (
  select case when u.rule = 'adopted' then 'the row names its record of Enerflo, and keeps its id'
    when t.$known is null then '{_NOT_SHOWN}'
    when not ($same_record) then '{_RELINKED}'
    when v.now is distinct from v.written then '{_MOVED}'
    when u.written_later then '{WRITTEN_LATER}'
    when $barred then '{_BARRED}'
    when $never_changed then '{_NEVER_CHANGED}' end as reason) r
where u.table_name = $table and u.direction = 'to_crm' and u.op = 'update' and u.field = $field
""")  # noqa: S608 - constants

# The whole row must be unchanged, unmapped columns included: what a person added since would be lost with the
# row.
_INSERTS = Template(f"""
/* enerflo-sync undo $name: rows that were made in the CRM */
insert into pg_temp.decided ({COLUMNS}, row_digest)
select case when r.reason is null then 'to_crm' else 'review' end, $table, u.key, u.enerflo_key, 'delete',
       null, case when r.reason is null then $row else $said end, case when r.reason is null then $marks end,
       case when r.reason is not null and t.$known is not null then u.key end, u.policy, '{UNDONE}',
       '{UNDO}', r.reason, u.recorded_at, u.row_digest
from (
  select u.key, u.enerflo_key, min(u.policy) as policy, min(u.recorded_at) as recorded_at,
         max(u.row_digest) as row_digest, bool_or(u.written_later) as written_later
  from pg_temp.undoing u
  where u.table_name = $table and u.direction = 'to_crm' and u.op = 'insert' group by u.key, u.enerflo_key
) u
left join lateral (select distinct on (t.$known) t.* from $rows t where $on) t on true
cross join lateral (
  select case when t.$known is null then '{_NOT_SHOWN}'
    when not ($one_of_its_key) then '{_TWICE}'
    when not ($same_record) then '{_RELINKED}'
    when u.row_digest is null then '{_NOT_KNOWN}'
    when $digest <> u.row_digest then '{_MOVED}'
    when u.written_later then '{WRITTEN_LATER}' end as reason) r
""")  # noqa: S608 - constants

_DELETES = Template(f"""
/* enerflo-sync undo $name: rows that were deleted from the CRM */
insert into pg_temp.decided ({COLUMNS})
select case when r.reason is null then 'to_crm' else 'review' end, $table, u.key, u.enerflo_key, 'insert',
       f.field, case when r.reason is not null then $said end, f.value,
       case when r.reason is null then f.value when r.here then u.key end, u.policy,
       '{UNDONE}', '{UNDO}', r.reason, u.recorded_at
from pg_temp.undoing u
cross join lateral (
  select h.lives as here, case when h.again then 'its row is in the CRM again'
    when h.lives then '{_REUSED}'
    when u.written_later then '{WRITTEN_LATER}'
    when u.new_value is not null and not h.there then '{_GONE}'
    when u.new_value is not null and not ($same_mark) then '{_NOT_MARKED}'
    when u.new_value is not null and u.kept_digest = u.row_digest then '{_NOT_SEEN}'
    when u.new_value is not null and not ($left_alone) then '{_MOVED}'
    when u.new_value is null and h.there then '{_MARKED}'
    when not u.row_kept then '{_NOT_KEPT}' end as reason
  from (
    select exists (select from $rows t where $on) as lives,
           exists (select from $rows t where $on and (u.enerflo_key is null or $same_record)) as again,
           exists (select from $crm t where $on) as there) h) r
cross join lateral (
  select null as field, null::jsonb as value where r.reason is not null
  $fields
) f
where u.table_name = $table and u.direction = 'to_crm' and u.op = 'delete'
  and (r.reason is not null or coalesce(f.value, 'null') <> 'null'
    or f.field = $first and jsonb_strip_nulls(u.old_value - $keys) = '{{}}')
""")  # noqa: S608 - constants


def undo_in_crm(connection: sa.Connection, comparison: Comparison, account: str) -> None:
    """Decide about every change in ``undoing`` that was made to one table of the CRM."""
    common = {
        "name": comparison.name,
        "table": literal(comparison.name),
        "crm": comparison.crm,
        "rows": comparison.crm_rows,
        "known": quoted(comparison.mapping.key_columns[0]),
        "on": of_key(comparison, "u.key"),
        "same_record": names_record(comparison, "t", "u.enerflo_key"),
    }
    values = {"account": account}
    for field in _written_fields(connection, comparison):
        mapping = comparison.mapping.fields.get(field)
        written = partial(
            _UPDATES.substitute,
            common,
            field=literal(field),
            policy=literal(mapping.source_of_truth) if mapping is not None else "u.policy",
            now=shown(comparison, field),
            said=said_in_enerflo(comparison, field, "u.enerflo_key"),
            barred=str(mapping is not None and mapping.direction not in _TO_CRM).lower(),
            never_changed=str(comparison.mapping.create_only).lower(),
        )
        try:
            with connection.begin_nested():
                statement = written(written=as_written(comparison, field, "u.new_value"))
                connection.exec_driver_sql(statement, values)
        except sa.exc.DBAPIError as error:
            if not isinstance(error.orig, psycopg.Error) or not refuses_a_row(error.orig):
                raise
            # The column's type changed since, and the plan's value does not fit it. So the row cannot have
            # that value, and the values are compared as the plan stored them.
            connection.exec_driver_sql(written(written="u.new_value"), values)
    mark = mark_of(connection, comparison)
    inserts = _INSERTS.substitute(
        common,
        row=shown_row(comparison, mark),
        marks=marks(comparison, mark),
        digest=row_digest(comparison),
        one_of_its_key=one_of_its_key(comparison),
        said=said_in_enerflo(comparison, None, "u.enerflo_key"),
    )
    connection.exec_driver_sql(inserts, values)
    restored = _restored(comparison, mark)
    deletes = _DELETES.substitute(
        common,
        said=said_in_enerflo(comparison, None, "u.enerflo_key"),
        fields="\n  ".join(restored.values()),
        first=literal(next(iter(restored))),
        same_mark="false" if mark is None else f"jsonb_exists(u.new_value, {literal(mark)})",
        left_alone=left_alone(comparison, "u.key", "u.kept_digest"),
        keys=f"array[{', '.join(literal(name) for name in comparison.mapping.key_columns)}]",
    )
    connection.exec_driver_sql(deletes, values)


def _written_fields(connection: sa.Connection, comparison: Comparison) -> list[str]:
    query = sa.text(
        "select distinct field from pg_temp.undoing"
        " where table_name = :table and direction = 'to_crm' and op = 'update' order by 1"
    )
    return list(connection.execute(query, {"table": str(comparison.name)}).scalars())


def _restored(comparison: Comparison, mark: str | None) -> dict[str, str]:
    """Return by column the selects of what the plan shows of a restored row: mapped columns and Enerflo's id.

    The apply restores the whole row, from the copy that the undone plan stored; or it removes ``mark`` from
    the row.
    """
    keys = set(comparison.mapping.key_columns)
    selects = {
        field.name: f"nullif(u.old_value -> {literal(field.name)}, 'null')"
        for field in comparison.fields
        if field.name not in keys
    }
    for column, mirror in comparison.mapping.join_columns.items():
        if column not in keys and mirror in comparison.mirror_key:
            selects.setdefault(column, f"u.enerflo_key -> {literal(mirror)}")
    if mark is not None:
        selects.setdefault(mark, f"case when u.new_value is not null then u.old_value -> {literal(mark)} end")
    return {
        column: f"union all select {literal(column)}, {value} where r.reason is null"
        for column, value in selects.items()
    }
