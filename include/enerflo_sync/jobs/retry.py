"""Retry: let the next plan include parked changes again."""

from __future__ import annotations

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.plan.retry import RetryReport, RetrySelection, retry
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_retry(context: AccountContext, selection: RetrySelection, *, by: str) -> RetryReport:
    """Let the next plan include parked changes again (:func:`enerflo_sync.plan.retry.retry`)."""
    require_migrated(context.engine)
    with warehouse_errors("retry"), context.engine.begin() as connection:
        return retry(connection, context.config, context.account, selection, by)
