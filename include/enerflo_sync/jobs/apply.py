"""Apply: make exactly the changes of a plan, and verify them."""

from __future__ import annotations

from collections.abc import Callable

from enerflo_sync.apply.apply_plan import Approval, Systems, apply_plan
from enerflo_sync.apply.report import ApplyReport
from enerflo_sync.apply.verify import Verification, verify_plan
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import require_trusted, run_copy
from enerflo_sync.jobs.quality import judge_new_orders
from enerflo_sync.plan.decided_plan import WHOLE
from enerflo_sync.plan.parts import Part
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_apply(
    context: AccountContext,
    plan_hash: str,
    *,
    approved_by: str | None = None,
    part: Part = WHOLE,
    run_id: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ApplyReport:
    """Apply a plan (:func:`enerflo_sync.apply.apply_plan.apply_plan`)."""
    require_migrated(context.engine)
    with warehouse_errors("apply"), context.engine.connect() as connection:
        # Read the plan before the copy, which may take minutes: somebody may reject the plan meanwhile.
        known = read_plan(connection, context.account, plan_hash, counted=False)
    require_trusted(context)
    # Changes are sent to Enerflo only if the CRM still has their values, so bring its copies up to date.
    run_copy(context, progress=progress)
    # A poll may have read meanwhile what makes a check hold an order of the plan.
    judge_new_orders(context)
    return apply_plan(
        context.engine,
        Systems(lambda: context.client, context.crm, lambda: context.salesforce),
        context.config,
        context.account,
        plan_hash,
        Approval(approved_by, part, known),
        clock=context.clock,
        rng=context.rng,
        calls=context.calls,
        run_id=run_id,
        progress=progress,
    )


def run_verify(context: AccountContext, plan_hash: str, report: ReconciliationReport) -> Verification:
    """Return how many of a plan's applied changes differ in a later reconciliation."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("verify"), context.engine.connect() as connection:
        plan = read_plan(connection, context.account, plan_hash)
        compared = [str(table.table_name) for table in report.tables]
        return verify_plan(connection, context.account, plan.plan_hash, report.reconciliation_id, compared)
