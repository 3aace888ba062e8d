"""Find all holes of an account from its warehouse, without requests to Enerflo."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.gaps.looks import LISTS, UNMARKED, Look, first_and_last, read_looks, read_runs
from enerflo_sync.gaps.report import GapReport, Hole
from enerflo_sync.gaps.schedule import Due
from enerflo_sync.gaps.stretches import drop_holes, note_edit_holes, record_holes
from enerflo_sync.gaps.told import (
    milestone_holes,
    missed_rows,
    unconfirmed_holes,
    unread_holes,
    webhook_holes,
)
from enerflo_sync.gaps.unheard import unheard
from enerflo_sync.resources.installs import INSTALLS
from enerflo_sync.resources.notes import NOTES

# How far back closed holes are reported.
DAYS = 14

_REFUSED = sa.text("""
/* enerflo-sync gaps: records in quarantine */
select count(*) from sync.quarantine where account = :account and kind = 'record' and state = 'open'
""")


def find_gaps(
    connection: sa.Connection,
    account: str,
    now: datetime,
    *,
    lists: Collection[str],
    poll_due: Due,
    ingest_due: Due,
    sweep_every: timedelta,
    days: int = DAYS,
    awaits_webhooks: bool = True,
) -> GapReport:
    """Return the account's holes: open ones of any age, closed ones of the last ``days`` days.

    :param lists: the resources that its polls read (``poll.resources``).
    :param poll_due: when the next poll is due; :param ingest_due: the next ingest.
    :param sweep_every: how often all notes are read.
    :param awaits_webhooks: whether the configuration names a drop for the account.
    """
    since = now - timedelta(days=days)
    wanted = [name for name in LISTS if name in lists]
    looks = read_looks(connection, account, since, now)
    unmarked = [name for name in UNMARKED if name in lists]
    for name in unmarked:
        # What was read before the days that are looked at is not called never read.
        last = None if looks.by_list[name] else first_and_last(connection, account, "poll", name, now)[1]
        if last is not None:
            looks.by_list[name] = [Look(last, None)]
    missed = missed_rows(connection, account, now)
    # A hole that lasts begins at the last ingest, however long ago that was.
    took_in, looked = first_and_last(connection, account, "webhooks", "files", since)
    ingests = read_runs(connection, account, "webhooks", looked or since, now)
    holes: list[Hole] = [
        *record_holes(looks, [*wanted, *unmarked], account, poll_due, now),
        *(note_edit_holes(looks, account, sweep_every, poll_due, now) if NOTES.name in wanted else ()),
        *webhook_holes(connection, missed, looks, wanted, account, since, now),
        *unconfirmed_holes(connection, account),
        *(milestone_holes(connection, account) if INSTALLS.name in wanted else ()),
        *unread_holes(connection, account, now),
        *drop_holes(ingests, took_in, account, ingest_due, now),
    ]
    told = [hole for hole in holes if hole.is_open or hole.end is None or hole.end >= since]
    silent = missed[-1].heard if missed and missed[-1].heard_again is None else None
    return GapReport(
        account=account,
        as_of=now,
        since=since,
        polled=looks.began is not None,
        silent_since=silent,
        holes=sorted(told, key=lambda hole: (hole.start, hole.kind), reverse=True),
        unheard=unheard(connection, account, now, hours=0) if awaits_webhooks else None,
        refused=int(connection.scalar(_REFUSED, {"account": account}) or 0),
    )
