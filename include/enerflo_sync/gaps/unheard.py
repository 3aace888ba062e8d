"""An account whose drop is looked into, and into which no webhook ever came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.mirror.witness_report import GRACE

# Webhooks are awaited since the first ingest that could read the drop. A change that a poll saw later shows
# that one was due: a company in which nothing changes sends none.
_UNHEARD = sa.text("""
/* enerflo-sync gaps: a drop into which no webhook ever came */
select r.at as since, c.changes, f.files
from (select min(started_at) as at from sync.runs
  where account = :account and job = 'webhooks' and state in ('ok', 'partial')) r
cross join lateral (select count(*) as changes from sync.witnesses w
  where w.account = :account and w.webhook_seen_at is null and w.poll_seen_at > r.at
    and w.poll_seen_at <= :seen_until) c
cross join lateral (select count(*) as files from sync.quarantine q
  where q.account = :account and q.kind = 'file' and q.state = 'open') f
where r.at is not null and not exists (select from sync.webhook_events where account = :account)
""")


class Unheard(msgspec.Struct, frozen=True):
    """No webhook was ever ingested although they are awaited.

    :param since: when the drop was first read.
    :param changes: changes that polls saw since then, and of which a webhook could have told.
    :param files: files of the drop that lie in quarantine.
    """

    since: datetime
    changes: int
    files: int


def unheard(
    connection: sa.Connection, account: str, now: datetime, *, hours: float, is_told: bool = False
) -> Unheard | None:
    """Return since when an account waits for its first webhook; None if one came, or if none was due yet.

    None was due while nothing changed at Enerflo, and in the first ``hours`` after the drop was first read.

    :param is_told: people were told of it, so that it stands until a webhook comes: runs and changes that a
        prune deletes meanwhile do not end it.
    """
    values = {"account": account, "seen_until": now - GRACE}
    row: Any = connection.execute(_UNHEARD, values).one_or_none()
    if row is None:
        return None
    is_due = row.changes > 0 and row.since <= now - timedelta(hours=hours)
    return Unheard(row.since, row.changes, row.files) if is_due or is_told else None
