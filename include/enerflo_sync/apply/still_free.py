"""Whether a plan that needed no approval when it was made still needs none under the present rules."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.plan.approval import approval_reasons
from enerflo_sync.plan.backfilled import note_backfilled
from enerflo_sync.plan.report import PlanReport

# The approval rules read the table ``planned``. This makes it from the changes of a stored plan.
_STORED = """
/* enerflo-sync apply: changes of a plan that are left to make */
create temporary table planned as select *, false as from_backfill from sync.plan_changes
where account = {account} and plan_hash = {plan_hash} and state in ('planned', 'sent')
"""
_DROP = "/* enerflo-sync apply: it is needed no more */ drop table pg_temp.planned"


def why_a_person_is_needed(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> list[str]:
    """Return why a stored plan needs a person now, as sentences; an empty list if it does not."""
    view = _STORED.format(account=literal(plan.account), plan_hash=literal(plan.plan_hash))
    # ``literal`` doubles percent signs, so the statement must be executed with parameters, even without any.
    connection.exec_driver_sql(view, {})
    note_backfilled(connection, plan.account)
    reasons = approval_reasons(connection, config, plan.account)
    connection.exec_driver_sql(_DROP)
    return reasons
