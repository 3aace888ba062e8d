"""Prune: delete what is older than sync.yaml keeps it, and that nothing needs."""

from __future__ import annotations

from enerflo_sync.drop.drop import Drop
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.former_archives import former_archives
from enerflo_sync.jobs.ingest import open_account_drop
from enerflo_sync.retention.prune import Progress, prune
from enerflo_sync.retention.report import PruneReport
from enerflo_sync.warehouse.revision import require_migrated


def run_prune(
    context: AccountContext,
    *,
    dry: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> PruneReport:
    """Delete what is too old (:func:`enerflo_sync.retention.prune.prune`).

    :param dry: only look at what would go.
    """
    require_migrated(context.engine)

    def drop() -> Drop | None:
        return open_account_drop(context) if context.settings.webhook_drop_uri else None

    place = drop()
    return prune(
        context.engine,
        context.config,
        context.account,
        drop,
        former={} if place is None else former_archives(context, place),
        clock=context.clock,
        rng=context.rng,
        dry=dry,
        run_id=run_id,
        progress=progress,
    )
