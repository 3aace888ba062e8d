"""Who of those that share a key's request budget goes first: live work before backfills.

A **live** request takes the next free slot, whoever else waits. A **backfill** request is granted only while

* no live request waits for a slot (``sync.request_budgets.live_waits_until``);
* the window holds fewer backfill requests than the lane's share: half of the limit where live work sent or
  waited for a request within the last window (``live_at``), otherwise all but a reserve;
* the window holds no more requests in all than leave the reserve free: a live request that comes out of the
  blue finds a slot at once, however long a backfill has had the key for itself;
* it is its turn: backfill requests are spread over the window, so that after a live burst has used the
  reserve, a slot grows old every few hundred milliseconds, and none of those goes to the backfill.

Where the vendor's own ``remaining`` steers, the same reserve of it is left alone.
"""

from __future__ import annotations

import math
from enum import StrEnum

import sqlalchemy as sa

# The share of the limit that backfills leave free while they have the key for themselves: with the margin of
# the window, more of it would leave them less than 95 % of the vendor's minute.
RESERVED = 1 / 100
# What backfills may use while live work ran within the last window.
BESIDE_LIVE = 0.5
# The stretch, as a share of the window, in which a backfill may send no more than its part of the share.
TURN = 1 / 30
# How long after the moment at which a live request hopes to get its slot it still counts as waiting.
GRACE_SECONDS = 1.0


class Lane(StrEnum):
    """In which lane of a key's budget a client sends."""

    LIVE = "live"
    BACKFILL = "backfill"


# Backfills ask one after the other, so that no two of them count the same free place. Live work never asks.
ONE_BY_ONE = sa.text(
    """
    /* enerflo-sync request budget: backfills one by one */
    select pg_advisory_xact_lock(hashtextextended('enerflo-sync/backfills/' || :account || '/' || :key, 0))
    """
)

# The n-th newest of the slots in question has to be older than its stretch before one more may be used.
LANE_WAITS = sa.text(
    """
    /* enerflo-sync request budget: may a backfill send */
    with moment as materialized (
        select coalesce(cast(:now as timestamptz), clock_timestamp()) as at
    ), budget as (
        select b.*, m.at, coalesce(b.live_at > m.at - make_interval(secs => :window), false) as live,
               greatest(1, ceil(least(:limit, b.limit_per_window) * :reserved))::integer as reserve,
               least(:limit, b.limit_per_window) as allowed
        from sync.request_budgets b, moment m where b.account = :account and b.key_fingerprint = :key
    ), share as (
        select b.*, greatest(1, b.allowed - b.reserve) as most,
               greatest(1, floor(b.allowed * :beside_live))::integer as half from budget b
    )
    select s.live,
           case when s.live_waits_until > s.at then extract(epoch from s.live_waits_until - s.at)::float8
           end as live_first,
           case when s.reset_at > s.at and s.remaining <= s.reserve
                then extract(epoch from s.reset_at - s.at)::float8 end as used_elsewhere,
           (select least(extract(epoch from s.live_at - s.at), extract(epoch from l.used_at - s.at))::float8
                   + :window
            from sync.request_slots l
            where s.live and l.account = :account and l.key_fingerprint = :key and l.lane = 'backfill'
              and l.used_at > s.at - make_interval(secs => :window)
            order by l.used_at desc offset s.half - 1 limit 1) as half_used,
           (select extract(epoch from l.used_at - s.at)::float8 + :window
            from sync.request_slots l
            where l.account = :account and l.key_fingerprint = :key
              and l.used_at > s.at - make_interval(secs => :window)
            order by l.used_at desc offset s.most - 1 limit 1) as window_full,
           (select extract(epoch from l.used_at - s.at)::float8 + :window * :turn
            from sync.request_slots l
            where l.account = :account and l.key_fingerprint = :key and l.lane = 'backfill'
              and l.used_at > s.at - make_interval(secs => :window * :turn)
            order by l.used_at desc
            offset ceil((case when s.live then s.half else s.most end) * :turn)::integer - 1 limit 1
           ) as turn
    from share s
    """
).bindparams(reserved=RESERVED, beside_live=BESIDE_LIVE, turn=TURN)


def reserve_of(limit: int) -> int:
    """Return how many requests of a window backfills leave free at least."""
    return max(1, math.ceil(limit * RESERVED))


def backfill_rate(limit: int, window_seconds: float, *, beside_live: bool) -> float:
    """Return how many requests a second a backfill gets in the long run."""
    share = max(1, math.floor(limit * BESIDE_LIVE)) if beside_live else max(1, limit - reserve_of(limit))
    return share / window_seconds
