"""Forget: erase one customer's personal data."""

from __future__ import annotations

from enerflo_sync.inbox.drop import Drop
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ingest import ingest_options, open_account_drop
from enerflo_sync.retention.forget import ForgetReport, Progress, forget
from enerflo_sync.warehouse.revision import require_migrated


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

    :param write: erase; otherwise only count what would be.
    """
    require_migrated(context.engine)

    def drop() -> Drop | None:
        return open_account_drop(context) if context.settings.webhook_drop_uri else None

    return forget(
        context.engine,
        context.config,
        context.account,
        customer_id,
        drop,
        by=by,
        limits=ingest_options(context).limits,
        clock=context.clock,
        rng=context.rng,
        write=write,
        run_id=run_id,
        progress=progress,
    )
