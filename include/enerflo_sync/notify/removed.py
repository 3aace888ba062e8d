"""Tell that alerts of an account which the configuration does not name any more are not watched any more.

None of such an account's jobs looks, so that its alerts would stand for ever. The jobs of the other accounts
of its warehouse say it instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from enerflo_sync.clock import Clock
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.notify.look import JOB, News
from enerflo_sync.notify.message import Message, compose
from enerflo_sync.notify.notify import NotifyReport, Send, send_stored
from enerflo_sync.notify.store import keep
from enerflo_sync.warehouse.alone import alone
from enerflo_sync.warehouse.engine import warehouse_errors

# Another Airflow with a configuration of its own may use the warehouse, and a worker may still have an older
# one that lacks a new account. An account of which nothing was done for so long is nobody's.
_QUIET = timedelta(days=1)
_STATES = [str(event) for event, info in EVENTS.items() if not info.is_news]

_REMOVED = sa.text("""
/* enerflo-sync notify: accounts that were removed, of which something is to be told still */
select a.account from (
  select account from sync.told where event = any(cast(:states as text[]))
  union select account from sync.notifications where state = 'pending') a
where a.account <> all(cast(:names as text[]))
  and not exists (select from sync.runs r where r.account = a.account and r.started_at > :quiet_since)
  and not exists (select from sync.told t where t.account = a.account and t.told_at > :quiet_since)
order by 1
""")

_OVER = sa.text("""
/* enerflo-sync notify: states of an account that was removed */
delete from sync.told where account = :account and event = any(cast(:states as text[])) returning event, key
""")


def notify_removed(engine: sa.Engine, config: SyncConfig, send: Send, *, clock: Clock) -> list[NotifyReport]:
    """Send the end of every alert of removed accounts, along the routes that take it, once.

    The message does not say that all is well, but that nobody looks any more. An account that comes back is
    told anew of what stands then.
    """
    since = clock.now() - _QUIET
    values = {"states": _STATES, "names": list(config.names), "quiet_since": since}
    with warehouse_errors(JOB), engine.connect() as connection:
        with connection.begin():
            accounts = list(connection.scalars(_REMOVED, values))
        reports = []
        for account in accounts:
            with alone(connection, account, "telling of people", wait=True):
                with connection.begin():
                    messages = list(_ends(connection, config, account))
                    composed = keep(connection, messages, clock.now())
                reports.append(send_stored(connection, config, account, send, composed=composed, clock=clock))
    return reports


def _ends(connection: sa.Connection, config: SyncConfig, account: str) -> Iterator[Message]:
    ended: dict[NotifyEvent, list[str]] = {}
    known = list(NotifyEvent)
    for row in connection.execute(_OVER, {"account": account, "states": _STATES}):
        if row.event in known and EVENTS[NotifyEvent(row.event)].ended:
            ended.setdefault(NotifyEvent(row.event), []).append(row.key)
    for event, keys in sorted(ended.items()):
        news = News(event, 0, 0, "", [], sorted(keys), is_watched=False)
        for name, route in config.notify.routes.items():
            if route.takes(event, account):
                yield compose(news, account, name, route, runbook=config.notify.runbook)
