"""Who resolved an entry of the inbox, and when: the message for the second of two people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from enerflo_sync.plan.parked import TRIED_AGAIN_AFTER
from enerflo_sync.reconcile.render.wording import utc

_ITEMS = sa.text("""
/* enerflo-sync pages: who resolved quarantined items last */
select state, kind, decided_by, decided_at from sync.quarantine
where account = :account and state <> 'open'
  and case when cast(:items as text[]) is null then fingerprint = :fingerprint else item_id = any(:items) end
order by decided_at desc nulls last limit 1
""")

_RETRIED = sa.text("""
/* enerflo-sync pages: who had parked changes tried again last */
select r.requested_by, r.requested_at from sync.retries r
join sync.ledger l on l.account = r.account and l.ledger_id = r.ledger_id
where r.account = :account and l.decision = 'parked' and l.recorded_at > now() - :since
order by r.requested_at desc limit 1
""").bindparams(sa.bindparam("since", type_=sa.Interval))

_REOPENED = sa.text("""
/* enerflo-sync pages: who reopened refused changes of a plan last */
select ended_by, ended_at, end_reason from sync.refusals
where account = :account and ended_at is not null
  and (cast(:ids as bigint[]) is null and plan_hash = :plan_hash or refusal_id = any(:ids))
order by ended_at desc limit 1
""").bindparams(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))

_UNKNOWN: Final = "It is not there any more."


def resolved_items(
    connection: sa.Connection, account: str, fingerprint: str, items: Sequence[str] = ()
) -> str:
    """Return a sentence on who resolved the items of a fingerprint, or some of them."""
    values = {"account": account, "fingerprint": fingerprint, "items": list(items) or None}
    row = connection.execute(_ITEMS, values).one_or_none()
    if row is None:
        return _UNKNOWN
    if row.decided_by is None:
        return "A later poll or check resolved it."
    what = (
        "dismissed" if row.state == "dismissed" else "released" if row.kind == "change_order" else "replayed"
    )
    return f"It was {what} by {row.decided_by} on {utc(row.decided_at)}."


def resolved_parked(connection: sa.Connection, account: str) -> str:
    """Return a sentence on who last had parked changes tried again."""
    row = connection.execute(_RETRIED, {"account": account, "since": TRIED_AGAIN_AFTER}).one_or_none()
    if row is None:
        return "It was made meanwhile, or is tried again by itself."
    return f"{row.requested_by} had parked changes tried again on {utc(row.requested_at)}."


def resolved_refusals(
    connection: sa.Connection, account: str, plan_hash: str, ids: Sequence[int] = ()
) -> str:
    """Return a sentence on who reopened refused changes of a plan, or some refusals."""
    values = {"account": account, "plan_hash": plan_hash, "ids": list(ids) or None}
    row = connection.execute(_REOPENED, values).one_or_none()
    if row is None:
        return _UNKNOWN
    if row.ended_by is None:
        return f"The refusal ended on {utc(row.ended_at)}: {row.end_reason}."
    return f"It was reopened by {row.ended_by} on {utc(row.ended_at)}."
