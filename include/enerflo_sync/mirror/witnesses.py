"""The two witnesses of a change: when the poll saw it, and when a webhook reported it (design §6).

One row of ``sync.witnesses`` is one change of one record. Whoever loads the record writes this row in the
same transaction; the other witness is added when it meets the same change. Records that existed before an
account's first complete poll get no row, because no webhook could have reported them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from string import Template

import sqlalchemy as sa

from enerflo_sync.resources.resource import Resource, Witnessed
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.watermarks import read_watermark

RETENTION = timedelta(days=90)
# Clocks differ, and a poll's start is not the moment of its answers: a change dated this long before the last
# complete poll may still be one that the poll did not see.
SLACK = timedelta(hours=1)
# A webhook that arrives later than this after the poll has another cause.
LATEST = timedelta(days=1)


# When an install's embedded customer changes, the content differs but the install's own ``updated_at`` does
# not. Force a lookup per record: without statistics, the planner would read the whole account.
_RECORD = Template("""
/* enerflo-sync: $witness is witness of $name */
with seen as (
  select '$name/' || t.$id as record, $content as content_hash, n.is_new,
    case when n.is_new then t.$created_at when t.$updated_at >= %(since)s then t.$updated_at
      end as changed_at,
    n.is_new or t.$updated_at is null or t.$updated_at >= %(since)s as moved, u.seen_at,
    t.observed_at = u.observed_at and t.observed_by = '$witness' as written
  from unnest(%(ids)s::bigint[], %(observed)s::timestamptz[], %(seen)s::timestamptz[])
    as u(id, observed_at, seen_at)
  cross join lateral (
    select * from $table r where r.account = %(account)s and r.$id = u.id offset 0
  ) t
  cross join lateral (select t.$id = any(%(new)s::bigint[]) as is_new) n
  where t.deleted_at is null and $told
), known as (
  update sync.witnesses w
  set ${witness}_seen_at = coalesce(w.${witness}_seen_at, s.seen_at)
  from seen s
  where w.account = %(account)s and w.record = s.record and $same and (s.written or $near)
  returning w.record
)
insert into sync.witnesses (account, record, content_hash, event, changed_at, ${witness}_seen_at)
select %(account)s, s.record, s.content_hash, $event, s.changed_at, s.seen_at
from seen s
where s.written and s.moved and $event is not null
  and not exists (select from known k where k.record = s.record)
on conflict do nothing
""")

_CONFIRM = Template("""
/* enerflo-sync: a complete poll confirms $name */
update sync.witnesses w set poll_seen_at = %(started_at)s
from $table t
where w.account = %(account)s and w.poll_seen_at is null and w.record like '$name/%%'
  and t.account = w.account and t.$id = split_part(w.record, '/', 2)::bigint and $same
  and t.observed_at <= %(started_at)s and t.absent_since is null and t.deleted_at is null
  and (%(listed_after)s::timestamptz is null or t.$created_at > %(listed_after)s::timestamptz)
""")

_FORGET = """
/* enerflo-sync: forget old witnesses */
delete from sync.witnesses
where account = %(account)s
  and (poll_seen_at < %(before)s
    or poll_seen_at is null and coalesce(webhook_seen_at, changed_at) < %(before)s)
"""


def _names(resource: Resource, kind: Witnessed) -> dict[str, str]:
    created_at, updated_at = kind.changed_at
    return {
        "name": resource.name,
        "table": resource.table.fullname,
        "id": resource.id_column,
        "created_at": created_at,
        "updated_at": updated_at,
        "content": kind.content,
        "told": kind.told,
    }


def _literal(event: str | None) -> str:
    return f"'{event}'" if event else "null"


class Witnesses:
    """Records who saw the changes of one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._kind = resource.witnessed
        # By account: start of the last complete poll before this one; None without one.
        self._polled: dict[str, datetime | None] = {}

    def take_down(
        self,
        connection: sa.Connection,
        account: str,
        witness: str,
        seen: Sequence[tuple[int, datetime, datetime | None]],
        *,
        new: Collection[int],
    ) -> None:
        """Record that ``witness`` saw the records that the caller's transaction has just stored.

        Sends one statement, or none: for a resource without events, for a backfill, or before the account's
        first complete poll of the resource. A change that is already known, by its content or by its source
        time, gets its second witness. A later, different content is another change.

        :param witness: ``poll`` or ``webhook``; other values record nothing.
        :param seen: the records, written or unchanged: id, when it was observed, and when the witness saw it.
            The last is None if a webhook about another record led to this one, so that none reported it.
        :param new: those of them that the mirror did not have.
        """
        if self._kind is None or not seen or witness not in ("poll", "webhook"):
            return
        if account not in self._polled:
            self._polled[account] = read_watermark(connection, account, self._resource.name)
        polled = self._polled[account]
        if polled is None:
            return
        ids, observed, seen_at = zip(*seen, strict=True)
        values = {
            "account": account,
            "ids": list(ids),
            "new": list(new),
            "observed": list(observed),
            "seen": list(seen_at),
            "since": polled - SLACK,
            "latest": LATEST,
        }
        driver_connection(connection).execute(self._statement(self._kind, witness), values)

    def _statement(self, kind: Witnessed, witness: str) -> str:
        near = "true"
        if witness == "webhook":
            near = "coalesce(w.poll_seen_at, 'infinity') > s.seen_at - %(latest)s::interval"
        same = "true"
        if not kind.told_once:
            # A list and a direct read may format the same content differently, but share the source's own
            # time.
            same = "(w.content_hash = s.content_hash or w.changed_at = s.changed_at)"
        created = kind.created or kind.changed
        event = f"case when s.is_new then {_literal(created)} else {_literal(kind.changed)} end"
        names = _names(self._resource, kind)
        return _RECORD.substitute(names, witness=witness, near=near, same=same, event=event)


def confirm(
    connection: sa.Connection,
    resource: Resource,
    account: str,
    started_at: datetime,
    *,
    listed_after: datetime | None = None,
) -> int:
    """Let a complete walk that began at ``started_at`` confirm changes that webhooks reported.

    Runs in the caller's transaction, after the walk's last page; costs one index lookup if nothing waits.

    :param listed_after: the walk listed only records created after this moment.
    :return: number of changes that the poll has now seen, too.
    """
    kind = resource.witnessed
    if kind is None:
        return 0
    same = "true" if kind.told_once else f"w.content_hash = {kind.content}"
    values = {"account": account, "started_at": started_at, "listed_after": listed_after}
    statement = _CONFIRM.substitute(_names(resource, kind), same=same)
    return driver_connection(connection).execute(statement, values).rowcount


def forget(connection: sa.Connection, account: str, now: datetime) -> int:
    """Delete changes seen more than :data:`RETENTION` ago, and return their number."""
    values = {"account": account, "before": now - RETENTION}
    return driver_connection(connection).execute(_FORGET, values).rowcount
