"""Carries open changes to Salesforce without a plan, after it was away or its daily requests were used up."""

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
/* enerflo-sync carry: the present state of changes */
select case state when 'open' then case when acknowledged_at is null then 'open' else 'taken' end
  when 'arrived' then state else 'unmade' end
from sync.crm_changes where account = :account and number = any(:numbers)
""")


class CarryReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of the changes that were open, in counts.

    :param taken: changes that Salesforce accepted; they count as on their way until the copy shows them.
    :param unmade: changes that moved, were parked, or are now mapped differently; the plan's page and the
        ledger show the reasons.
    :param open: changes that still wait; ``stopped`` is the reason.
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
    """Carry the account's open changes to Salesforce, and return their outcomes.

    :raises RetriableError: a plan or apply is running, or Salesforce or the warehouse is away.
    :raises ConfigurationError: the login, the object, or the mapping is wrong.
    """
    with warehouse_errors("carry"), engine.connect() as connection, alone(connection, account):
        with connection.begin():
            fold = case_folding(connection)
            found = live_comparisons(connection, config, account, fold, all_tables=True)
            comparisons = [comparison for comparison in found if comparison.mapping.to_salesforce is not None]
            numbers = [
                number
                for comparison in comparisons
                for record in open_changes(connection, comparison, account)
                for number in record.numbers
            ]
            record_arrivals(connection, comparisons, account)
        stopped = carry_to_salesforce(connection, salesforce, config, comparisons, account, "carry", clock)
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
