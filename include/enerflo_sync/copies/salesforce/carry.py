"""Carrying approved changes of a copied table to Salesforce.

An approved change is first handed over to ``sync.crm_changes``, in one transaction with plan and ledger. Then
each record is read at Salesforce, its values are compared with those that the changes expect, and only
changes that still fit are sent, on the condition that the record was not modified since that read. Before a
request the record's time of modification is stored; so after a lost answer, or a crash, reading the record
shows whether the request succeeded. The copy is the evidence of what arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.copies.salesforce.changes import open_changes
from enerflo_sync.copies.salesforce.session import NotTakenError, SalesforceSession
from enerflo_sync.copies.salesforce.table import TableCarrier
from enerflo_sync.counted import count_of
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.warehouse.alone import alone

JOB = "carrying to Salesforce"


def carry_to_salesforce(
    connection: sa.Connection,
    session: Callable[[], SalesforceSession],
    config: SyncConfig,
    comparisons: Iterable[Comparison],
    account: str,
    run_id: str,
    clock: Clock,
) -> str | None:
    """Carry the open changes of tables with ``write_to: salesforce``; return why some wait, if any do.

    It commits several times, and may be killed anywhere and run again. Without open changes nothing is
    requested from Salesforce, not even a login.

    :param connection: to the warehouse; has no open transaction.
    :param session: connects to Salesforce; called only if a change is open.
    :raises RetriableError: Salesforce is away; changes without an outcome stay open.
    :raises ConfigurationError: the login or the object is wrong.
    """
    mine = [comparison for comparison in comparisons if comparison.mapping.to_salesforce is not None]
    if not mine:
        return None
    with alone(connection, account, JOB, wait=True):
        failed: list[str] = []
        for comparison in mine:
            with connection.begin():
                waiting = open_changes(connection, comparison, account)
            if not waiting:
                continue
            try:
                carrier = TableCarrier(connection, session(), config, comparison, account, run_id, clock)
                carrier.carry(waiting)
            except NotTakenError as error:
                with connection.begin():
                    left = sum(len(one.numbers) for one in open_changes(connection, comparison, account))
                why = (
                    f"{error.what} {count_of(left, 'change')} of {comparison.name}"
                    f" {'stays' if left == 1 else 'stay'} open: run enerflo-sync carry later."
                )
                return " ".join([*failed, why])
            failed += [
                f"{error.what} It was about {id_}, whose changes of {comparison.name} stay open:"
                " look at it there."
                for id_, error in carrier.left.items()
            ]
    return " ".join(failed) or None
