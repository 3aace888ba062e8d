"""Carries open changes to a CRM outside the warehouse without a plan, after it was away or took no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.clock import Clock
from enerflo_sync.copies.carry import carry_changes
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.salesforce.carry import carry_to_salesforce
from enerflo_sync.copies.salesforce.changes import open_changes
from enerflo_sync.copies.salesforce.session import SalesforceSession
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.reconcile.live import live_comparisons
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import at_one_moment, warehouse_errors

_NOW = sa.text("""
/* enerflo-sync carry: the present state of changes */
select case state when 'open' then case when acknowledged_at is null then 'open' else 'taken' end
  when 'arrived' then 'taken' else 'unmade' end
from sync.crm_changes where account = :account and number = any(:numbers)
""")
# What we write to another database ourselves is acknowledged before the write.
_WAITING = sa.text("""
/* enerflo-sync carry: changes for a CRM in another database */
select number from sync.crm_changes
where account = :account and table_name = any(:tables) and state = 'open' and ended_at is null
""")


def waiting_elsewhere(connection: sa.Connection, tables: Iterable[str], account: str) -> Sequence[int]:
    """Return the numbers of open changes of tables in another database."""
    return connection.execute(_WAITING, {"account": account, "tables": list(tables)}).scalars().all()


class CarryReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of the changes that were open, in counts.

    :param taken: changes that the CRM's database has, or that Salesforce accepted; the latter count as on
        their way until the copy shows them.
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
    crm: CrmConnections | None = None,
    clock: Clock,
) -> CarryReport:
    """Carry the account's open changes to its CRM's database or to Salesforce, and return their outcomes.

    :param crm: the CRM's own database, if its tables are not in the warehouse.
    :raises RetriableError: a plan or apply is running, or the CRM, Salesforce or the warehouse is away.
    :raises ConfigurationError: the login, the object, or the mapping is wrong.
    """
    with warehouse_errors("carry"), engine.connect() as connection, alone(connection, account):
        with at_one_moment(connection):
            fold = case_folding(connection)
            found = live_comparisons(connection, config, account, fold, all_tables=True)
            elsewhere = [comparison for comparison in found if comparison.mapping.is_carried]
            comparisons = [comparison for comparison in found if comparison.mapping.to_salesforce is not None]
            numbers = [
                number
                for comparison in comparisons
                for record in open_changes(connection, comparison, account)
                for number in record.numbers
            ]
            numbers += waiting_elsewhere(connection, (str(one.name) for one in elsewhere), account)
            record_arrivals(connection, [*elsewhere, *comparisons], account)
        if crm is not None:
            carry_changes(connection, crm, config, elsewhere, account, "carry")
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
