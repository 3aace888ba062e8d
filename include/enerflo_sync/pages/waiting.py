"""How many things of an account wait for a person: the number beside the inbox in the bar."""

from __future__ import annotations

import sqlalchemy as sa

# One plan is one thing, however many changes it holds; items of quarantine that share a fingerprint are one.
_WAITING = sa.text("""
/* enerflo-sync pages: how many things wait for a person */
select (select count(*) from sync.plans where account = :account and state = 'open' and needs_approval
          and expires_at > now())
     + (select count(*) from (select from sync.quarantine where account = :account and state = 'open'
          group by fingerprint) q)
""")


def count_waiting(connection: sa.Connection, account: str) -> int:
    """Return how many entries the account's inbox has."""
    return int(connection.scalar(_WAITING, {"account": account}) or 0)
