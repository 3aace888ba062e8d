"""A database whose clock was ahead and was set back: times that were stored meanwhile lie in the future.

Until that time came, what is found by time would be missed: an answer that is read now would count as older
than the stored one, and what it brings as seen before the last look. So the run that finds such times brings
them to the present, and the next reconciliation compares every row.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from enerflo_sync.warehouse.schema import runs, watermarks
from enerflo_sync.warehouse.watermarks import forget_watermark, move_watermark, read_watermark

# The names of the watermarks that ask the next reconciliation to compare every row, and the next plan to
# bring earlier ones to the present.
RECONCILED, PLANNED = "clock_set_back/reconcile", "clock_set_back/plan"
# Workers follow the database's clock to less than that, and lookbacks cover it.
CLOCKS_DIFFER = timedelta(minutes=5)


def future_of(now: datetime) -> datetime:
    """Return the moment after which no time can have been stored by a clock that says ``now``."""
    return now + CLOCKS_DIFFER


# The newest run of each job, by the index: an account has a hundred thousand runs.
_NEWEST = sa.text("""
/* enerflo-sync: whether a run of an account began in the future */
with recursive jobs as (
  select min(job) as job from sync.runs where account = :account
  union all
  select (select min(r.job) from sync.runs r where r.account = :account and r.job > j.job)
  from jobs j where j.job is not null
)
select exists (select from jobs j where exists (
  select from sync.runs r where r.account = :account and r.job = j.job and r.started_at > :future))
""")


def was_set_back(connection: sa.Connection, account: str, now: datetime) -> bool:
    """Return whether an earlier run of the account began in the future."""
    return bool(connection.scalar(_NEWEST, {"account": account, "future": future_of(now)}))


def bring_to_present(connection: sa.Connection, account: str, now: datetime, run_id: str) -> None:
    """Bring the account's runs to the present, and forget how far each list was read, and each look seen.

    What has no watermark is read, or looked at, completely.
    """
    for column in (runs.c.started_at, runs.c.finished_at):
        connection.execute(
            sa.update(runs)
            .where(runs.c.account == account, column > future_of(now))
            .values({column.name: now})
        )
    connection.execute(
        sa.delete(watermarks).where(watermarks.c.account == account, watermarks.c.value > future_of(now))
    )
    for mark in (RECONCILED, PLANNED):
        move_watermark(connection, account, mark, now, run_id=run_id, now=now)


def noted_at(connection: sa.Connection, account: str, mark: str) -> datetime | None:
    """Return when a run found that the clock was set back; None if the mark's job looked at that since."""
    return read_watermark(connection, account, mark)


def is_noted(connection: sa.Connection, account: str, mark: str) -> bool:
    """Return whether the clock was set back since the last reconciliation, or plan, looked at that mark."""
    return noted_at(connection, account, mark) is not None


def note_done(connection: sa.Connection, account: str, mark: str) -> None:
    """Note, in the transaction of a reconciliation or plan, that it did what the mark asks for."""
    forget_watermark(connection, account, mark)
