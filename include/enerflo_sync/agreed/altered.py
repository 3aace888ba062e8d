"""Values of which the CRM's table makes other ones when we write them: agreed on, and not called equal."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.agree import AgreedBy
from enerflo_sync.agreed.written import as_written, of_key, shown
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

# A pair whose halves differ by what the column's type makes of a value (a rounded number) keeps its mark.
_ALTERED = Template("""
/* enerflo-sync agree $name: values of which the CRM's table made other ones */
update sync.agreed a set agreed_by = '$altered'
from sync.plan_changes p join $crm t on $on
where p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = $table and p.field = $field
  and p.op = %(op)s and p.direction = 'to_crm' and p.position between %(first)s and %(until)s
  and p.state = 'applied' and p.done_at = %(now)s
  and a.account = p.account and a.table_name = p.table_name and a.key = p.key and a.field = p.field
  and a.agreed_by = '$push' and a.crm_value is not null and $shown is distinct from $written
""")


def note_altered(
    connection: sa.Connection, comparison: Comparison, column: str, values: Mapping[str, Any]
) -> None:
    """Mark agreed pairs of one CRM column of which the table has another value than the one that was written.

    Only a trigger, rule or view of the table can make one. Runs in the caller's transaction, after the pairs
    were stored.

    :param values: ``account``, ``plan_hash``, ``op``, the positions ``first`` and ``until``, and ``now``.
    """
    statement = _ALTERED.substitute(
        name=comparison.name,
        altered=AgreedBy.ALTERED,
        push=AgreedBy.PUSH,
        crm=comparison.crm_rows,
        on=of_key(comparison, "p.key"),
        table=literal(comparison.name),
        field=literal(column),
        shown=shown(comparison, column),
        written=as_written(comparison, column, "p.after"),
    )
    connection.exec_driver_sql(statement, dict(values))
