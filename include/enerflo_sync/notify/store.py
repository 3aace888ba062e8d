"""Messages kept in ``sync.notifications``: until they are sent, and for some time after."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.routes import NotifyEvent
from enerflo_sync.notify.message import Message, MessagePage
from enerflo_sync.warehouse.schema import notifications

# A message that could not be sent so often is given up.
MOST_ATTEMPTS = 5
_KEPT = timedelta(days=90)


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message with what became of it. ``state`` is pending, sent or failed (given up)."""

    notification_id: int
    message: Message
    state: str
    attempts: int
    error: str | None
    created_at: datetime
    sent_at: datetime | None


def keep(connection: sa.Connection, messages: Iterable[Message], now: datetime) -> int:
    """Keep messages to be sent, in the caller's transaction; forget those of long ago."""
    more = {"state": "pending", "created_at": now}
    rows = [{**msgspec.structs.asdict(message), **more} for message in messages]
    if rows:
        connection.execute(sa.insert(notifications), rows)
    connection.execute(sa.delete(notifications).where(notifications.c.created_at < now - _KEPT))
    return len(rows)


def stored(
    connection: sa.Connection, account: str, *, state: str | None = None, most: int | None = None
) -> list[StoredMessage]:
    """Return messages, newest first; those that wait oldest first."""
    query = sa.select(notifications).where(notifications.c.account == account).limit(most)
    order = notifications.c.notification_id
    if state is not None:
        query = query.where(notifications.c.state == state)
    rows = connection.execute(query.order_by(order if state == "pending" else order.desc())).mappings()
    return [_stored(row) for row in rows]


def mark_sent(connection: sa.Connection, one: StoredMessage, now: datetime) -> None:
    """Say that a message was sent."""
    _update(connection, one, state="sent", sent_at=now, attempts=one.attempts + 1, error=None)


def mark_failed(connection: sa.Connection, one: StoredMessage, error: str) -> None:
    """Say why a message could not be sent; it is given up after some attempts."""
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
