"""Approval: a person approves or rejects plans and parts of them; refusals that still hold."""

from __future__ import annotations

from enerflo_sync.apply.still_free import under_two_persons
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.plan.decided_plan import (
    WHOLE,
    approve_plan,
    hold_plan,
    reject_plan,
    require_undecided,
)
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.reopen import Refusal, WhichRefusals, reopen, standing_refusals
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.second_person import FirstApproval, first_approval, needs_two
from enerflo_sync.warehouse.engine import server_time, warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_approve(
    context: AccountContext, plan_hash: str, *, by: str, part: Part = WHOLE, undecided: bool = False
) -> PlanReport:
    """Approve a waiting plan, or a part of it, without applying it yet.

    Where two persons have to approve it, the plan goes on to wait after the first.

    :param undecided: only if nobody decided about it before.
    :raises ConflictError: somebody did; or a second person is missing, and this is the first one again.
    """
    require_migrated(context.engine)
    with warehouse_errors("approve"), context.engine.begin() as connection:
        plan = hold_plan(connection, context.account, plan_hash)
        if undecided:
            require_undecided(plan)
        plan = under_two_persons(connection, context.config, plan)
        approve_plan(connection, plan, by, server_time(connection), config=context.config, part=part)
        return read_plan(connection, context.account, plan.plan_hash)


def read_first_approval(context: AccountContext, plan_hash: str) -> tuple[PlanReport, FirstApproval | None]:
    """Return a stored plan and the first of two approvals, None where there is none or two are not needed.

    :param plan_hash: as :func:`enerflo_sync.plan.reads.read_plan` takes it.
    :raises ConfigurationError: there is no such plan.
    """
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("approve"), context.engine.connect() as connection:
        plan = read_plan(connection, context.account, plan_hash)
        return plan, first_approval(connection, plan) if needs_two(context.config, plan) else None


def run_reject(
    context: AccountContext,
    plan_hash: str,
    *,
    by: str | None,
    reason: str | None = None,
    part: Part = WHOLE,
    undecided: bool = False,
) -> PlanReport:
    """Reject a waiting plan, or a part of it (:func:`enerflo_sync.plan.decided_plan.reject_plan`).

    :param undecided: only if nobody decided about it before.
    :raises ConflictError: somebody did.
    """
    require_migrated(context.engine)
    with warehouse_errors("reject"), context.engine.begin() as connection:
        if undecided:
            require_undecided(hold_plan(connection, context.account, plan_hash))
        plan = reject_plan(
            connection,
            context.account,
            plan_hash,
            who=by,
            reason=reason,
            now=server_time(connection),
            config=context.config,
            part=part,
        )
    run_seal(context)
    return plan


def read_refusals(context: AccountContext, which: WhichRefusals | None = None) -> list[Refusal]:
    """Return the refusals that still hold, unmasked (:func:`enerflo_sync.plan.reopen.standing_refusals`)."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("reopen"), context.engine.connect() as connection:
        return standing_refusals(connection, context.config, context.account, which or WhichRefusals())


def run_reopen(context: AccountContext, which: WhichRefusals, *, by: str) -> list[Refusal]:
    """Allow refused changes to be planned again (:func:`enerflo_sync.plan.reopen.reopen`)."""
    require_migrated(context.engine)
    with warehouse_errors("reopen"), context.engine.begin() as connection:
        return reopen(connection, context.config, context.account, which, by=by)
