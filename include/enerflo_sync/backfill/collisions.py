"""Count, before a backfill begins, what may conflict with it."""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.backfill.store import Backfill

_COUNTS = sa.text("""
/* enerflo-sync backfill: what could collide */
select
  (select count(*) from sync.quarantine where account = :account and state = 'open'
    and kind = 'record') as quarantined,
  (select count(*) from sync.change_order_facts where account = :account and item_id is not null) as held,
  (select count(*) from sync.backfills where account = :account and state = 'reading'
    and backfill_id <> :backfill_id) as backfills,
  (select count(*) from sync.plans where account = :account and change_count > 0 and expires_at > :now
    and (state = 'approved' or state = 'open' and needs_approval)) as plans,
  (select count(*) from sync.webhook_events where account = :account and state = 'received') as events
""")

WORDS = {
    "quarantined": "records stand in quarantine; those that are right now leave it",
    "held": "change orders are held by a check, and stay so until they pass",
    "backfills": "other backfills are under way and share the lane",
    "plans": "plans wait for a person or for apply; what moves meanwhile is not written by them",
    "events": "webhook events wait for their record",
}


def collisions(connection: sa.Connection, backfill: Backfill, now: object) -> dict[str, int]:
    """Return the number of conflicts of each kind that occurs, in the caller's transaction."""
    values = {"account": backfill.account, "backfill_id": backfill.backfill_id, "now": now}
    counts = connection.execute(_COUNTS, values).mappings().one()
    return {name: count for name, count in counts.items() if count}
