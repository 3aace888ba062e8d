"""What a person, or nobody in time, decides about a plan as a whole."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.sync.plan_reads import read_plan
from enerflo_sync.sync.plan_report import PlanReport, PlanState
from enerflo_sync.sync.settle import Applying, Decision, settle

# Named in the ledger where the rules let a plan pass without a person.
BY_RULE = "the approval rules"

_HOLD = sa.text("""
/* enerflo-sync apply: nobody else decides about a plan meanwhile */
select from sync.plans where account = :account and plan_hash = :plan_hash for update
""")

_DECIDE = sa.text("""
/* enerflo-sync apply: a decision about a plan */
update sync.plans
set state = :state, decided_by = :who, decided_at = :now, decision_reason = :reason
where account = :account and plan_hash = :plan_hash
""")

_REOPEN = sa.text("""
/* enerflo-sync apply: changes of a plan that was rejected before */
update sync.plan_changes set state = 'planned', reason = null, done_at = null
where account = :account and plan_hash = :plan_hash and state = 'refused'
""")


def hold_plan(connection: sa.Connection, account: str, plan_hash: str, *, counted: bool = True) -> PlanReport:
    """Return a stored plan about which nobody else decides before the caller's transaction ends.

    Waits while somebody does: a person, an application, or a later plan that takes its place.

    :param plan_hash: as :func:`.plan_reads.read_plan` takes it, and ``counted`` too.
    :raises ConfigurationError: there is no such plan, or more than one.
    """
    plan = read_plan(connection, account, plan_hash, counted=False)
    connection.execute(_HOLD, _named(plan))
    return read_plan(connection, account, plan.plan_hash, counted=counted)


def require_not_expired(plan: PlanReport, now: datetime) -> None:
    """Refuse a plan whose time is over, or that a later one took the place of; one that is approved stays so.

    :raises ConfigurationError: it has expired.
    """
    decided = plan.state in {PlanState.APPROVED, PlanState.APPLIED}
    if plan.state is PlanState.EXPIRED or (not decided and plan.expires_at <= now):
        raise ConfigurationError(
            "it has expired.",
            where=f"plan {plan.plan_hash[:12]}",
            next_step="Make a new one with enerflo-sync plan.",
        )


def approve_plan(connection: sa.Connection, plan: PlanReport, who: str, now: datetime) -> PlanReport:
    """Approve a plan in the caller's transaction, which holds it; one that was rejected before may be.

    Returns the plan with the decision; how its changes stand is not looked at again.
    A plan that was applied is left as it is.

    :param who: the person, or :data:`BY_RULE`.
    :raises ConfigurationError: the plan has expired, or nobody is named.
    """
    if not who.strip():
        raise ConfigurationError(
            "nobody is named.", where="--approve", next_step="Give the name of the person who approves."
        )
    require_not_expired(plan, now)
    if plan.state is PlanState.APPLIED:
        return plan
    if plan.state is PlanState.REJECTED:
        connection.execute(_REOPEN, _named(plan))
    return _decide(connection, plan, PlanState.APPROVED, who.strip(), now, None)


def reject_plan(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    *,
    who: str | None,
    reason: str | None,
    now: datetime,
) -> PlanReport:
    """Reject a plan that waits, in the caller's transaction, which holds it from then on.

    With a person's name each change goes into the ledger as refused. A plan that expired meanwhile stays so.

    :param who: None where nobody answered in time: the same plan may then be made again, and one that a
        person approved meanwhile is left as it is.
    :raises ConfigurationError: there is no such plan, or it is approved or applied already.
    """
    plan = hold_plan(connection, account, plan_hash)
    waits = plan.state in {PlanState.OPEN, PlanState.REJECTED}
    if plan.state is PlanState.EXPIRED or (who is None and not waits):
        return plan
    if not waits:
        raise ConfigurationError(
            f"it is {plan.state} and can no longer be rejected.",
            where=f"plan {plan.plan_hash[:12]}",
            next_step="enerflo-sync undo makes the plan that takes an applied one back.",
        )
    if who is not None:
        applying = Applying(account, plan.plan_hash, f"rejected-{plan.plan_hash[:12]}", who)
        query = sa.text(
            "select position from sync.plan_changes where account = :account and plan_hash = :plan_hash"
            " and state = 'planned'"
        )
        positions = list(connection.execute(query, _named(plan)).scalars())
        settle(
            connection, applying, positions, Decision.REFUSED, now, reason=reason or "the plan was rejected"
        )
    _decide(connection, plan, PlanState.REJECTED, who, now, reason)
    return read_plan(connection, account, plan.plan_hash)


def _decide(
    connection: sa.Connection,
    plan: PlanReport,
    state: PlanState,
    who: str | None,
    now: datetime,
    reason: str | None,
) -> PlanReport:
    values = {**_named(plan), "state": str(state), "who": who, "now": now, "reason": reason}
    connection.execute(_DECIDE, values)
    return msgspec.structs.replace(plan, state=state, decided_by=who, decided_at=now, decision_reason=reason)


def _named(plan: PlanReport) -> dict[str, str]:
    return {"account": plan.account, "plan_hash": plan.plan_hash}
