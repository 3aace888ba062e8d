"""Messages in ``sync.notifications``, stored until they are sent and for some time after."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.notify.message import Message, MessagePage
from enerflo_sync.warehouse.schema import notifications

# A message is abandoned after this many failed attempts, and so long after it was made: the DAGs of a busy
# account end several times a minute. What stands is told anew, news is not.
MOST_ATTEMPTS = 5
_STATE_WAITS, _AGAIN = timedelta(hours=1), timedelta(hours=2)
_NEWS_WAITS = timedelta(days=1)

_GIVEN_UP = sa.text("""
/* enerflo-sync notify: the newest messages that told of states, of which the newest could not be sent */
select event, route, created_at <= :before as is_due from (
  select distinct on (event, route) event, route, state, created_at from sync.notifications
  where account = :account and event = any(cast(:events as text[])) and count > 0
  order by event, route, notification_id desc
) newest
where state = 'failed'
""")

# An older end would contradict a newer message that the state stands.
_ENDS_AGAIN = sa.text("""
/* enerflo-sync notify: ends that could not be sent, and that nothing newer contradicts */
update sync.notifications n set state = 'pending', attempts = 0, created_at = :now
where n.account = :account and n.state = 'failed' and n.count = 0 and n.created_at <= :before
  and n.event = any(cast(:events as text[])) and n.route = any(cast(:routes as text[]))
  and not exists (
    select from sync.notifications later
    where later.account = n.account and later.event = n.event and later.route = n.route and later.count > 0
      and later.state <> 'failed' and later.notification_id > n.notification_id)
""")

# Otherwise a message that was made meanwhile would count as having told what this one was to tell.
_IS_NEWEST = sa.text("""
/* enerflo-sync notify: a beginning that is abandoned is the newest message of its kind */
update sync.notifications set notification_id = default
where account = :account and notification_id = :id and count > 0 and event = any(cast(:events as text[]))
""")


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
    # A newer program may have events that this one does not know; it sends them itself.
    known = notifications.c.event.in_([str(event) for event in NotifyEvent])
    query = sa.select(notifications).where(notifications.c.account == account, known).limit(most)
    order = notifications.c.notification_id
    if state is not None:
        query = query.where(notifications.c.state == state)
    rows = connection.execute(query.order_by(order if state == "pending" else order.desc())).mappings()
    return [_stored(row) for row in rows]


def mark_sent(connection: sa.Connection, one: StoredMessage, now: datetime) -> None:
    """Mark a message as sent."""
    _update(connection, one, state="sent", sent_at=now, attempts=one.attempts + 1, error=None)


def mark_failed(
    connection: sa.Connection, one: StoredMessage, error: str, now: datetime, *, can_be_sent: bool = True
) -> bool:
    """Store why a message could not be sent, and return whether it is abandoned.

    :param can_be_sent: False if its route is gone.
    """
    attempts = one.attempts + 1
    waits = _NEWS_WAITS if EVENTS[one.message.event].is_news else _STATE_WAITS
    is_old = now - one.created_at >= waits or not can_be_sent
    state = "failed" if attempts >= MOST_ATTEMPTS and is_old else "pending"
    _update(connection, one, state=state, attempts=attempts, error=error)
    if state == "failed":
        connection.execute(
            _IS_NEWEST,
            {"account": one.message.account, "id": one.notification_id, "events": _states()},
        )
    return state == "failed"


def given_up(connection: sa.Connection, account: str, now: datetime) -> dict[tuple[NotifyEvent, str], bool]:
    """Return the states and routes whose newest message was abandoned, and whether it is due to be made anew.

    What else was told of the state since does not count: neither an end nor another state's beginning says
    what the abandoned message said.
    """
    values = {"account": account, "events": _states(), "before": now - _AGAIN}
    return {(NotifyEvent(row.event), row.route): row.is_due for row in connection.execute(_GIVEN_UP, values)}


def send_ends_again(connection: sa.Connection, account: str, routes: Iterable[str], now: datetime) -> None:
    """Let abandoned messages about ends wait again, in the caller's transaction, as long as they are true.

    :param routes: the routes that there are.
    """
    values = {"account": account, "events": _states(), "routes": list(routes)}
    connection.execute(_ENDS_AGAIN, {**values, "now": now, "before": now - _AGAIN})


def _states() -> list[str]:
    return [str(event) for event, info in EVENTS.items() if not info.is_news]


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
