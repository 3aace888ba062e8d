"""Notify: send unreported news along the routes of sync.yaml."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.ingest import open_account_drop
from enerflo_sync.notify.late import UnreadDrop
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.notify import NotifyReport, Send, new_messages, notify
from enerflo_sync.notify.removed import notify_removed
from enerflo_sync.notify.store import StoredMessage, send_ends_again, stored
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated

_LOOKED = sa.text("""
/* enerflo-sync notify: whether a run ever looked into the drop */
select exists (select from sync.runs where account = :account and job = 'webhooks')
  or exists (select from sync.webhook_events where account = :account)
""")


def run_notify(context: AccountContext, send: Send) -> NotifyReport:
    """Send what was not reported yet (:func:`enerflo_sync.notify.notify.notify`).

    Also that alerts of accounts of this warehouse are not watched any more which the configuration does not
    name any more; the counts of the result have these messages, too.
    """
    require_migrated(context.engine)
    unread = unread_drop(context)
    own = notify(context.engine, context.config, context.account, send, clock=context.clock, unread=unread)
    removed = notify_removed(context.engine, context.config, send, clock=context.clock)
    counts = ("composed", "sent", "waiting", "given_up")
    return msgspec.structs.replace(
        own,
        **{name: sum(getattr(one, name) for one in (own, *removed)) for name in counts},
        errors=list(dict.fromkeys(error for one in (own, *removed) for error in one.errors)),
    )


def read_notifications(
    context: AccountContext, *, most: int = 20
) -> tuple[list[Message], list[StoredMessage]]:
    """Return the messages due now, and the stored messages, newest first; sends nothing."""
    require_migrated(context.engine, reads_only=True)
    unread = unread_drop(context)
    with warehouse_errors("notify"), context.engine.connect() as connection:
        now = context.clock.now()
        new = new_messages(connection, context.config, context.account, now, unread)
        send_ends_again(connection, context.account, context.config.notify.routes_for(context.account), now)
        kept = stored(connection, context.account, most=most)
        connection.rollback()
    return new, kept


def unread_drop(context: AccountContext) -> UnreadDrop | None:
    """Return what lies in the account's drop if no run ever looked into it; None if one did, or it is empty.

    Nothing is listed where a run looked, where there is no drop, or where no route takes the event.
    """
    routes = context.config.notify.routes_for(context.account).values()
    if not context.settings.webhook_drop_uri or not any(
        route.takes(NotifyEvent.WEBHOOKS_SILENT, context.account) for route in routes
    ):
        return None
    with warehouse_errors("notify"), context.engine.connect() as connection:
        if connection.scalar(_LOOKED, {"account": context.account}):
            return None
    try:
        drop = open_account_drop(context)
        waiting = list(drop.waiting())
        # The receiver names its files by their time, so that the first is the oldest.
        first = next(drop.read(waiting[:1], 1), None)
    except EnerfloSyncError:
        # The doctor says why; the worker of another job may have no way to the drop.
        return UnreadDrop(None)
    if not waiting:
        return None
    return UnreadDrop(getattr(first, "modified_at", None), len(waiting))
