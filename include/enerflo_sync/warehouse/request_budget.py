"""The request budget of one API key, stored in the warehouse and shared by every process that uses the key.

Two tables (declared in ``warehouse/schema/runs.py``) contain it:

* ``sync.request_slots`` (account, key_fingerprint, slot, used_at, lane): one row per request that the limit
  allows. A request takes the least recently used slot, and only a whole window after its last use. So **any**
  stretch of ``window_seconds`` has at most ``limit`` requests, wherever the vendor's fixed window begins. A
  process that dies blocks nothing: its slots simply age.
* ``sync.request_budgets`` (account, key_fingerprint, limit_per_window, remaining, reset_at, blocked_until,
  updated_at, live_at, live_waits_until): what the vendor reported, and when live work last sent or waited.
  ``blocked_until`` stops every process after a 429. ``remaining`` is what is left in the vendor's window when
  another program uses the key too: ``x-ratelimit-remaining`` less the requests sent since, decremented by
  each request, and cleared at ``reset_at``, the latest possible end of that window. ``updated_at`` is the
  time of the vendor's last report.

:mod:`enerflo_sync.warehouse.request_lanes` decides whose request goes first.

Times are the database's own (``clock_timestamp()``), since the clocks of the machines that share a key
differ. Under a clock other than the machine's, they are that clock's.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from enerflo_sync.clock import Clock, DatabaseClock, SystemClock
from enerflo_sync.errors import RetriableError
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.request_lanes import GRACE_SECONDS, LANE_WAITS, ONE_BY_ONE, Lane

log = logging.getLogger(__name__)

_PREPARE = (
    sa.text(
        """
        /* enerflo-sync request budget: prepare */
        insert into sync.request_budgets as b (account, key_fingerprint, limit_per_window)
        values (:account, :key, :limit)
        on conflict (account, key_fingerprint) do update set limit_per_window = excluded.limit_per_window
        where b.limit_per_window is distinct from excluded.limit_per_window
        """
    ),
    sa.text(
        """
        /* enerflo-sync request budget: times of a clock that was ahead, and was set back since */
        update sync.request_budgets b
        set remaining = null, reset_at = null, blocked_until = null, live_at = null, live_waits_until = null,
            updated_at = null
        from (select coalesce(cast(:now as timestamptz), clock_timestamp()) as at) m
        where b.account = :account and b.key_fingerprint = :key
          and greatest(b.updated_at, b.live_at) > m.at + make_interval(secs => :ahead)
        """
    ),
    sa.text(
        """
        /* enerflo-sync request budget: requests of a clock that was ahead count as sent just now */
        update sync.request_slots s set used_at = m.at
        from (select coalesce(cast(:now as timestamptz), clock_timestamp()) as at) m
        where s.account = :account and s.key_fingerprint = :key
          and s.used_at > m.at + make_interval(secs => :ahead)
        """
    ),
    sa.text(
        """
        /* enerflo-sync request budget: prepare */
        insert into sync.request_slots (account, key_fingerprint, slot, used_at)
        select :account, :key, n, timestamptz '1970-01-01 00:00:00+00' from generate_series(0, :limit - 1) n
        on conflict do nothing
        """
    ),
)

# No two processes' times of one database are further apart.
_AHEAD_SECONDS = 300.0

# FOR UPDATE SKIP LOCKED gives every process a different slot. The update locks the budget row, so processes
# decrement `remaining` one after the other. Nothing is written unless both are granted. The commit does not
# wait for the disk: a power cut loses the last second's few requests, and 429s would report an excess.
_ACQUIRE = """
/* enerflo-sync request budget: acquire */
with moment as materialized (
    select coalesce(cast(%(now)s as timestamptz), clock_timestamp()) as at,
           set_config('synchronous_commit', 'off', true)
), free as (
    select s.slot
    from sync.request_slots s, moment m
    where s.account = %(account)s and s.key_fingerprint = %(key)s
      and s.slot < least(%(limit)s, (select b.limit_per_window from sync.request_budgets b
                                  where b.account = %(account)s and b.key_fingerprint = %(key)s))
      and s.used_at <= m.at - make_interval(secs => %(window)s)
    order by s.used_at, s.slot
    limit 1
    for update of s skip locked
), paid as (
    update sync.request_budgets b
    set remaining = case when b.reset_at > m.at then b.remaining - 1 end,
        live_at = case when %(lane)s = 'live' then m.at else b.live_at end
    from moment m
    where b.account = %(account)s and b.key_fingerprint = %(key)s
      and exists (select from free)
      and (b.blocked_until is null or b.blocked_until <= m.at)
      and (b.remaining is null or b.reset_at is null or b.reset_at <= m.at or b.remaining > 0)
    returning m.at, b.remaining, b.limit_per_window
)
update sync.request_slots s
set used_at = p.at, lane = %(lane)s
from paid p
where s.account = %(account)s and s.key_fingerprint = %(key)s and s.slot = (select f.slot from free f)
returning s.used_at, p.remaining, p.limit_per_window
"""

_WAITS = sa.text(
    """
    /* enerflo-sync request budget: how long to wait */
    with moment as materialized (
        select coalesce(cast(:now as timestamptz), clock_timestamp()) as at
    )
    select extract(epoch from b.blocked_until - m.at)::float8 as paused,
           case when b.remaining <= 0 then extract(epoch from b.reset_at - m.at)::float8
           end as used_elsewhere,
           (select extract(epoch from min(s.used_at) - m.at)::float8 + :window
            from sync.request_slots s
            where s.account = :account and s.key_fingerprint = :key
              and s.slot < least(:limit, b.limit_per_window)) as window_full
    from sync.request_budgets b, moment m
    where b.account = :account and b.key_fingerprint = :key
    """
)

_OBSERVE = sa.text(
    """
    /* enerflo-sync request budget: observe */
    with moment as materialized (
        select coalesce(cast(:now as timestamptz), clock_timestamp()) as at
    ), told as (
        select m.at, cast(:reset_in as float8) is not null as exact,
               cast(:remaining as bigint) - (select count(*) from sync.request_slots s
                    where s.account = :account and s.key_fingerprint = :key
                      and s.used_at > coalesce(cast(:sent_at as timestamptz), m.at)) as remaining,
               coalesce(
                   m.at + make_interval(secs => :reset_in),
                   coalesce(cast(:began as timestamptz), m.at) + make_interval(secs => :window)
               ) as reset_at,
               m.at + make_interval(secs => :pause) as blocked_until
        from moment m
    )
    update sync.request_budgets b
    set limit_per_window = coalesce(cast(:vendor_limit as integer), b.limit_per_window),
        remaining = case
            when t.remaining is null then b.remaining
            when b.reset_at > t.at and t.remaining <= b.remaining + :slack
                then least(b.remaining, t.remaining)
            else t.remaining end,
        reset_at = case
            when t.remaining is null then b.reset_at
            when not t.exact and b.reset_at > t.at and t.remaining <= b.remaining + :slack
                then least(b.reset_at, t.reset_at)
            else t.reset_at end,
        blocked_until = greatest(b.blocked_until, t.blocked_until),
        updated_at = t.at
    from told t
    where b.account = :account and b.key_fingerprint = :key
    """
)


_LIVE_WAITS = sa.text(
    """
    /* enerflo-sync request budget: live work waits */
    with moment as materialized (
        select coalesce(cast(:now as timestamptz), clock_timestamp()) as at
    )
    update sync.request_budgets b
    set live_at = m.at,
        live_waits_until = greatest(b.live_waits_until, m.at + make_interval(secs => :seconds))
    from moment m where b.account = :account and b.key_fingerprint = :key
    """
)


class WaitReason(StrEnum):
    """The reason for a request's wait. The last three concern only backfills."""

    PAUSED = "paused"
    USED_ELSEWHERE = "used_elsewhere"
    WINDOW_FULL = "window_full"
    CONTENDED = "contended"
    LIVE_FIRST = "live_first"
    HALF_USED = "half_used"
    TURN = "turn"


@dataclass(frozen=True)
class _Acquired:
    """The result of a thread's last acquire.

    :param remaining: expected remaining requests after this one; None if ``remaining`` is not tracked.
    """

    used_at: datetime | None
    remaining: int | None
    limit: int

    def differs(self, limit: int | None, remaining: int | None) -> bool:
        """Return whether the vendor's limit or remaining requests differ from the stored ones."""
        if limit is not None and limit != self.limit:
            return True
        if remaining is None:
            return False
        return remaining * 2 <= self.limit if self.remaining is None else remaining != self.remaining


class WarehouseRequestBudget:
    """At most ``limit`` requests in any ``window_seconds``, over all processes that use the key.

    Safe to use from several threads. Each acquire is one short statement in its own transaction, on its own
    connection from ``engine``'s pool, so a poll's long transaction never holds the budget.

    :param engine: the warehouse, migrated.
    :param key_fingerprint: first 16 hex digits of the key's SHA-256.
    :param limit: requests per window (the vendor's is 300 a minute, REFERENCE.md §2); a lower
        ``x-ratelimit-limit`` takes precedence.
    :param margin_seconds: added to the window, because requests reach the vendor later than they were
        granted, with varying delay.
    :param max_wait_seconds: an acquire that would block longer raises instead.
    :param lane: live work, or a backfill, which yields to live work.
    """

    def __init__(
        self,
        engine: sa.Engine,
        account: str,
        key_fingerprint: str,
        clock: Clock,
        limit: int = 300,
        window_seconds: float = 60.0,
        *,
        margin_seconds: float = 2.0,
        max_wait_seconds: float = 900.0,
        lane: Lane = Lane.LIVE,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._in_order = engine
        self._account = account
        self._clock = clock
        self._window = window_seconds + margin_seconds
        self._margin = margin_seconds
        self._max_wait = max_wait_seconds
        self._limit = limit
        self._slack = max(1, limit // 10)
        self._always = {"account": account, "key": key_fingerprint, "limit": limit, "window": self._window}
        self._lane = lane
        self._lock = threading.Lock()
        self._prepared = False
        self._of_thread = threading.local()
        self._last_remaining: int | None = None
        self._began: datetime | None = None

    def acquire(self) -> None:
        """Return when one request may be sent; log a wait once per reason.

        :raises RetriableError: it would block longer than ``max_wait_seconds``, or the warehouse is
            unreachable.
        :raises ConfigurationError: the tables or the rights on them are missing.
        """
        self._prepare()
        logged: set[WaitReason] = set()
        while True:
            with warehouse_errors("the request budget"):
                waits = self._try()
            if waits is None:
                return
            reason, seconds = _longest(waits)
            if seconds > self._max_wait:
                raise RetriableError(
                    f"the requests of account {self._account} are used up for {seconds:.0f} s ({reason}).",
                    next_step="Run it again after that time.",
                    retry_after=seconds,
                )
            if reason not in logged:
                logged.add(reason)
                quiet = reason in (WaitReason.CONTENDED, WaitReason.TURN)
                message = "request_budget.wait account=%s reason=%s seconds=%.1f"
                log.log(logging.DEBUG if quiet else logging.INFO, message, self._account, reason, seconds)
            if self._lane is Lane.LIVE:
                self._say_that_live_work_waits(seconds)
            self._clock.sleep(seconds)

    def _try(self) -> sa.RowMapping | None:
        """Return the reasons that delay a request, or None if a slot was taken for it."""
        values = {**self._with_now(), "lane": str(self._lane)}
        if self._lane is Lane.LIVE:
            with self._engine.connect() as connection:
                return self._take(connection, values)
        with self._in_order.begin() as connection:
            connection.execute(ONE_BY_ONE, values)
            waits = connection.execute(LANE_WAITS, values).mappings().one()
            held = any((waits[reason] or 0.0) > 0 for reason in WaitReason if reason in waits)
            return waits if held else self._take(connection, values)

    def _take(self, connection: sa.Connection, values: dict[str, object]) -> sa.RowMapping | None:
        # Call the driver directly: this statement runs before each request.
        row = driver_connection(connection).execute(_ACQUIRE, values).fetchone()
        if row is None:
            return connection.execute(_WAITS, values).mappings().one()
        self._of_thread.acquired = _Acquired(*row)
        return None

    def _say_that_live_work_waits(self, seconds: float) -> None:
        values = {**self._with_now(), "seconds": seconds + GRACE_SECONDS}
        with warehouse_errors("the request budget"), self._engine.connect() as connection:
            connection.execute(_LIVE_WAITS, values)

    def observe(
        self,
        limit: int | None,
        remaining: int | None,
        reset_at: datetime | None,
        retry_after: float | None,
        throttled: bool,
    ) -> None:
        """Record what the answer to this thread's last acquired request said; see ``RequestBudget``.

        Writes only what can affect later requests: a 429, a changed limit, less than half of the limit left,
        or, while ``remaining`` is tracked, a count that differs from ours.

        :raises RetriableError: the warehouse is unreachable.
        """
        acquired: _Acquired = getattr(self._of_thread, "acquired", _Acquired(None, None, self._limit))
        sent_at = acquired.used_at
        began = self._window_began(remaining, sent_at)
        if not throttled and not acquired.differs(limit, remaining):
            return
        reset_in = None if reset_at is None else (reset_at - self._clock.now()).total_seconds()
        pause = None
        if throttled:
            known = retry_after if retry_after is not None else reset_in
            pause = max(0.0, known) + self._margin if known is not None else self._window
        news = {
            "vendor_limit": limit or None,
            "remaining": remaining,
            "reset_in": None if reset_in is None else reset_in + self._margin,
            "pause": pause,
            "sent_at": sent_at,
            "began": began,
            "slack": self._slack,
        }
        with warehouse_errors("the request budget"), self._engine.connect() as connection:
            connection.execute(_OBSERVE, self._with_now() | news)

    def _window_began(self, remaining: int | None, sent_at: datetime | None) -> datetime | None:
        """Return this process's earliest request that is known to be in the vendor's present window."""
        with self._lock:
            if remaining is None or sent_at is None:
                return self._began
            last, self._last_remaining = self._last_remaining, remaining
            renewed = last is None or remaining > last + self._slack
            if renewed or self._began is None or sent_at - self._began >= timedelta(seconds=self._window):
                self._began = sent_at
            return self._began

    def _prepare(self) -> None:
        with self._lock:
            if self._prepared:
                return
            with warehouse_errors("the request budget"), self._engine.connect() as connection:
                for statement in _PREPARE:
                    connection.execute(statement, {**self._with_now(), "ahead": _AHEAD_SECONDS})
            self._prepared = True

    def _with_now(self) -> dict[str, object]:
        now = None if isinstance(self._clock, SystemClock | DatabaseClock) else self._clock.now()
        return {**self._always, "now": now}


def _longest(waits: sa.RowMapping) -> tuple[WaitReason, float]:
    """Return the longest of the waits; all of them must be over before a request is sent."""
    seconds, reason = max((waits[reason] or 0.0, reason) for reason in WaitReason if reason in waits)
    # A zero wait: another process took the slot or has locked the row, so retry at once.
    return (reason, seconds + 0.001) if seconds > 0 else (WaitReason.CONTENDED, 0.005)
