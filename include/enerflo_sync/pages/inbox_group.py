"""The page of one group of quarantined items: the items with one fingerprint, a page at a time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.inbox.quarantine import next_step
from enerflo_sync.inbox.quarantine_items import SEEN_ITEMS
from enerflo_sync.pages.inbox_details import Sample, item_sample
from enerflo_sync.pages.plan_lines import MOST_COUNTED, many_words
from enerflo_sync.pages.resolved import resolved_items
from enerflo_sync.pages.waiting import PAGE, EntryKind
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page

_ITEMS = sa.text("""
/* enerflo-sync pages: the open items of one fingerprint */
select item_id, kind, reason, table_name, key, first_seen_at, last_seen_at, count as seen from sync.quarantine
where account = :account and state = 'open' and fingerprint = :fingerprint
  and (cast(:since as timestamptz) is null or (first_seen_at, item_id) > (:since, cast(:item_id as text)))
order by first_seen_at, item_id limit :most
""")

_GROUP = sa.text(f"""
/* enerflo-sync pages: one fingerprint, and how many open items it has */
select q.kind, q.reason, c.open, c.seen
from (select count(*) as open, {SEEN_ITEMS} as seen from (
  select item_id from sync.quarantine o where o.account = :account and o.state = 'open'
    and o.fingerprint = :fingerprint order by o.first_seen_at limit :most) o) c
cross join sync.quarantine q where q.account = :account and q.fingerprint = :fingerprint
order by q.state = 'open' desc limit 1
""")  # noqa: S608 - a constant


@dataclass(frozen=True)
class GroupItem:
    """One open item, without its payload."""

    item_id: str
    sample: Sample
    count: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class GroupPage:
    """One page of the open items of a fingerprint.

    :param wanted: the position before the page; :param after: that of the next one, None on the last page.
    :param seen: what a form sends back of the items that are open; empty where they are too many.
    :param resolved: if no item is open: who resolved them, and when.
    """

    account: str
    fingerprint: str
    kind: EntryKind
    reason: str
    todo: str
    many: str
    seen: str
    items: Sequence[GroupItem]
    wanted: str | None
    after: str | None
    resolved: str


def read_inbox_group(
    connection: sa.Connection, account: str, to: Addresses, fingerprint: str, after: str | None
) -> GroupPage:
    """Return one page of a group.

    :raises ConfigurationError: there is no such group, or the position is none.
    """
    since, item_id = _position(after) if after else (None, None)
    named = {"account": account, "fingerprint": fingerprint.replace("\0", "")}
    group = connection.execute(_GROUP, {**named, "most": MOST_COUNTED + 1}).one_or_none()
    if group is None:
        raise ConfigurationError(
            "nothing in quarantine has this fingerprint.",
            where="the address",
            next_step="Choose an entry of the inbox.",
        )
    values = {**named, "since": since, "item_id": item_id, "most": PAGE + 1}
    rows = connection.execute(_ITEMS, values).all()
    last = rows[PAGE - 1] if len(rows) > PAGE else None
    return GroupPage(
        account=account,
        fingerprint=named["fingerprint"],
        kind=EntryKind.HELD if group.kind == "change_order" else EntryKind.QUARANTINE,
        reason=group.reason,
        todo=next_step(group.kind, group.reason),
        many=many_words(group.open),
        seen=group.seen if 0 < group.open <= MOST_COUNTED else "",
        items=[
            GroupItem(
                row.item_id, item_sample(to, account, row), row.seen, row.first_seen_at, row.last_seen_at
            )
            for row in rows[:PAGE]
        ],
        wanted=after,
        after=None if last is None else json.dumps([last.first_seen_at.isoformat(), last.item_id]),
        resolved="" if rows else resolved_items(connection, account, named["fingerprint"]),
    )


def _position(text: str) -> tuple[datetime, str]:
    try:
        since, item_id = json.loads(text)
        moment = datetime.fromisoformat(since)
        if moment.tzinfo is None:
            raise ValueError
        return moment, item_id.replace("\0", "")
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError(
            "after is no position.", where="the address", next_step="Begin at the first page."
        ) from None


def render_inbox_group(page: GroupPage, frame: Frame) -> str:
    """Return the page."""
    here = frame.to.of(Place.INBOX, page.account)
    own = f"{here}/{page.fingerprint}"
    return render_page(
        "inbox_group.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        here=here,
        kind=page.kind,
        first=own,
        next=None if page.after is None else f"{own}?{urlencode({'after': page.after})}",
    )
