"""Find the facts to report: not reported yet, or much worse than when they were reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.routes import EVENTS, NotifyEvent
from enerflo_sync.notify import late
from enerflo_sync.notify.current import make_current
from enerflo_sync.warehouse.set_back import future_of
from enerflo_sync.warehouse.watermarks import move_watermark, read_watermark

JOB = "notify"
_LISTED = 10

# Else an alert would stand until the time came that a clock said when it was told.
_FUTURE = tuple(
    sa.text(f"""
/* enerflo-sync notify: what was told by a clock that was ahead, and was set back since */
update sync.{table} set {time} = :now where account = :account and {time} > :future
""")  # noqa: S608 - constants
    for table, time in (("told", "told_at"), ("notifications", "created_at"))
)

_NEWS = sa.text("""
/* enerflo-sync notify: what was not told yet */
create temporary table news on commit drop as
select c.* from pg_temp.current c
left join sync.told t on t.account = :account and t.event = c.event and t.key = c.key
left join unnest(cast(:events as text[]), cast(:again_at as numeric[])) a (event, again_at)
  on a.event = c.event
where t.key is null or c.size >= t.size * a.again_at
""")

_GROUPED = Template("""
/* enerflo-sync notify: by event and cause */
select n.event, n.cause, count(*) as facts, max(c.facts) as facts_in_all, max(n.key) as key,
  (array_agg(n.line order by n.at desc, n.key))[1:cast(:listed as integer)] as lines
from pg_temp.$facts n
join (select event, count(*) as facts from pg_temp.current group by 1) c using (event)
group by 1, 2 order by 1, 3 desc, 2
""")

# States that no route takes are not looked at. What was told of them is forgotten, so that a route that takes
# them later is told of all that stand then.
_UNWANTED = sa.text("""
/* enerflo-sync notify: states that no route takes any more */
delete from sync.told where account = :account and event = any(cast(:unwanted as text[]))
""")

_TELL = sa.text("""
/* enerflo-sync notify: told */
insert into sync.told (account, event, key, size, told_at)
select :account, event, key, size, :now from pg_temp.news
on conflict (account, event, key) do update set size = excluded.size, told_at = excluded.told_at
""")

# A fact that ended can be reported again when it recurs.
_OVER = sa.text("""
/* enerflo-sync notify: over */
delete from sync.told t where t.account = :account and t.event = any(cast(:events as text[])) and not exists (
  select from pg_temp.current c where c.event = t.event and c.key = t.key)
returning t.event, t.key
""")

_STANDING = sa.text("""
/* enerflo-sync notify: what stands still, by event */
select event, count(*) as facts from pg_temp.current group by event
""")


@dataclass(frozen=True)
class Group:
    """Facts with one cause. ``lines`` has some of them: lists of label, value, class of personal data."""

    cause: str
    facts: int
    lines: Sequence[Sequence[Sequence[Any]]]


@dataclass(frozen=True)
class News:
    """The news of one event.

    :param facts: number of new facts; ``facts_in_all`` also counts those reported before.
    :param key: identity of the only new fact; empty if there are several.
    :param ended: identities of facts that are over; then there is no new fact, and ``facts_in_all`` counts
        those that stand still.
    :param is_watched: False where the configuration has the ended facts not looked at any more.
    :param was_emptied: whether a drop ended that had webhooks, and none of them was ingested.
    """

    event: NotifyEvent
    facts: int
    facts_in_all: int
    key: str
    groups: Sequence[Group]
    ended: Sequence[str] = ()
    is_watched: bool = True
    was_emptied: bool = False


def look(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    events: Iterable[NotifyEvent],
    *,
    now: datetime,
    unread: late.UnreadDrop | None = None,
) -> list[News]:
    """Return the news, and what is over of what was reported, and remember both, in the caller's transaction.

    :param events: events that some route wants; others are not queried.
    :param unread: the drop, if no run ever looked into it.
    """
    wanted = list(events)
    first_look = read_watermark(connection, account, JOB)
    if first_look is None:
        first_look = now
        move_watermark(connection, account, JOB, now, run_id=JOB, now=now)
    for statement in _FUTURE:
        connection.execute(statement, {"account": account, "now": now, "future": future_of(now)})
    unwanted = [str(event) for event in EVENTS if event not in wanted and not EVENTS[event].is_news]
    connection.execute(_UNWANTED, {"account": account, "unwanted": unwanted})
    if not wanted:
        return []
    make_current(connection, config, account, wanted, first_look=first_look, now=now, unread=unread)
    values: dict[str, Any] = {
        "account": account,
        "now": now,
        "listed": _LISTED,
        "events": [str(event) for event in wanted],
        "again_at": [EVENTS[event].again_at for event in wanted],
    }
    connection.execute(_NEWS, values)
    grouped = sa.text(_GROUPED.substitute(facts="news"))
    found = _by_event(connection.execute(grouped, values).all())
    connection.execute(_TELL, values)
    over = connection.execute(_OVER, values).all()
    return [*found, *_ended(connection, config, account, over)]


def standing(connection: sa.Connection) -> dict[NotifyEvent, News]:
    """Return the facts that stand, told or not, of states; after :func:`look`, in the same transaction."""
    grouped = sa.text(_GROUPED.substitute(facts="current"))
    found = _by_event(connection.execute(grouped, {"listed": _LISTED}).all())
    return {news.event: news for news in found if not EVENTS[news.event].is_news}


def _ended(
    connection: sa.Connection, config: SyncConfig, account: str, over: Sequence[Any]
) -> Iterator[News]:
    """Yield the events whose end is told, with the facts that ended."""
    told = [row for row in over if EVENTS[NotifyEvent(row.event)].ended]
    if not told:
        return
    still = {row.event: row.facts for row in connection.execute(_STANDING)}
    for event in map(NotifyEvent, sorted({row.event for row in told})):
        was_emptied = event is NotifyEvent.WEBHOOKS_SILENT and not late.heard(connection, account)
        keys = sorted(row.key for row in told if row.event == event)
        for is_watched in (True, False):
            own = [key for key in keys if late.is_watched(config, account, event, key) is is_watched]
            if own:
                yield News(event, 0, still.get(event, 0), "", [], own, is_watched, was_emptied)


def _by_event(rows: Sequence[Any]) -> list[News]:
    news = []
    for event in dict.fromkeys(row.event for row in rows):
        own = [row for row in rows if row.event == event]
        facts = sum(row.facts for row in own)
        groups = [Group(row.cause, row.facts, row.lines) for row in own]
        news.append(
            News(NotifyEvent(event), facts, own[0].facts_in_all, own[0].key if facts == 1 else "", groups)
        )
    return news
