"""Approval: a person approves or rejects plans and parts of them; refusals that still hold."""

from __future__ import annotations

from contextlib import ExitStack

from enerflo_sync.apply.still_free import under_two_persons
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.plan.decided_plan import (
    WHOLE,
    approve_plan,
    hold_plan,
    reject_plan,
    withdraw_approval,
)
from enerflo_sync.plan.earlier_decisions import decided_words, require_no_new_no, require_undecided
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.reopen import Refusal, WhichRefusals, reopen, standing_refusals
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.plan.second_person import FirstApproval, first_approval, needs_two
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import server_time, warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_approve(
    context: AccountContext, plan_hash: str, *, by: str, part: Part = WHOLE, undecided: bool = False
) -> PlanReport:
    """Approve a waiting plan, or a part of it, without applying it yet.

    If two persons have to approve the plan, it keeps waiting after the first approval.

    :param undecided: refuse if somebody decided about the plan before.
    :raises ConflictError: somebody decided before, or rejected the plan just now; or the second approval is
        missing, and this is the first person again.
    """
    require_migrated(context.engine)
    with warehouse_errors("approve"), context.engine.begin() as connection:
        known = read_plan(connection, context.account, plan_hash, counted=False)
        plan = hold_plan(connection, context.account, plan_hash)
        if undecided:
            require_undecided(plan)
        require_no_new_no(known, plan)
        plan = under_two_persons(connection, context.config, plan)
        approve_plan(connection, plan, by, server_time(connection), config=context.config, part=part)
        return read_plan(connection, context.account, plan.plan_hash)


def read_first_approval(context: AccountContext, plan_hash: str) -> tuple[PlanReport, FirstApproval | None]:
    """Return a stored plan and the first of its two approvals; None if one is enough, or nobody approved yet.

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
    wait: bool = True,
) -> PlanReport:
    """Reject a plan, or a part of it (:func:`enerflo_sync.plan.decided_plan.reject_plan`).

    A person may also reject an approved plan as long as none of its changes was made or tried. Then the
    approval is withdrawn. If only a part is rejected, the rest of the plan waits again.

    :param undecided: refuse if somebody decided about the plan before; such an approval does not count.
    :param wait: if the plan is approved, wait until no plan or apply of the account is running, half an hour
        at most.
    :raises ConflictError: somebody decided about it before.
    :raises ConfigurationError: it can no longer be rejected; or it is approved, a plan or apply is running,
        and ``wait`` is false.
    """
    require_migrated(context.engine)

    def reject(plan: PlanReport) -> PlanReport:
        if undecided:
            require_undecided(plan)
        return reject_plan(
            connection,
            context.account,
            plan_hash,
            who=by,
            reason=reason,
            now=server_time(connection),
            config=context.config,
            part=part,
        )

    rejected: PlanReport | None = None
    with ExitStack() as held:
        held.enter_context(warehouse_errors("reject"))
        connection = held.enter_context(context.engine.connect())
        with connection.begin():
            plan = hold_plan(connection, context.account, plan_hash)
            if by is None or plan.state is not PlanState.APPROVED:
                rejected = reject(plan)
        if rejected is None:
            try:
                held.enter_context(alone(connection, context.account, wait=wait))
            except RetriableError:
                raise _may_be_written_now(plan) from None
            with connection.begin():
                plan = hold_plan(connection, context.account, plan_hash)
                rejected = reject(withdraw_approval(connection, plan))
    run_seal(context)
    return rejected


def _may_be_written_now(plan: PlanReport) -> ConfigurationError:
    return ConfigurationError(
        f"it is {decided_words(plan)}, and a plan or an apply of the account is running: it may be written"
        " now.",
        where=f"plan {plan.plan_hash[:12]}",
        next_step="Reject it again when that has ended; what is written by then, an undo takes back.",
    )


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
