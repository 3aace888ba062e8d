"""Plan: decide about every difference, and store the decisions under a hash."""

from __future__ import annotations

from collections.abc import Callable

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import require_trusted
from enerflo_sync.jobs.quality import judge_new_orders
from enerflo_sync.jobs.reconcile import run_reconcile
from enerflo_sync.plan.make import make_plans
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_plan(
    context: AccountContext, *, progress: Callable[[str, int, int], None] | None = None
) -> list[PlanReport]:
    """Reconcile, and decide about every difference (:func:`enerflo_sync.plan.make.make_plans`).

    Returns one plan, or two if only some of the changes wait for a person. First checks new change orders
    (:func:`enerflo_sync.jobs.quality.judge_new_orders`). Never reads Enerflo, and writes only its own tables.
    """
    require_trusted(context)
    judge_new_orders(context)
    report = run_reconcile(context, progress=progress)
    return make_plans(
        context.engine, context.config, context.account, report.reconciliation_id, progress=progress
    )


def read_stored_plan(context: AccountContext, plan_hash: str) -> PlanReport:
    """Return a plan in its present state (:func:`enerflo_sync.plan.reads.read_plan`)."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("plan"), context.engine.connect() as connection:
        return read_plan(connection, context.account, plan_hash)
