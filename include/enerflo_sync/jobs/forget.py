"""Forget: erase one customer's personal data."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.former_archives import former_archives
from enerflo_sync.jobs.ingest import ingest_options, open_account_drop
from enerflo_sync.retention.forget import ForgetReport, Progress, forget
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

_READ_FILES = sa.text("""
/* enerflo-sync forget: whether webhooks were read from files */
select exists (select from sync.webhook_events where account = :account and source_uri is not null)
    or exists (select from sync.quarantine where account = :account and kind = 'file')
""")


def run_forget(
    context: AccountContext,
    customer_id: int,
    *,
    by: str,
    write: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ForgetReport:
    """Erase a customer's personal data (:func:`enerflo_sync.retention.forget.forget`).

    :param write: erase the data; otherwise only count it.
    :raises ConfigurationError: webhooks of the account came from files, and no option names their archive.
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
    return forget(
        context.engine,
        context.config,
        context.account,
        customer_id,
        lambda: drop,
        former={} if drop is None else former_archives(context, drop),
        by=by,
        limits=ingest_options(context).limits,
        clock=context.clock,
        rng=context.rng,
        write=write,
        run_id=run_id,
        progress=progress,
    )


def _has_read_files(context: AccountContext) -> bool:
    """Return whether webhooks of the account were read from files, in whose archive the customer may be."""
    with warehouse_errors("forget"), context.engine.connect() as connection:
        return bool(connection.scalar(_READ_FILES, {"account": context.account}))
