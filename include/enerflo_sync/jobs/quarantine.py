"""Quarantine: list, show, replay or dismiss unusable input."""

from __future__ import annotations

from collections.abc import Sequence

from enerflo_sync.inbox.quarantine import (
    Filter,
    ItemDetail,
    QuarantineGroup,
    dismiss_items,
    list_groups,
    list_items,
    show_item,
)
from enerflo_sync.inbox.quarantine_items import QuarantineItem, Selection
from enerflo_sync.inbox.replay import replay
from enerflo_sync.inbox.replay_report import ReplayReport
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ingest import ingest_options, open_account_drop
from enerflo_sync.mirror.poll import Progress
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def read_groups(context: AccountContext, wanted: Filter) -> list[QuarantineGroup]:
    """Return the quarantined items grouped by fingerprint, each group with one masked example."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("quarantine"), context.engine.connect() as connection:
        return list_groups(connection, context.account, wanted)


def read_items(context: AccountContext, wanted: Filter) -> list[QuarantineItem]:
    """Return the items in quarantine, without their payloads."""
    require_migrated(context.engine, reads_only=True)
    with warehouse_errors("quarantine"), context.engine.connect() as connection:
        return list_items(connection, context.account, wanted)


def read_item(context: AccountContext, item: str, *, reveal: bool = False, by: str = "") -> ItemDetail:
    """Return all data about one item; revealing its payload is recorded under ``by``.

    :param item: an id, or an unambiguous prefix.
    :raises ConfigurationError: no item matches, or several do.
    """
    require_migrated(context.engine, reads_only=not reveal)
    with warehouse_errors("quarantine"), context.engine.begin() as connection:
        return show_item(connection, context.account, item, reveal=reveal, by=by, clock=context.clock)


def run_replay(
    context: AccountContext,
    *,
    items: Sequence[str] = (),
    fingerprint: str | None = None,
    event: str | None = None,
    everything: bool = False,
    dry: bool = True,
    by: str,
    run_id: str | None = None,
    progress: Progress | None = None,
) -> ReplayReport:
    """Retry quarantined items (:func:`enerflo_sync.inbox.replay.replay`); dry by default.

    Exactly one of ``items``, ``fingerprint``, ``event`` and ``everything`` selects them.
    """
    require_migrated(context.engine)
    return replay(
        lambda: context.client,
        context.engine,
        lambda: open_account_drop(context),
        context.account,
        Selection(tuple(items), fingerprint, event, everything),
        dry=dry,
        by=by,
        clock=context.clock,
        rng=context.rng,
        calls=context.calls,
        options=ingest_options(context),
        run_id=run_id,
        progress=progress,
    )


def run_dismiss(
    context: AccountContext,
    *,
    items: Sequence[str] = (),
    fingerprint: str | None = None,
    everything: bool = False,
    seen: str | None = None,
    reason: str,
    by: str,
) -> int:
    """Close open items that need no action, and return their number.

    Exactly one of ``items``, ``fingerprint`` and ``everything`` selects them.

    :param seen: of a fingerprint: only if its open items are those that were seen (:class:`Selection`).
    :raises ConfigurationError: the selection is ambiguous, no open item matches, or a text is empty.
    """
    require_migrated(context.engine)
    selection = Selection(tuple(items), fingerprint, None, everything, seen)
    with warehouse_errors("quarantine"), context.engine.begin() as connection:
        return dismiss_items(
            connection, context.account, selection, reason=reason, by=by, clock=context.clock
        )
