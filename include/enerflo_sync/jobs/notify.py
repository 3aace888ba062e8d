"""Notify: send unreported news along the routes of sync.yaml."""

from __future__ import annotations

import msgspec

from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.notify import NotifyReport, Send, new_messages, notify
from enerflo_sync.notify.removed import notify_removed
from enerflo_sync.notify.store import StoredMessage, send_ends_again, stored
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import require_migrated


def run_notify(context: AccountContext, send: Send) -> NotifyReport:
    """Send what was not reported yet (:func:`enerflo_sync.notify.notify.notify`).

    Also that alerts of accounts of this warehouse are not watched any more which the configuration does not
    name any more; the counts of the result have these messages, too.
    """
    require_migrated(context.engine)
    own = notify(context.engine, context.config, context.account, send, clock=context.clock)
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
    with warehouse_errors("notify"), context.engine.connect() as connection:
        now = context.clock.now()
        new = new_messages(connection, context.config, context.account, now)
        send_ends_again(connection, context.account, context.config.notify.routes_for(context.account), now)
        kept = stored(connection, context.account, most=most)
        connection.rollback()
    return new, kept
