"""``enerflo-sync notify``: messages that are due, and those that were sent."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import msgspec

from enerflo_sync.cli.output import Account, Exit, Json, console, finish, print_json
from enerflo_sync.jobs.context import open_account
from enerflo_sync.jobs.notify import read_notifications
from enerflo_sync.notify.message import Message
from enerflo_sync.notify.store import StoredMessage
from enerflo_sync.reconcile.render.wording import utc


def command(account: Account = "default", as_json: Json = False) -> None:
    """Show the messages due on the routes of sync.yaml, and the newest stored messages. Sends nothing.

    Airflow sends messages, with its connections: the DAGs poll, webhooks, reconcile, change_orders, sync and
    prune of the account have a task for it as soon as sync.yaml has a route under notify. Failed tasks are
    reported by Airflow itself, and not shown here. Exit code 1 when a shown message could not be sent.
    """
    place = open_account(account, os.environ)
    new, kept = read_notifications(place)
    if as_json:
        print_json({"new": msgspec.to_builtins(new), "kept": msgspec.to_builtins(kept)})
    else:
        routes = place.config.notify.routes_for(account)
        console.print("\n".join(_lines(list(routes), new, kept)), markup=False)
    undelivered = any(one.state == "failed" or one.error for one in kept)
    finish(Exit.NEEDS_A_PERSON if undelivered else Exit.DONE)


def _lines(routes: Sequence[str], new: Sequence[Message], kept: Sequence[StoredMessage]) -> Iterator[str]:
    if not routes:
        yield "sync.yaml has no route for this account under notify: nobody is told anything."
        return
    yield f"Routes: {', '.join(routes)}."
    yield "" if new else "Nothing is new."
    for message in new:
        yield f"would be told on {message.route}: {message.subject}"
        yield from (f"  {line}" for line in message.text.splitlines())
        yield ""
    for one in kept:
        when = one.sent_at or one.created_at
        yield f"{utc(when)}  {one.state:<7}  {one.message.route}: {one.message.subject}"
        if one.error:
            yield f"  {one.error}"
