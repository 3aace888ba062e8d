"""Priorities within a key's request budget: live work before backfills.

A **live** request takes the next free slot, whoever else waits. A **backfill** request is granted only if

* no live request waits for a slot (``sync.request_budgets.live_waits_until``);
* the window has fewer backfill requests than the lane's share: half of the limit if live work sent or
  waited for a request within the last window (``live_at``), otherwise all but a reserve;
* the window's total leaves the reserve free, so that an unexpected live request finds a slot at once,
  however long a backfill has used the key alone;
* the even spacing of backfill requests over the window permits it. When a live burst has used the reserve, a
  slot becomes free every few hundred milliseconds, and the backfill takes none of those.

While the vendor's own ``remaining`` is tracked, the backfill leaves the same reserve of it.
"""

from __future__ import annotations

import math
from enum import StrEnum

import sqlalchemy as sa

# Share of the limit that a backfill alone leaves free. Together with the window's margin, a larger share
# would leave the backfill less than 95 % of the vendor's minute.
RESERVED = 1 / 100
# Share of the limit for backfills while live work ran within the last window.
BESIDE_LIVE = 0.5
# Interval, as a share of the window, in which a backfill may use at most its proportional part.
TURN = 1 / 30
# How long a live request counts as waiting after its expected start.
GRACE_SECONDS = 1.0


class Lane(StrEnum):
    """The lane of a key's budget in which a client sends."""

    LIVE = "live"
    BACKFILL = "backfill"


# Backfills ask one at a time, so that no two of them count the same free slot. Live work never takes this
# lock.
ONE_BY_ONE = sa.text(
    """
    /* enerflo-sync request budget: backfills one by one */
    select pg_advisory_xact_lock(hashtextextended('enerflo-sync/backfills/' || :account || '/' || :key, 0))
    """
)

# The n-th newest slot of each kind must be older than its interval before another slot may be used.
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
    """Return the minimum number of requests per window that backfills leave free."""
    return max(1, math.ceil(limit * RESERVED))


def backfill_rate(limit: int, window_seconds: float, *, beside_live: bool) -> float:
    """Return the requests per second that a backfill gets in the long run."""
    share = max(1, math.floor(limit * BESIDE_LIVE)) if beside_live else max(1, limit - reserve_of(limit))
    return share / window_seconds
