"""Messages in ``sync.notifications``, stored until they are sent and for some time after."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.notify.message import Message, MessagePage
from enerflo_sync.warehouse.schema import notifications

# A message is abandoned after this many failed attempts.
MOST_ATTEMPTS = 5


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its outcome. ``state`` is pending, sent or failed (abandoned)."""

    notification_id: int
    message: Message
    state: str
    attempts: int
    error: str | None
    created_at: datetime
    sent_at: datetime | None


def keep(connection: sa.Connection, messages: Iterable[Message], now: datetime) -> int:
    """Store messages to send, in the caller's transaction; a prune deletes what was sent long ago."""
    more = {"state": "pending", "created_at": now}
    rows = [{**msgspec.structs.asdict(message), **more} for message in messages]
    if rows:
        connection.execute(sa.insert(notifications), rows)
    return len(rows)


def stored(
    connection: sa.Connection, account: str, *, state: str | None = None, most: int | None = None
) -> list[StoredMessage]:
    """Return messages, newest first; pending ones oldest first."""
    query = sa.select(notifications).where(notifications.c.account == account).limit(most)
    order = notifications.c.notification_id
    if state is not None:
        query = query.where(notifications.c.state == state)
    rows = connection.execute(query.order_by(order if state == "pending" else order.desc())).mappings()
    return [_stored(row) for row in rows]


def mark_sent(connection: sa.Connection, one: StoredMessage, now: datetime) -> None:
    """Mark a message as sent."""
    _update(connection, one, state="sent", sent_at=now, attempts=one.attempts + 1, error=None)


def mark_failed(connection: sa.Connection, one: StoredMessage, error: str) -> None:
    """Store why a message could not be sent; abandon it after some attempts."""
    attempts = one.attempts + 1
    state = "failed" if attempts >= MOST_ATTEMPTS else "pending"
    _update(connection, one, state=state, attempts=attempts, error=error)


def _update(connection: sa.Connection, one: StoredMessage, **values: object) -> None:
    where = (
        notifications.c.account == one.message.account,
        notifications.c.notification_id == one.notification_id,
    )
    connection.execute(sa.update(notifications).where(*where).values(values))


def _stored(row: sa.RowMapping) -> StoredMessage:
    message = Message(
        account=row["account"],
        event=NotifyEvent(row["event"]),
        route=row["route"],
        subject=row["subject"],
        text=row["text"],
        page=MessagePage(row["page"]),
        page_id=row["page_id"],
        count=row["count"],
    )
    kept = ("notification_id", "state", "attempts", "error", "created_at", "sent_at")
    return StoredMessage(message=message, **{name: row[name] for name in kept})
