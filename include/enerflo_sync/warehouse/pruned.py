"""What ``enerflo-sync prune`` deleted, for those who miss it: when, and by which bound."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

# Of each moment the first run that may have deleted it.
_OF_KIND = sa.text("""
/* enerflo-sync: by which run something was pruned */
select m.at, p.pruned_at, p.bound from unnest(cast(:moments as timestamptz[])) m (at)
cross join lateral (
  select pruned_at, bound from sync.prunings
  where account = :account and kind = :kind and oldest <= m.at and before > m.at
  order by pruned_at limit 1
) p
""")
_LATEST = sa.text("""
/* enerflo-sync: the last run that may have pruned something of a time after another */
select pruned_at, bound from sync.prunings
where account = :account and kind = :kind and before > :since order by pruned_at desc limit 1
""")
_VERSIONS = sa.text("""
/* enerflo-sync: versions of a record that were pruned */
select seen_at, pruned_at, bound from sync.pruned_versions
where account = :account and table_name = :table and record_id = :id
""")


@dataclass(frozen=True)
class Pruning:
    """A run of prune that deleted something.

    :param bound: the option of sync.yaml with its value, ``retention.plans_days: 365``.
    """

    pruned_at: datetime
    bound: str

    def __str__(self) -> str:
        """Return it as the end of a sentence."""
        return f"pruned at {self.pruned_at.astimezone(UTC):%Y-%m-%d %H:%M:%S UTC} by {self.bound}"


@dataclass(frozen=True)
class PrunedVersions:
    """The raw versions of a record that were deleted.

    :param seen_at: when each had first been seen, oldest first.
    """

    seen_at: tuple[datetime, ...]
    by: Pruning

    def between(self, after: datetime | None, until: datetime) -> tuple[datetime, ...]:
        """Return those first seen after a moment (ever, where None), up to another."""
        return tuple(at for at in self.seen_at if (after is None or at > after) and at <= until)


def pruning_of(connection: sa.Connection, account: str, kind: str, at: datetime) -> Pruning | None:
    """Return the run that deleted what a kind has of a moment; None where none can have.

    In the caller's transaction.
    """
    return prunings_of(connection, account, kind, [at]).get(at)


def latest_pruning(connection: sa.Connection, account: str, kind: str, since: datetime) -> Pruning | None:
    """Return the latest run that may have deleted what a kind has of a time after ``since``; None if none."""
    row = connection.execute(_LATEST, {"account": account, "kind": kind, "since": since}).first()
    return None if row is None else Pruning(row.pruned_at, row.bound)


def prunings_of(
    connection: sa.Connection, account: str, kind: str, moments: Collection[datetime]
) -> dict[datetime, Pruning]:
    """Return the same for many moments, in one statement; without those of which nothing can be deleted."""
    if not moments:
        return {}
    values = {"account": account, "kind": kind, "moments": list(dict.fromkeys(moments))}
    rows = connection.execute(_OF_KIND, values)
    return {row.at: Pruning(row.pruned_at, row.bound) for row in rows}


def pruned_versions_of(
    connection: sa.Connection, account: str, table: str, record_id: int
) -> PrunedVersions | None:
    """Return what was deleted of a record's raw versions, in the caller's transaction."""
    row = connection.execute(_VERSIONS, {"account": account, "table": table, "id": record_id}).first()
    return (
        None if row is None else PrunedVersions(tuple(sorted(row.seen_at)), Pruning(row.pruned_at, row.bound))
    )
