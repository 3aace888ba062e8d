"""Values of a CRM in another database that became another one when we wrote them.

A trigger of the CRM's table may make another value of ours. Nobody knows that it was no person, so the change
is parked. For the same reason the value is no edit that goes to Enerflo.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

# Why such a change is parked.
NOT_KEPT = (
    "the row was written, and does not say so: a trigger of the CRM's table undoes or changes it, a person"
    " did, or the row is read from a copy that lags"
)

# The CRM's clock may be ahead of ours by as much: a later edit has a later time.
_CLOCKS = "interval '1 minute'"

_REWRITTEN = Template(f"""((v.theirs or a.account is null) and exists (
      select from sync.ledger l
      where l.account = %(account)s and l.table_name in ($tables) and l.key = o.key and l.field = f.field
        and l.direction = 'to_crm' and l.op = 'update' and l.decision = 'parked' and l.reason = $reason
        and (a.account is null or a.agreed_at < l.recorded_at)
        and (o.changed_at is null or o.changed_at <= l.recorded_at + {_CLOCKS})))""")


def rewritten(comparison: Comparison) -> str:
    """Return whether the CRM's value of ``f.field`` is what became of our write, as far as its time tells.

    A part of :mod:`enerflo_sync.reconcile.judge`. False of tables in the warehouse, where it is known what a
    trigger makes of a value, and of those that another tool writes.
    """
    if not comparison.mapping.is_carried:
        return "false"
    return _REWRITTEN.substitute(tables=comparison.names_of_table, reason=literal(NOT_KEPT))
