"""What becomes of a plan's changes: their state, and one row of the ledger for each, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa


class Decision(StrEnum):
    """How one change ended (``sync.ledger.decision``; the same words are states of a change)."""

    APPLIED = "applied"
    HANDED_OVER = "handed_over"
    MOVED = "moved"
    PARKED = "parked"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class Applying:
    """One application of a plan: what every row of the ledger says of it.

    :param decided_by: the person who approved the plan, or the rule that let it pass.
    """

    account: str
    plan_hash: str
    run_id: str
    decided_by: str


# Records how changes ended, in a statement that has the CTE ``ended (id, decision, reason, deleted_row)``:
# ``id`` is the change's ctid, ``deleted_row`` the CRM row that was deleted. The CTE ``recorded`` then has the
# changes that ended now. The statement's parameters are those of :func:`outcome_values`.
RECORD_OUTCOMES = """recorded as (
  update sync.plan_changes c set state = e.decision, reason = e.reason, done_at = %(now)s,
    deleted_row = coalesce(e.deleted_row, c.deleted_row)
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
    """Return what a statement with :data:`RECORD_OUTCOMES` takes.

    :param evidence: by what the winning value, or the confirmation, can be looked up.
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
    """Record how changes ended and return how many did now: one that had ended before is left as it is.

    :param reason: why a change was not made, or how one that was made was found to be.
    :param evidence: by what the winning value, or the confirmation, can be looked up.
    :param kept: by position, how Enerflo keeps a value that it spells otherwise.
    :param found_after: what a later plan took the place of, or what was parked as nobody could read what came
        of it, ends once more: it is known by now.
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
