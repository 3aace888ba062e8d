"""Records that a CRM table lacks since it lost many rows at once: a plan concludes nothing from them."""

from __future__ import annotations

from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.names import jsonb_object, literal
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import difference_key
from enerflo_sync.reconcile.report import Cause, GoneAtOnce

# Taken out of the mismatched rows: no question, no new row, no adopted row can come of them.
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
    """Leave alone in ``decided`` every record that the table lacks, where its rows went all at once.

    :param gone: what the reconciliation did not believe of the table; None where it believed all.
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
