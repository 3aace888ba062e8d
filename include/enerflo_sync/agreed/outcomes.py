"""Outcomes of a plan's changes: the state of each change and its row in the ledger, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa


class Decision(StrEnum):
    """How a change ended: ``sync.ledger.decision``, and the same word as the state of the change."""

    APPLIED = "applied"
    HANDED_OVER = "handed_over"
    MOVED = "moved"
    PARKED = "parked"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Applying:
    """One application of a plan: the values that all its ledger rows share.

    :param decided_by: the person who approved the plan, or the rule that let it pass.
    """

    account: str
    plan_hash: str
    run_id: str
    decided_by: str


# CTEs that record outcomes. The statement must have the CTE ``ended (id, decision, reason, deleted_row)``:
# ``id`` is the change's ctid, ``deleted_row`` the CRM row that was deleted. The CTE ``recorded`` returns the
# changes whose outcome was recorded now. The parameters are those of :func:`outcome_values`.
RECORD_OUTCOMES = """recorded as (
  update sync.plan_changes c set state = e.decision, reason = e.reason, done_at = %(now)s,
    deleted_row = coalesce(e.deleted_row, c.deleted_row),
    confirmed = case when e.decision = 'applied' and c.sent_at is not null then true else c.confirmed end
  from ended e where c.ctid = e.id
    and (c.state in ('planned', 'sent', 'handed_over')
      or %(found_after)s and c.state in ('superseded', 'parked'))
  returning c.*
), noted as (
  insert into sync.ledger (account, table_name, key, op, field, old_value, new_value, losing_value,
    kept_value, direction, policy, cause, rule, facts, plan_hash, decision, reason, decided_by, evidence,
    run_id, changed_at, observed_at, recorded_at)
  select account, table_name, key, op, field, before, after, before,
    nullif(%(kept)s::jsonb -> position::text, 'null'), direction, policy, cause, rule, facts, plan_hash,
    state, reason, %(decided_by)s, %(evidence)s, %(run_id)s, changed_at, observed_at, done_at
  from recorded
)"""

_RECORD_OUTCOME = f"""
/* enerflo-sync apply: how changes ended, and the ledger of it */
with ended as (
  select ctid as id, %(decision)s::text as decision, %(reason)s::text as reason, null::jsonb as deleted_row
  from sync.plan_changes
  where account = %(account)s and plan_hash = %(plan_hash)s and position = any(%(positions)s::bigint[])
), {RECORD_OUTCOMES}
select count(*) from recorded
"""  # noqa: S608 - a constant


def outcome_values(applying: Applying, now: datetime, evidence: str | None) -> dict[str, Any]:
    """Return the parameters of a statement with :data:`RECORD_OUTCOMES`.

    :param evidence: where the winning value or the confirmation can be looked up.
    """
    return {
        "account": applying.account,
        "plan_hash": applying.plan_hash,
        "decided_by": applying.decided_by,
        "run_id": applying.run_id,
        "evidence": evidence,
        "now": now,
        "kept": None,
        "found_after": False,
    }


def record_outcome(
    connection: sa.Connection,
    applying: Applying,
    positions: Sequence[int],
    decision: Decision,
    now: datetime,
    *,
    reason: str | None = None,
    evidence: str | None = None,
    kept: Mapping[int, Any] | None = None,
    found_after: bool = False,
) -> int:
    """Record the outcome of changes, except of those that have one, and return how many were recorded.

    :param reason: why a change was not made, or how it was found out that it was made.
    :param evidence: where the winning value or the confirmation can be looked up.
    :param kept: by position, the value as Enerflo stores it, if Enerflo spells it differently.
    :param found_after: also record changes that are superseded or parked. The outcome of a sent change may
        become known only after a later plan superseded it, or after it was parked because its record could
        not be read back.
    """
    if not positions:
        return 0
    values = outcome_values(applying, now, evidence)
    values |= {"positions": list(positions), "decision": str(decision), "reason": reason}
    values["found_after"] = found_after
    if kept:
        values["kept"] = json.dumps({str(position): value for position, value in kept.items()})
    number: int = connection.exec_driver_sql(_RECORD_OUTCOME, values).scalar_one()
    return number
