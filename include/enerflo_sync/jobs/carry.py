"""Carry: bring what is open still to Salesforce."""

from __future__ import annotations

from enerflo_sync.apply.carry import CarryReport, carry_open_changes
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import run_copy
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.warehouse.revision import require_migrated


def run_carry(context: AccountContext) -> CarryReport | None:
    """Carry the account's open changes (:func:`enerflo_sync.apply.carry.carry_open_changes`).

    None where no table of the account goes to Salesforce.
    """
    tables = context.config.tables_for(context.account).values()
    if not any(table.to_salesforce for table in tables):
        return None
    require_migrated(context.engine)
    run_copy(context)
    report = carry_open_changes(
        context.engine, lambda: context.salesforce, context.config, context.account, clock=context.clock
    )
    run_seal(context)
    return report
