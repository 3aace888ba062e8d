"""Undo: make a plan that reverses what an applied plan wrote."""

from __future__ import annotations

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.plan.report import PlanReport
from enerflo_sync.plan.undo import make_undo
from enerflo_sync.warehouse.revision import require_migrated


def run_undo(context: AccountContext, plan_hash: str) -> PlanReport:
    """Make a plan that reverses an applied plan (:func:`enerflo_sync.plan.undo.make_undo`)."""
    require_migrated(context.engine)
    return make_undo(context.engine, context.config, context.account, plan_hash)
