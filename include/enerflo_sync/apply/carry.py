"""Carrying what is open still, without a plan: Salesforce was away, or its day's requests were used up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.clock import Clock
from enerflo_sync.copies.salesforce.carry import carry_to_salesforce
from enerflo_sync.copies.salesforce.changes import open_changes
from enerflo_sync.copies.salesforce.session import SalesforceSession
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

_NOW = sa.text("""
/* enerflo-sync carry: what became of changes */
select case state when 'open' then case when acknowledged_at is null then 'open' else 'taken' end
  when 'arrived' then state else 'unmade' end
from sync.crm_changes where account = :account and number = any(:numbers)
""")


class CarryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the changes that were open.

    :param taken: Salesforce took them; they are on their way until the copy shows them.
    :param unmade: they moved, were parked, or are mapped otherwise: the plan's page and the ledger say why.
    :param open: they wait still; ``stopped`` says why.
    """

    account: str
    taken: int
    unmade: int
    open: int
    stopped: str | None = None


def carry_open_changes(
    engine: sa.Engine,
    salesforce: Callable[[], SalesforceSession],
    config: SyncConfig,
    account: str,
    *,
    clock: Clock,
) -> CarryReport:
    """Carry the account's open changes to Salesforce, and return what became of them.

    :raises RetriableError: a plan or apply is running, or Salesforce or the warehouse is away.
    :raises ConfigurationError: the login, the object, or the mapping is wrong.
    """
    with warehouse_errors("carry"), engine.connect() as connection, alone(connection, account):
        with connection.begin():
            fold = case_folding(connection)
            found = live_comparisons(connection, config, account, fold, all_tables=True)
            plans = [plan for plan in found if plan.mapping.to_salesforce is not None]
            numbers = [
                number
                for plan in plans
                for record in open_changes(connection, plan, account)
                for number in record.numbers
            ]
            record_arrivals(connection, plans, account)
        stopped = carry_to_salesforce(connection, salesforce, config, plans, account, "carry", clock)
        with connection.begin():
            rows = connection.execute(_NOW, {"account": account, "numbers": numbers}).scalars()
            counts = Counter(rows.all())
    return CarryReport(
        account=account,
        taken=counts["taken"],
        unmade=counts["unmade"],
        open=counts["open"],
        stopped=stopped,
    )
