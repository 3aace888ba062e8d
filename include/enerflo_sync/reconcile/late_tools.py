"""Values of a CRM's copy that a tool may have written after a later change of ours had arrived.

A tool that tries a change again, or carries changes at once, may write an older one last. The copy then shows
a value that was handed over, with a new time, as if a person had edited it.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.agreed_pairs import same_as_agreed
from enerflo_sync.reconcile.compare import Comparison

# Changes of a column that ended without arriving, although a later change of it arrived. What we carry
# ourselves and did not send cannot come through.
_OVERTAKEN = Template("""sync.crm_changes w join sync.crm_changes n
        on n.account = w.account and n.table_name = w.table_name and n.key = w.key and n.op = w.op
          and n."column" = w."column" and n.number > w.number and n.state = 'arrived'
      where w.account = %(account)s and w.table_name = $table and w.op = 'update' and w.state <> 'arrived'
        and w.ended_at is not null $sent""")

# The first condition is worked out once for all rows, and leaves few of them to the second one.
_LATE = Template("""((v.theirs or a.account is null)
      and (o.key, f.field) in (select w.key, w."column" from $overtaken)
      and exists (select from $overtaken and w.key = o.key and w."column" = f.field and $same
        and (o.changed_at is null
          or o.changed_at <= greatest(w.ended_at, n.ended_at) + interval '$hours hours')))""")


def tool_late(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` may be an older change of ours that a tool wrote late.

    A part of :mod:`enerflo_sync.reconcile.judge`. A row that was changed more than ``late_hours`` after the
    later change arrived was not written by it; without a time of change nobody knows.
    """
    if comparison.mapping.handed_to is None:
        return "false"
    carried = comparison.mapping.is_carried or comparison.mapping.to_salesforce is not None
    sent = "and coalesce(w.acknowledged_at, w.sent_as_of) is not null" if carried else ""
    return _LATE.substitute(
        overtaken=_OVERTAKEN.substitute(table=literal(comparison.name), sent=sent),
        same=same_as_agreed(comparison, "f.theirs", "w.after", in_crm=True),
        hours=repr(float(comparison.mapping.handed_to.late_hours)),
    )
