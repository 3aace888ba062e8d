"""Whether a plan that needed nobody when it was made still needs nobody under the present approval rules."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.plan.approval import approval_reasons
from enerflo_sync.plan.backfilled import note_backfilled
from enerflo_sync.plan.report import PlanReport

# What the rules look at while a plan is made, for a plan that is stored.
_STORED = """
/* enerflo-sync apply: what is left to do of a plan */
create temporary table planned as select *, false as from_backfill from sync.plan_changes
where account = {account} and plan_hash = {plan_hash} and state in ('planned', 'sent')
"""
_DROP = "/* enerflo-sync apply: it is needed no more */ drop table pg_temp.planned"


def why_a_person_is_needed(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> list[str]:
    """Return why a stored plan waits for a person now, in sentences; none where it need not."""
    view = _STORED.format(account=literal(plan.account), plan_hash=literal(plan.plan_hash))
    # With parameters, though there are none: a literal is written for such a statement.
    connection.exec_driver_sql(view, {})
    note_backfilled(connection, plan.account)
    reasons = approval_reasons(connection, config, plan.account)
    connection.exec_driver_sql(_DROP)
    return reasons
