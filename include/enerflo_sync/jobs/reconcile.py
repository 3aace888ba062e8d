"""Reconcile: compare the mirror with the CRM's tables, and give every difference its cause."""

from __future__ import annotations

from collections.abc import Callable

from enerflo_sync.gaps import schedule
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.reconcile.reconciliation import reconcile
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import last_full_at
from enerflo_sync.warehouse.engine import server_time, warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_reconcile(
    context: AccountContext, *, full: bool = False, progress: Callable[[str, int, int], None] | None = None
) -> ReconciliationReport:
    """Compare the mirror with the CRM's tables and store the result.

    Brings the copies of CRM tables in another database up to date first. Compares all rows if ``full`` is
    set or ``schedule.full_reconcile`` is due. Never reads Enerflo.

    :raises ConfigurationError: the mapping does not fit the live tables.
    """
    require_migrated(context.engine)
    run_copy(context, progress=progress)
    with warehouse_errors("reconcile"):
        full = full or _full_is_due(context)
        return reconcile(context.engine, context.config, context.account, full=full, progress=progress)


def _full_is_due(context: AccountContext) -> bool:
    """Return whether ``schedule.full_reconcile`` was due since the last full reconciliation."""
    times = context.settings.schedule
    due = schedule.cron(times.full_reconcile, times.time_zone)
    with context.engine.connect() as connection:
        last = last_full_at(connection, context.account)
        return last is None or due(last) <= server_time(connection)
