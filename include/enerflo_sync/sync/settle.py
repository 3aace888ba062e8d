"""What becomes of a plan's changes: their state, and one row of the ledger for each, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa


class Decision(StrEnum):
    """How one change ended (``sync.ledger.decision``; the same words are states of a change)."""

    APPLIED = "applied"
    MOVED = "moved"
    PARKED = "parked"
    REFUSED = "refused"


@dataclass(frozen=True)
class Applying:
    """One application of a plan: what every row of the ledger says of it.

    :param decided_by: the person who approved the plan, or the rule that let it pass.
    """

    account: str
    plan_hash: str
    run_id: str
    decided_by: str


_SETTLE = sa.text("""
/* enerflo-sync apply: how changes ended, and the ledger of it */
with settled as (
  update sync.plan_changes set state = :decision, reason = :reason, done_at = :now
  where account = :account and plan_hash = :plan_hash and position = any(:positions)
    and state in ('planned', 'sent')
  returning *
)
insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, losing_value, direction,
  policy, cause, rule, facts, plan_hash, decision, reason, decided_by, evidence, run_id,
  changed_at, observed_at, recorded_at)
select account, table_name, key, op, field, before, after, before, direction,
  policy, cause, rule, facts, plan_hash, :decision, :reason, :decided_by, :evidence, :run_id,
  changed_at, observed_at, :now
from settled order by position
""").bindparams(sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)))


def settle(
    connection: sa.Connection,
    applying: Applying,
    positions: Sequence[int],
    decision: Decision,
    now: datetime,
    *,
    reason: str | None = None,
    evidence: str | None = None,
) -> int:
    """Record how changes ended and return how many did now: one that had ended before is left as it is.

    :param reason: why a change was not made, or how one that was made was found to be.
    :param evidence: by what the winning value, or the confirmation, can be looked up.
    """
    if not positions:
        return 0
    done = connection.execute(
        _SETTLE,
        {
            "account": applying.account,
            "plan_hash": applying.plan_hash,
            "positions": list(positions),
            "decision": str(decision),
            "reason": reason,
            "evidence": evidence,
            "decided_by": applying.decided_by,
            "run_id": applying.run_id,
            "now": now,
        },
    )
    return done.rowcount
