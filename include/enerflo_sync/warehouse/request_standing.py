"""The state of an account's request budgets, and a way to unblock one."""

from __future__ import annotations

from datetime import datetime

import msgspec
import sqlalchemy as sa

_STANDING = sa.text("""
/* enerflo-sync budget: how it stands */
select b.key_fingerprint, b.limit_per_window, b.remaining, b.reset_at, b.blocked_until, b.updated_at,
       greatest(0, extract(epoch from greatest(
         b.blocked_until, case when b.remaining <= 0 then b.reset_at end
       ) - clock_timestamp()))::float8 as blocked_seconds,
       (select count(*) from sync.request_slots s
        where s.account = b.account and s.key_fingerprint = b.key_fingerprint
          and s.used_at > clock_timestamp() - interval '1 minute') as used_in_last_minute
from sync.request_budgets b where b.account = :account order by b.key_fingerprint
""")

# Keep the slots: they record our own requests, and become free within a minute.
_RESET = sa.text("""
/* enerflo-sync budget: forget what the vendor's answers said */
update sync.request_budgets
set blocked_until = null, remaining = null, reset_at = null, live_waits_until = null,
    updated_at = clock_timestamp()
where account = :account and (cast(:key as text) is null or key_fingerprint = :key)
""")


class Standing(msgspec.Struct, frozen=True):
    """One key's budget.

    :param key_fingerprint: first 16 hex digits of the key's SHA-256.
    :param remaining: requests left until ``reset_at`` by the vendor's answers; None if they do not say.
    :param blocked_until: no process sends with this key before then, since the vendor answered 429.
    :param blocked_seconds: remaining seconds of the block by the server's clock; 0 without one.
    """

    key_fingerprint: str
    limit_per_window: int
    remaining: int | None
    reset_at: datetime | None
    blocked_until: datetime | None
    updated_at: datetime | None
    blocked_seconds: float
    used_in_last_minute: int


def standing(connection: sa.Connection, account: str) -> list[Standing]:
    """Return the budgets of an account's keys: one per key ever used."""
    rows = connection.execute(_STANDING, {"account": account}).mappings()
    return [Standing(**{**row, "blocked_seconds": row["blocked_seconds"] or 0.0}) for row in rows]


def reset(connection: sa.Connection, account: str, key_fingerprint: str | None = None) -> int:
    """Delete what the vendor's answers said about a key, in the caller's transaction.

    :param key_fingerprint: None means every key of the account.
    :return: number of budgets reset.
    """
    return connection.execute(_RESET, {"account": account, "key": key_fingerprint}).rowcount
