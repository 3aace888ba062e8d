"""Records whose CRM rows disappeared together with many others: the plan draws no conclusion from that."""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import jsonb_object, literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import difference_key
from enerflo_sync.reconcile.report import Cause, GoneAtOnce

# These records are deleted from the mismatched rows, so that no question, new row or adopted row results from
# them.
_LEAVE = Template(f"""
/* enerflo-sync plan $name: records whose rows went all at once */
with gone as (delete from $mismatched o where o.in_enerflo and not o.in_crm returning o.*)
insert into pg_temp.decided
  (outcome, table_name, key, enerflo_key, op, policy, cause, rule, reason, observed_at)
select 'keep', $table, $key, $record, 'insert', 'enerflo', '{Cause.GONE_AT_ONCE}', '{Cause.GONE_AT_ONCE}',
       $reason, o.observed_at
from gone o
""")  # noqa: S608 - constants


def leave_gone(connection: sa.Connection, comparison: Comparison, gone: GoneAtOnce | None) -> None:
    """Leave every record that the table lacks as it is, if many of the table's rows disappeared at once.

    :param gone: the loss of rows that the reconciliation doubted; None if it doubted nothing.
    """
    if gone is None:
        return
    statement = _LEAVE.substitute(
        name=comparison.name,
        mismatched=comparison.mismatched,
        table=literal(comparison.name),
        key=difference_key(comparison),
        record=jsonb_object((name, f"o.p{n}") for n, name in enumerate(comparison.mirror_key, 1)),
        reason=literal(f"{gone.sentence} Nothing is concluded until the table stays so for an hour."),
    )
    connection.exec_driver_sql(statement, {})
