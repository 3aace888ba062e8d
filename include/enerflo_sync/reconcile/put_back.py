"""Values of the CRM that a load of the table put back in place of what our plans had written.

A job that loads the table anew, from a source that does not get our writes, brings the values of before. With
new times for all rows they look like edits, and would take back at Enerflo what was changed there.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.reconcile.agreed_pairs import same_as_agreed
from enerflo_sync.reconcile.compare import Comparison

# Fewer rows than this that were written within one minute may be the work of people.
LOADED_ROWS = 10

# What was sent to Enerflo since our write is the CRM's own value.
_REPLACED = Template("""exists (
      select from sync.ledger l
      where l.account = %(account)s and l.table_name in ($tables) and l.key = o.key and l.field = f.field
        and l.direction = 'to_crm' and l.op = 'update' and l.decision = 'applied' and $same
        and not exists (
          select from sync.ledger e
          where e.account = l.account and e.table_name = l.table_name and e.key = l.key and e.field = l.field
            and e.direction = 'to_enerflo' and e.decision = 'applied' and e.ledger_id > l.ledger_id))""")

# Found once for all rows: the inner query does not depend on them.
_LOADED = Template("""exists (with loads as materialized (
        select date_trunc('minute', $changed) as minute from $rows t where $changed is not null
        group by 1 having count(*) >= $many)
      select from loads l where l.minute = date_trunc('minute', o.changed_at))""")


def put_back(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` was replaced by our write and came back with many rows.

    A part of :mod:`enerflo_sync.reconcile.judge`. A time that is a day tells no load from a day's work.
    """
    updated_at = comparison.updated_at
    if updated_at is None or comparison.live.columns[updated_at].kind is Kind.DATE:
        return "false"
    replaced = _REPLACED.substitute(
        tables=comparison.names_of_table,
        same=same_as_agreed(comparison, "f.theirs", "l.old_value", in_crm=True),
    )
    loaded = _LOADED.substitute(
        changed=comparison.changed_at("t"), rows=comparison.crm_rows, many=LOADED_ROWS
    )
    return f"((v.theirs or a.account is null) and {replaced} and {loaded})"
