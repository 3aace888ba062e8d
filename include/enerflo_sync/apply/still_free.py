"""Whether a plan that needed no approval when it was made still needs none under the present rules."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.names import literal
from enerflo_sync.plan.approval import approval_reasons
from enerflo_sync.plan.backfilled import note_backfilled
from enerflo_sync.plan.decided_plan import BY_RULE
from enerflo_sync.plan.report import PlanReport, PlanState

# The approval rules read the table ``planned``. This makes it from the changes of a stored plan. Of a
# rejected plan the refused ones count, too, because an approval after all would make them.
_STORED = """
/* enerflo-sync apply: changes of a plan that are left to make */
create temporary table planned as select *, false as from_backfill from sync.plan_changes
where account = {account} and plan_hash = {plan_hash} and state in ({states})
"""
_DROP = "/* enerflo-sync apply: it is needed no more */ drop table pg_temp.planned"

_NEEDS_A_PERSON = sa.text("""
/* enerflo-sync apply: a plan that needs a person under the present rules */
update sync.plans
set state = 'open', decided_by = null, decided_as = null, decided_at = null, needs_approval = true,
    reasons = :reasons
where account = :account and plan_hash = :plan_hash
""").bindparams(sa.bindparam("reasons", type_=JSONB))

_NEEDED_ONE = sa.text("""
/* enerflo-sync apply: a plan that a person decided about, and that needs a person under the present rules */
update sync.plans set needs_approval = true, reasons = :reasons
where account = :account and plan_hash = :plan_hash
""").bindparams(sa.bindparam("reasons", type_=JSONB))


def needs_a_person_now(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> Sequence[str]:
    """Return why a plan that needed no approval needs one under the present rules, and make it wait for it.

    So stricter rules also apply to plans that were made before.
    """
    if not _by_rule(plan) and (plan.state is not PlanState.OPEN or plan.needs_approval):
        return ()
    reasons = why_a_person_is_needed(connection, config, plan)
    if reasons:
        connection.execute(_NEEDS_A_PERSON, {**_named(plan), "reasons": reasons})
    return reasons


def under_two_persons(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> PlanReport:
    """Return the plan as the present rules have it, where they require a second person.

    One person may have approved a plan that needed nobody when it was made; under stricter rules that is one
    of two approvals.
    """
    # A plan of another mapping is not applied, and its tables may not be there.
    of_another_mapping = plan.config_hash != config.hash(plan.account)
    if not config.approval.second_person or plan.needs_approval or of_another_mapping:
        return plan
    if plan.state is PlanState.OPEN or _by_rule(plan):
        reasons = needs_a_person_now(connection, config, plan)
        return waiting(plan, reasons) if reasons else plan
    if plan.state not in {PlanState.APPROVED, PlanState.REJECTED}:
        return plan
    reasons = why_a_person_is_needed(connection, config, plan)
    if not reasons:
        return plan
    connection.execute(_NEEDED_ONE, {**_named(plan), "reasons": reasons})
    return msgspec.structs.replace(plan, needs_approval=True, reasons=reasons)


def waiting(plan: PlanReport, reasons: Sequence[str]) -> PlanReport:
    """Return a plan as it waits for a person, for these reasons."""
    return msgspec.structs.replace(
        plan, state=PlanState.OPEN, needs_approval=True, reasons=reasons, decided_by=None, decided_at=None
    )


def _by_rule(plan: PlanReport) -> bool:
    return plan.state is PlanState.APPROVED and plan.decided_by == BY_RULE


def _named(plan: PlanReport) -> dict[str, str]:
    return {"account": plan.account, "plan_hash": plan.plan_hash}


def why_a_person_is_needed(connection: sa.Connection, config: SyncConfig, plan: PlanReport) -> list[str]:
    """Return why a stored plan needs a person now, as sentences; an empty list if it does not."""
    states = "'planned', 'sent'" + (", 'refused'" if plan.state is PlanState.REJECTED else "")
    view = _STORED.format(account=literal(plan.account), plan_hash=literal(plan.plan_hash), states=states)
    # ``literal`` doubles percent signs, so the statement must be executed with parameters, even without any.
    connection.exec_driver_sql(view, {})
    note_backfilled(connection, plan.account)
    reasons = approval_reasons(connection, config, plan.account)
    connection.exec_driver_sql(_DROP)
    return reasons
