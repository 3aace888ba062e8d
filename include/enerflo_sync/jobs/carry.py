"""Carry: bring approved changes that are still open to Salesforce, or to the CRM's own database."""

from __future__ import annotations

from enerflo_sync.apply.carry import CarryReport, carry_open_changes, waiting_elsewhere
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import require_trusted, run_copy
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_carry(context: AccountContext) -> CarryReport | None:
    """Carry the account's open changes (:func:`enerflo_sync.apply.carry.carry_open_changes`).

    None where no table of the account goes to Salesforce, and nothing waits for a CRM in another database.
    """
    tables = context.config.tables_for(context.account)
    if not any(table.to_salesforce for table in tables.values()) and not _waits(context):
        return None
    require_migrated(context.engine)
    require_trusted(context)
    run_copy(context)
    report = carry_open_changes(
        context.engine,
        lambda: context.salesforce,
        context.config,
        context.account,
        crm=context.crm,
        clock=context.clock,
    )
    run_seal(context)
    return report


def _waits(context: AccountContext) -> bool:
    """Return whether a change waits for a CRM in another database, without a query there, which may cost."""
    config, account = context.config, context.account
    carried = [
        name
        for name, table in config.tables_for(account).items()
        if table.is_carried and config.mode_of(account, name).writes
    ]
    if not carried:
        return False
    require_migrated(context.engine)
    with warehouse_errors("carry"), context.engine.connect() as connection:
        return bool(waiting_elsewhere(connection, carried, account))
