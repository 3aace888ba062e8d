"""Forget: erase one customer's personal data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.former_archives import former_archives
from enerflo_sync.jobs.ingest import ingest_options, open_account_drop
from enerflo_sync.retention.forget import TOGETHER, ForgetReport, ForgetReports, Progress, forget
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

_READ_FILES = sa.text("""
/* enerflo-sync forget: whether webhooks were read from files */
select exists (select from sync.webhook_events where account = :account and source_uri is not null)
    or exists (select from sync.quarantine where account = :account and kind = 'file')
""")


def run_forget(context: AccountContext, customer_id: int, *, by: str, **options: Any) -> ForgetReport:
    """Erase one customer's personal data (:func:`run_forget_customers`).

    :raises ConfigurationError: the customer is not known, or a change of the customer's records is not
        finished.
    """
    (report,) = run_forget_customers(context, [customer_id], by=by, **options).customers
    return report


def run_forget_customers(
    context: AccountContext,
    customer_ids: Iterable[int],
    *,
    by: str,
    write: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ForgetReports:
    """Erase customers' personal data (:func:`enerflo_sync.retention.forget.forget`), a hundred together.

    Each part of them is a run of its own: between two, the account's other jobs have their turn.

    :param write: erase the data; otherwise only count it.
    :param run_id: of the first run.
    :raises ConfigurationError: webhooks of the account came from files, and no option names their archive.
        Or there is one customer, who is not known or whose records have a change that is not finished.
    """
    require_migrated(context.engine)
    drop = open_account_drop(context) if context.settings.webhook_drop_uri else None
    if drop is None and _has_read_files(context):
        raise ConfigurationError(
            "the account's webhooks came from files, and nothing says where their archive is."
            " Nothing was erased.",
            where=f"account {context.account}: webhook_drop_uri",
            next_step="Set it, or the variable that it names, as the tasks have it.",
        )
    wanted = list(dict.fromkeys(customer_ids))
    customers: list[ForgetReport] = []
    left_out: dict[int, str] = {}
    for start in range(0, len(wanted), TOGETHER):
        found = forget(
            context.engine,
            context.config,
            context.account,
            wanted[start : start + TOGETHER],
            lambda: drop,
            former={} if drop is None else former_archives(context, drop),
            by=by,
            limits=ingest_options(context).limits,
            clock=context.clock,
            rng=context.rng,
            write=write,
            # The first part says at once that it cannot begin; afterwards a part has been erased.
            wait=start > 0,
            run_id=None if start else run_id,
            progress=progress,
        )
        customers += found.customers
        left_out |= found.left_out
    return ForgetReports(customers=customers, left_out=left_out)


def _has_read_files(context: AccountContext) -> bool:
    """Return whether webhooks of the account were read from files, in whose archive the customer may be."""
    with warehouse_errors("forget"), context.engine.connect() as connection:
        return bool(connection.scalar(_READ_FILES, {"account": context.account}))
