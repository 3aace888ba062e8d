"""The notify job: find news, store it as messages, send the waiting messages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.routes import EVENTS, NotifyEvent, Route
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.notify.late import UnreadDrop
from enerflo_sync.notify.look import JOB, look, standing
from enerflo_sync.notify.message import Message, compose
from enerflo_sync.notify.store import (
    StoredMessage,
    given_up,
    keep,
    mark_failed,
    mark_sent,
    send_ends_again,
    stored,
)
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

Send = Callable[[Route, Message], None]
_log = logging.getLogger(__name__)


class NotifyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run.

    :param composed: messages made in this run; ``sent`` also counts messages of earlier runs.
    :param waiting: messages that could not be sent, which the next run retries.
    :param given_up: messages abandoned in this run.
    :param errors: reasons for failures, each once.
    """

    account: str
    composed: int
    sent: int
    waiting: int
    given_up: int
    errors: Sequence[str]


def notify(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    send: Send,
    *,
    clock: Clock,
    unread: UnreadDrop | None = None,
) -> NotifyReport:
    """Send unreported news along every route.

    News is stored as messages in one transaction, so each fact is reported once. A message is marked after
    sending; if the process dies in between, it is sent again. A beginning of an alert that cannot be sent
    delays only later ends of the same alert on the same route, and an end only later beginnings, so that they
    arrive in order.

    :param send: sends one message, or raises.
    :param unread: the account's drop, if no run ever looked into it.
    """
    with (
        warehouse_errors(JOB),
        engine.connect() as connection,
        alone(connection, account, "telling of people", wait=True),
    ):
        now = clock.now()
        with connection.begin():
            messages = new_messages(connection, config, account, now, unread)
            composed = keep(connection, messages, now)
            send_ends_again(connection, account, config.notify.routes_for(account), now)
        return send_stored(connection, config, account, send, composed=composed, clock=clock)


def send_stored(
    connection: sa.Connection, config: SyncConfig, account: str, send: Send, *, composed: int, clock: Clock
) -> NotifyReport:
    """Send an account's messages that wait, and mark each; the caller lets nobody else send them meanwhile.

    :param composed: messages that the caller made in this run.
    """
    with connection.begin():
        waiting = stored(connection, account, state="pending")
    errors: dict[str, None] = {}
    behind: set[tuple[NotifyEvent, str, bool]] = set()
    sent = abandoned = 0
    for one in waiting:
        topic = (one.message.event, one.message.route)
        if (*topic, not one.message.resolved) in behind:
            behind.add((*topic, one.message.resolved))
            continue
        error = _sent(one, config, send)
        with connection.begin():
            if error is None:
                mark_sent(connection, one, clock.now())
                sent += 1
                continue
            can_be_sent = one.message.route in config.notify.routes
            is_given_up = mark_failed(connection, one, error, clock.now(), can_be_sent=can_be_sent)
            abandoned += is_given_up
        if EVENTS[one.message.event].ended and not is_given_up:
            # An end that arrives after a newer beginning would say that all is well.
            behind.add((*topic, one.message.resolved))
        errors[error] = None
    return NotifyReport(
        account=account,
        composed=composed,
        sent=sent,
        waiting=len(waiting) - sent - abandoned,
        given_up=abandoned,
        errors=list(errors),
    )


def new_messages(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    now: datetime,
    unread: UnreadDrop | None = None,
) -> list[Message]:
    """Return the news as messages, one per route, and mark it as reported in the caller's transaction.

    What a callback of Airflow tells is not looked for. A route on which a message about a state was abandoned
    is told all that stands of it.
    """
    routes = config.notify.routes_for(account)
    wanted = [
        event
        for event in NotifyEvent
        if not EVENTS[event].by_airflow and any(route.takes(event, account) for route in routes.values())
    ]
    found = look(connection, config, account, wanted, now=now, unread=unread)
    abandoned = {
        (event, name): is_due
        for (event, name), is_due in given_up(connection, account, now).items()
        if event in wanted and name in routes and routes[name].takes(event, account)
    }
    stands = standing(connection) if abandoned else {}
    told = [(news, name) for news in found for name in routes if routes[name].takes(news.event, account)]
    # What is new is told together with all that stands, on a route that was not told of that.
    begins = {(news.event, name) for news, name in told if not news.ended}
    kept = [(news, name) for news, name in told if news.ended or (news.event, name) not in abandoned]
    more = [
        (stands[event], name)
        for (event, name), is_due in sorted(abandoned.items())
        if event in stands and (is_due or (event, name) in begins)
    ]
    return [
        compose(news, account, name, routes[name], runbook=config.notify.runbook)
        for news, name in (*kept, *more)
    ]


def _sent(one: StoredMessage, config: SyncConfig, send: Send) -> str | None:
    """Send a message; return the reason if that fails."""
    route = config.notify.routes.get(one.message.route)
    if route is None:
        return f"route {one.message.route}: it is not in {config.file.name} any more."
    try:
        send(route, one.message)
    except EnerfloSyncError as error:
        reason = str(error)
    except Exception as error:
        # Name only the kind of error: a mail server's or library's text may contain an address or a secret.
        reason = f"{type(error).__name__}. See the connection, and whether the other side answers."
    else:
        return None
    text = f"route {one.message.route}: {reason}"
    _log.warning("message not sent event=%s route=%s", one.message.event, one.message.route)
    return text
