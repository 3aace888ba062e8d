"""Holes that the witnesses show: changes without a webhook, without a poll, or without a read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sync.gaps.looks import Looks
from enerflo_sync.gaps.report import Evidence, Hole, HoleKind, account_option, backfill_command
from enerflo_sync.mirror.details import milestone_looks
from enerflo_sync.mirror.witness_report import GRACE
from enerflo_sync.resources.notes import NOTES
from enerflo_sync.resources.registry import ALL

# Missed changes this close together form one hole, even if webhooks came in between: some were lost.
NEAR = timedelta(hours=1)

# A change lies in the silence between two arrivals. Consecutive silences with missed changes form one hole.
# An event that this account has never received is not sent for it, so it does not count as missed.
_MISSED = sa.text("""
/* enerflo-sync gaps: changes without a webhook, by hole */
with first as (
  select min(received_at) as at from sync.webhook_events where account = :account
), missed as (
  select w.record, w.event, w.poll_seen_at, coalesce(w.changed_at, w.poll_seen_at) as at
  from sync.witnesses w, first
  where w.account = :account and w.webhook_seen_at is null and w.poll_seen_at between first.at and :seen_until
    and w.event in (
      select t.event from sync.witnesses t where t.account = :account and t.webhook_seen_at is not null)
), placed as (
  select m.*, before.received_at as heard, before.event_id as heard_event,
    after.received_at as heard_again, after.event_id as heard_again_event
  from missed m
  left join lateral (
    select received_at, event_id from sync.webhook_events e
    where e.account = :account and e.received_at <= m.at order by e.received_at desc limit 1) before on true
  left join lateral (
    select received_at, event_id from sync.webhook_events e
    where e.account = :account and e.received_at > m.at order by e.received_at limit 1) after on true
), marked as (
  select p.*, case when lag(heard) over w is not distinct from heard or at - lag(at) over w <= :near
    then 0 else 1 end as begins
  from placed p window w as (order by at, record)
), numbered as (
  select m.*, sum(begins) over (order by at, record) as hole from marked m
)
select min(coalesce(heard, at)) as heard, max(at) - min(at) as span, max(poll_seen_at) as last_seen,
  case when bool_or(heard_again is null) then null else max(heard_again) end as heard_again,
  count(*) as changes,
  (select jsonb_object_agg(e.event, e.n) from (
     select i.event, count(*) as n from numbered i where i.hole = n.hole group by i.event) e) as events,
  (array_agg(record order by at desc))[1:10] as records,
  array_remove(array[(array_agg(heard_event order by at))[1],
    (array_agg(heard_again_event order by at desc))[1]], null) as heard_events
from numbered n group by hole order by hole
""")

# Data that only webhooks bring: projects of that time whose signed design is not stored.
_DESIGNS = sa.text("""
/* enerflo-sync gaps: projects of a time without their design */
select count(*) from enerflo.installs i
where i.account = :account and i.deal_id is not null and i.deleted_at is null
  and i.created_at >= :start and i.created_at < :end
  and exists (select from enerflo.submissions s where s.account = :account)
  and not exists (select from enerflo.submissions s where s.account = :account and s.deal_id = i.deal_id)
""")

_STANDING = " union all ".join(
    f"select t.absent_since, {one.witnessed.content} as mark from {one.table.fullname} t"  # noqa: S608 - ours
    f" where told.list = '{one.name}' and t.account = :account and t.{one.id_column} = told.id"
    " and t.deleted_at is null"
    for one in ALL
    if one.witnessed is not None
)
_UNCONFIRMED = sa.text(f"""
/* enerflo-sync gaps: changes that a webhook told and no poll finds */
with told as (
  select w.record, w.webhook_seen_at, w.content_hash, split_part(w.record, '/', 1) as list,
    split_part(w.record, '/', 2)::bigint as id
  from sync.witnesses w
  join sync.watermarks p on p.account = w.account and p.name = split_part(w.record, '/', 1)
  where w.account = :account and w.poll_seen_at is null and p.value >= w.webhook_seen_at + :grace
), standing as (
  select told.*, r.absent_since, r.mark from told
  join lateral (
    {_STANDING}
  ) r on true
)
select list, min(webhook_seen_at) as start, max(webhook_seen_at) as until, count(*) as changes,
  (array_agg(record order by webhook_seen_at desc))[1:10] as records
from standing where absent_since is not null or mark = content_hash
group by list order by list
""")  # noqa: S608 - names of the declared schema

_UNREAD = sa.text("""
/* enerflo-sync gaps: events whose record was not read */
select min(received_at) as start, max(received_at) as until, count(*) as events,
  jsonb_object_agg(event, n) as by_event, (array_agg(event_id order by received_at desc))[1:10] as ids
from (
  select event, event_id, received_at, count(*) over (partition by event) as n
  from sync.webhook_events
  where account = :account and state = 'received' and received_at <= :until
) e
""")

# One event may have several quarantine items. An input that is no event may have been one.
_PUT_ASIDE = sa.text("""
/* enerflo-sync gaps: quarantined arrivals that were not read */
select min(at) as start, max(at) as until, count(*) as items, jsonb_object_agg(name, n) as by_name,
  (array_agg(event_id order by at desc) filter (where event_id is not null))[1:10] as ids
from (
  select name, event_id, at, count(*) over (partition by name) as n
  from (
    select distinct on (coalesce(e.event_id, q.item_id)) e.event_id, coalesce(e.event, 'files') as name,
      coalesce(e.received_at, q.first_seen_at) as at
    from sync.quarantine q
    left join sync.webhook_events e on e.account = q.account and q.table_name = 'webhook_events'
      and e.event_id = q.key->>'event_id'
    where q.account = :account and q.state = 'open'
      and (q.kind = 'file' or q.kind = 'event' and e.state = 'quarantined')
  ) i
) i
""")


def missed_rows(connection: sa.Connection, account: str, now: datetime) -> Sequence[Any]:
    """Return the periods with changes that had no webhook, oldest first.

    Changes before the account's first webhook are excluded, because no webhook could report them.
    """
    values = {"account": account, "seen_until": now - GRACE, "near": NEAR}
    return connection.execute(_MISSED, values).all()


def webhook_holes(
    connection: sa.Connection,
    rows: Sequence[Any],
    looks: Looks,
    lists: Collection[str],
    account: str,
    since: datetime,
    now: datetime,
) -> Iterator[Hole]:
    """Yield the periods with changes that had no webhook.

    The poll saw these changes; others may have been reverted before it came. A hole is closed once every list
    was read completely since. If it spans an hour or more, the notes' edits must have been read as well,
    which webhooks about their installs would have brought at once.

    :param since: closed holes that ended earlier are omitted.
    """
    for row in rows:
        start, end = row.heard, row.heard_again
        closing = [looks.first_after(name, row.last_seen) for name in lists]
        is_long = NOTES.name in lists and row.span > NEAR
        if is_long:
            closing.append(looks.swept if looks.swept and looks.swept.at > row.last_seen else None)
        seen = [look for look in closing if look is not None]
        last = max(seen, key=lambda look: look.at) if seen and len(seen) == len(closing) else None
        if last is not None and end is not None and end < since:
            continue
        designs = 0
        if (end or now) - start > NEAR:
            values = {"account": account, "start": start, "end": end or now}
            designs = connection.scalar(_DESIGNS, values) or 0
        told = f"{'was' if row.changes == 1 else 'were'} told by no webhook"
        again = "none came since" if end is None else "after that they came again"
        yield Hole(
            kind=HoleKind.WEBHOOKS,
            start=start,
            end=end,
            not_seen={**row.events, **({"submissions": designs} if designs else {})},
            why=f"{_changes(row.changes)} that polls saw {told}; {again}.",
            evidence=Evidence(records=row.records, events=row.heard_events),
            is_open=last is None,
            closed_by=last.run_id if last else None,
            closed_at=last.at if last else None,
            closes=f"enerflo-sync poll{' --full' * is_long}{account_option(account)}",
            backfill=backfill_command(account, start, end or now),
            remark="Signed designs come by webhook only: have Enerflo send them again." if designs else None,
        )


def unconfirmed_holes(connection: sa.Connection, account: str) -> Iterator[Hole]:
    """Yield changes with a webhook that no complete poll an hour later found, by list."""
    for row in connection.execute(_UNCONFIRMED, {"account": account, "grace": GRACE}):
        yield Hole(
            kind=HoleKind.UNCONFIRMED,
            start=row.start,
            end=row.until,
            not_seen={row.list: row.changes},
            why=f"{_changes(row.changes)} that a webhook told, and no poll finds.",
            evidence=Evidence(records=row.records),
            is_open=True,
            closes=f"enerflo-sync poll{account_option(account)}",
        )


def unread_holes(connection: sa.Connection, account: str, now: datetime) -> Iterator[Hole]:
    """Yield events whose record was not read within an hour, or that were quarantined."""
    row = connection.execute(_UNREAD, {"account": account, "until": now - GRACE}).one()
    if row.events:
        whose = "their records were" if row.events > 1 else "its record was"
        yield Hole(
            kind=HoleKind.UNREAD,
            start=row.start,
            end=row.until,
            not_seen=row.by_event,
            why=f"{row.events:,} event{'s' * (row.events > 1)} arrived, and {whose} not read yet.",
            evidence=Evidence(events=row.ids),
            is_open=True,
            closes=f"enerflo-sync ingest{account_option(account)}",
        )
    yield from _quarantine_holes(connection, account)


def _quarantine_holes(connection: sa.Connection, account: str) -> Iterator[Hole]:
    """Yield quarantined arrivals that no later ingest reads: a person decides."""
    row = connection.execute(_PUT_ASIDE, {"account": account}).one()
    if row.items:
        yield Hole(
            kind=HoleKind.UNREAD,
            start=row.start,
            end=row.until,
            not_seen=row.by_name,
            why=f"What arrived is in quarantine ({row.items:,}): it is not read until somebody replays or"
            " dismisses it.",
            evidence=Evidence(events=row.ids or ()),
            is_open=True,
            closes=f"enerflo-sync quarantine list{account_option(account)}",
        )


def milestone_holes(connection: sa.Connection, account: str) -> Iterator[Hole]:
    """Yield the time since which milestones that the install list omits are unknown.

    Their installs changed and were not read since, or their read failed.
    """
    looks = milestone_looks(connection, account)
    if looks.since is not None:
        whose = "of 1 install were" if looks.waiting == 1 else f"of {looks.waiting:,} installs were"
        yield Hole(
            kind=HoleKind.RECORDS,
            start=looks.since,
            end=None,
            not_seen={"milestones": None},
            why=f"Enerflo's list does not tell milestones, and those {whose} not read yet.",
            evidence=Evidence(),
            is_open=True,
            closes=f"enerflo-sync poll{account_option(account)}",
        )


def _changes(count: int) -> str:
    return f"{count:,} change{'' if count == 1 else 's'}"
