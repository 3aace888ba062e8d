"""Quality: check change orders and life cycles; release a held order."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.inbox.quarantine_items import Selection, decide_alone, select_items
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ledger import run_seal
from enerflo_sync.quality.check_orders import check_change_orders
from enerflo_sync.quality.gate import ORDER_ID, release
from enerflo_sync.quality.life_cycle.graph import LIFE_CYCLE_FILE, LifeCycle, load_life_cycle
from enerflo_sync.quality.life_cycle.store import read_life_cycle
from enerflo_sync.quality.report import QualityReport
from enerflo_sync.quality.store import SHOWN, read_report
from enerflo_sync.quality.suite import SUITE_FILE, Suite, load_suite
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_quality(
    context: AccountContext,
    *,
    full: bool = False,
    with_expectations: bool = True,
    with_life_cycle: bool = True,
    run_id: str | None = None,
) -> QualityReport:
    """Check change orders and life cycles (:func:`enerflo_sync.quality.check_orders.check_change_orders`)."""
    require_migrated(context.engine)
    return check_change_orders(
        context.engine,
        context.config,
        open_suite(context),
        context.account,
        clock=context.clock,
        rng=context.rng,
        life_cycle=open_life_cycle(context) if with_life_cycle else None,
        with_expectations=with_expectations,
        full=full,
        run_id=run_id,
    )


def judge_new_orders(context: AccountContext) -> None:
    """Check the change orders that changed since they were checked, if the CRM has a table of them.

    A plan and an apply begin with this, so that an order which a check fails is held before it is written.
    """
    if context.config.tables_of(context.account, RecordKind.CHANGE_ORDERS):
        run_quality(context, with_expectations=False, with_life_cycle=False)


def read_quality(context: AccountContext, *, most: int = SHOWN) -> QualityReport:
    """Return the stored results of the last check of change orders and life cycles.

    :param most: maximum number of failing orders, and of findings, in the result.
    """
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("quality"), context.engine.connect() as connection:
        report = read_report(connection, open_suite(context), context.account, most=most)
        histories = read_life_cycle(connection, open_life_cycle(context), context.account, None, most=most)
        return msgspec.structs.replace(report, life_cycle=histories)


def run_release(
    context: AccountContext,
    items: Sequence[str] = (),
    *,
    fingerprint: str | None = None,
    seen: str | None = None,
    reason: str,
    by: str,
) -> int:
    """Release change orders that a check holds (:func:`enerflo_sync.quality.gate.release`).

    :param items: ids of their quarantine items, or prefixes of ids; otherwise all open items that share a
        ``fingerprint``, if they are those that were ``seen`` (:class:`Selection`).
    :raises ConfigurationError: an item is not of a held change order, or a text is empty.
    """
    require_migrated(context.engine)
    tables = context.config.tables_for(context.account)
    names = context.config.tables_of(context.account, RecordKind.CHANGE_ORDERS)
    mapping = tables[names[0]] if names else None
    with warehouse_errors("quarantine"), context.engine.begin() as connection:
        decide_alone(connection, context.account)
        found = select_items(connection, context.account, Selection(tuple(items), fingerprint, seen=seen))
        released = release(
            connection,
            context.account,
            found,
            table=names[0] if names else str(RecordKind.CHANGE_ORDERS),
            key_column=next(
                (crm for crm, own in (mapping.join_columns if mapping else {}).items() if own == ORDER_ID),
                ORDER_ID,
            ),
            reason=reason,
            by=by,
            now=context.clock.now(),
        )
    run_seal(context)
    return released


def open_suite(context: AccountContext) -> Suite:
    """Return the declared checks of change orders.

    :raises ConfigurationError: the file cannot be read, or contains mistakes.
    """
    return load_suite(SUITE_FILE.find(context.config_path, os.environ), os.environ)


def open_life_cycle(context: AccountContext) -> LifeCycle:
    """Return the declared life cycle of installs.

    :raises ConfigurationError: the file cannot be read, or contains mistakes.
    """
    return load_life_cycle(LIFE_CYCLE_FILE.find(context.config_path, os.environ), os.environ)
