"""Figures of an account for a monitoring system: how late it is, and how much waits."""

from __future__ import annotations

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.pages.figures import Figures, read_figures
from enerflo_sync.warehouse.engine import warehouse_errors


def run_figures(context: AccountContext) -> Figures:
    """Return the account's figures (:func:`enerflo_sync.pages.figures.read_figures`)."""
    with warehouse_errors("report pages"), context.engine.connect() as connection:
        return read_figures(connection, context.config, context.account, context.clock.now())
