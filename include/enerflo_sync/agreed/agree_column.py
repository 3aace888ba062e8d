"""Agreed pairs of one CRM column: an apply stores them as it writes the column, or afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.pair_times import times_of_column
from enerflo_sync.agreed.written import not_kept, of_key, shown
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

_PAIR = Template("""nullif($saw, 'null') as value,
       case when $theirs is distinct from nullif($saw, 'null') then coalesce($theirs, 'null') end
         as crm_value""")
_MOVED = f"""
  set value = n.value, crm_value = n.crm_value, agreed_at = %(now)s, agreed_by = '{AgreedBy.PUSH}',
      is_link = $is_link$set_record$set_time
  from ($pairs) n
  where a.account = %(account)s and a.table_name = $table and a.key = n.key and a.field = $field"""

# A part of the statement that updates one CRM column. ``made`` holds Enerflo's value as the plan saw it and
# the row's present value. Nearly every change has an agreed pair that is still at the ctid which the plan
# noted; to find it by ctid costs a tenth of a search by key. Pairs elsewhere are left to ``agree_column``.
_AT_ONCE = Template(f"agreed as (update sync.agreed a {_MOVED} and a.ctid = n.agreed_row::tid returning 1)")
_MADE = Template("select m.key, m.agreed_row, $pair$record_of_made$time_of_made from made m")

# Used when all columns are written: Enerflo's value as the plan saw it, and the row's value at that time.
_OF_COLUMN = Template("""
  select $distinct p.key, $pair, $record_of_change as enerflo_key, $changed as crm_time
  from sync.plan_changes p join $crm t on $on
  where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.op = 'update'
    and p.field = $field and p.direction = 'to_crm' and p.position between %(first)s and %(last)s
    and p.state = 'applied' and p.done_at = %(now)s and not $not_kept
""")
_AGAIN = Template(f"""
/* enerflo-sync agree $name: new values of pairs of one column */
update sync.agreed a {_MOVED} and (a.agreed_at, a.agreed_by) is distinct from (%(now)s, '{AgreedBy.PUSH}')
""")
_FIRST = Template(f"""
/* enerflo-sync agree $name: pairs of one column that had none before */
insert into sync.agreed
  (account, table_name, key, field, value, crm_value, agreed_at, agreed_by, is_link, enerflo_key, crm_time)
select %(account)s, $table, n.key, $field, n.value, n.crm_value, %(now)s, '{AgreedBy.PUSH}', $is_link,
       n.enerflo_key, n.crm_time
from ($pairs) n
on conflict (account, table_name, key, field) do nothing
""")  # noqa: S608 - constants


def column_agreed(comparison: Comparison, column: str) -> str:
    """Return the CTE ``agreed`` for a statement that updates one CRM column: it stores the new agreed pairs.

    It returns one row for each pair that is still at the ctid which the plan noted. :func:`agree_column`
    stores the other pairs later.
    """
    pair = _PAIR.substitute(saw="m.source_value", theirs="m.theirs")
    parts = _column_parts(comparison, column)
    return _AT_ONCE.substitute(parts, pairs=_MADE.substitute(parts, pair=pair))


def agree_column(
    connection: sa.Connection,
    comparison: Comparison,
    column: str,
    positions: tuple[int, int],
    values: Mapping[str, Any],
) -> None:
    """Store the agreed pairs of one CRM column after all columns are written, in the caller's transaction.

    Stores what :func:`column_agreed` could not: pairs that did not exist before or that are no longer at the
    ctid which the plan noted, and all pairs of a table whose triggers or rules may have written since.
    Enerflo's half is the value that the plan saw, so Enerflo's records are not read.

    :param positions: positions of the first and the last of these changes.
    :param values: ``account``, ``plan_hash`` and ``now``, the time at which the changes were made.
    """
    theirs = shown(comparison, column)
    parts = _column_parts(comparison, column)
    parts["pairs"] = _OF_COLUMN.substitute(
        parts,
        # Without a unique index two rows may share a key: each pair is stored once.
        distinct="" if comparison.live.unique_by(comparison.mapping.key_columns) else "distinct on (p.key)",
        pair=_PAIR.substitute(saw="p.source_value", theirs=theirs),
        # A trigger that runs after the update may restore the old value: then there is no agreed value.
        not_kept=not_kept(comparison, column, "p"),
        crm=comparison.crm_rows,
        on=of_key(comparison, "p.key"),
    )
    first, last = positions
    named = {**values, "first": first, "last": last}
    for statement in (_AGAIN, _FIRST):
        connection.exec_driver_sql(statement.substitute(parts), named)


def _column_parts(comparison: Comparison, column: str) -> dict[str, str]:
    links = {join.crm_name for join in comparison.links}
    return {
        "name": str(comparison.name),
        "table": literal(comparison.name),
        "field": literal(column),
        "is_link": str(column in links).lower(),
        # If the CRM's key is the record's id, the pair does not store that id again.
        "set_record": "" if comparison.key_is_record else ", enerflo_key = n.enerflo_key",
        "record_of_made": "" if comparison.key_is_record else ", m.enerflo_key",
        "record_of_change": "null::jsonb" if comparison.key_is_record else "p.enerflo_key",
        **times_of_column(comparison),
    }
