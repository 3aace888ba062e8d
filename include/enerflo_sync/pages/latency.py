"""How long a change of Enerflo took to the CRM's row, of the changes of the last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

_DAY: Final = timedelta(days=1)
# Enough to tell what 95 of 100 took, and few enough to be read at once.
_MOST: Final = 10_000

# Of a plan that waited for a person the time tells about the person. A value that was older than a day when
# it was written tells when its field was mapped, or the CRM edited.
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
    """How long changes took from Enerflo, by its own clock where it tells, to the CRM's row.

    :param changes: how many there were; :param half: what the quicker half of them took at most.
    :param most: what 95 of 100 took at most.
    """

    changes: int
    half: timedelta
    most: timedelta


def read_latency(connection: sa.Connection, account: str, now: datetime) -> Latency | None:
    """Return what the changes of the last day took, that Enerflo made and no person was asked about.

    None where there are none.
    """
    values = {"account": account, "since": now - _DAY, "most": _MOST}
    row = connection.execute(_TAKEN, values).one()
    if not row.changes:
        return None
    half, most = (max(taken, timedelta()) for taken in row.taken)
    return Latency(row.changes, half, most)
