"""How long changes of Enerflo took to reach the CRM's rows within the last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

_DAY: Final = timedelta(days=1)
# Enough for the time of 95 in 100 changes, and few enough to read at once.
_MOST: Final = 10_000

# If a plan waited for a person, its time is the person's. If a value was older than a day when it was
# written, its time shows when its field was mapped or the CRM was edited.
_TAKEN = sa.text("""
/* enerflo-sync pages: how long changes took from Enerflo to the CRM */
select count(*) as changes, percentile_disc(array[0.5, 0.95]) within group (order by taken) as taken
from (
  select c.done_at - c.changed_at as taken
  from sync.plans p join sync.plan_changes c using (account, plan_hash)
  where p.account = :account and p.created_at > :since and p.kind = 'sync' and not p.needs_approval
    and c.direction = 'to_crm' and c.state = 'applied' and c.changed_at > :since
  limit :most) t
""")


@dataclass(frozen=True)
class Latency:
    """How long changes took from Enerflo, by its own clock if it gives a time, to the CRM's row.

    :param changes: the number of changes; :param half: the longest time of the quicker half.
    :param most: the longest time of the quickest 95 per cent.
    """

    changes: int
    half: timedelta
    most: timedelta


def read_latency(connection: sa.Connection, account: str, now: datetime) -> Latency | None:
    """Return the times of the last day's changes that Enerflo made and that needed no approval.

    None if there are none.
    """
    values = {"account": account, "since": now - _DAY, "most": _MOST}
    row = connection.execute(_TAKEN, values).one()
    if not row.changes:
        return None
    half, most = (max(taken, timedelta()) for taken in row.taken)
    return Latency(row.changes, half, most)
