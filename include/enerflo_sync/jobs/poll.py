"""Poll: load into the mirror what Enerflo lists now."""

from __future__ import annotations

from datetime import timedelta

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.mirror.poll import PollOptions, Progress, poll
from enerflo_sync.mirror.poll_resources import PollResource
from enerflo_sync.resources.change_orders import ComponentKeys
from enerflo_sync.warehouse.revision import require_migrated
from enerflo_sync.warehouse.runs import RunReport


def run_poll(
    context: AccountContext,
    *,
    resources: frozenset[PollResource] | None = None,
    full: bool = False,
    accept_shrink: bool = False,
    accept_company: bool = False,
    run_id: str | None = None,
    progress: Progress | None = None,
    read_ahead: int = 1,
) -> RunReport:
    """Load into the mirror what Enerflo lists now (:func:`enerflo_sync.mirror.poll.poll`).

    :param resources: what to read; None uses the configuration.
    """
    require_migrated(context.engine)
    settings = context.config.poll
    options = PollOptions(
        resources=resources or frozenset(PollResource(name) for name in settings.resources),
        per_page=settings.per_page,
        min_per_page=settings.min_per_page,
        notes_lookback=timedelta(minutes=settings.lookback_minutes),
        full=full,
        shrink_guard=settings.shrink_guard_percent / 100,
        accept_shrink=accept_shrink,
        accept_company=accept_company,
        component_keys=ComponentKeys(**context.config.change_orders.model_dump()),
        accounts=frozenset(context.config.names),
        read_ahead=read_ahead,
    )
    return poll(
        context.client,
        context.engine,
        context.account,
        clock=context.clock,
        rng=context.rng,
        calls=context.calls,
        options=options,
        run_id=run_id,
        progress=progress,
    )
