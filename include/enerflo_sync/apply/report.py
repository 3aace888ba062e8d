"""The report of an apply: the outcomes of a plan's changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Decision
from enerflo_sync.plan.report import PlanReport, PlanState

_OUTCOMES = sa.text("""
/* enerflo-sync apply: states of the changes, and their reasons */
select state, reason, count(*) as number from sync.plan_changes
where account = :account and plan_hash = :plan_hash
group by state, reason order by number desc, reason
""")

_ENDED_SINCE = sa.text("""
/* enerflo-sync apply: how changes of the CRM ended now */
select state, count(*) as number from sync.plan_changes
where account = :account and plan_hash = :plan_hash and direction = 'to_crm' and done_at >= :since
group by state
""")

NOT_SWITCHED_ON = "not switched on"

# Counts of a plan's changes by state and reason, the largest first.
Outcomes = Sequence[tuple[str, str | None, int]]


class ApplyReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of a plan's changes in all its applications, in counts.

    ``before`` of the ``applied`` changes were made by an earlier application, as of another part of the plan.
    ``waiting`` changes have no outcome yet; ``stopped`` is the reason why they wait. ``left_open`` changes
    were not part of the approval, and nobody has decided about them. ``handed_over`` changes are on their way
    to a CRM of which we see only a copy; they are applied once the copy shows them. ``reasons`` counts, by
    state and reason, changes that were not made. ``already`` is true if the plan had been applied before, at
    ``applied_at``, so that nothing was done now. ``message`` says that in words, or says that the plan waits
    for a second person.
    """

    plan_hash: str
    account: str
    state: PlanState
    decided_by: str | None
    run_id: str
    applied: int
    moved: int
    parked: int
    refused: int
    waiting: int
    reasons: Mapping[str, Mapping[str, int]]
    stopped: str | None = None
    left_open: int = 0
    applied_at: datetime | None = None
    already: bool = False
    message: str = ""
    handed_over: int = 0
    before: int = 0

    @property
    def needs_a_person(self) -> bool:
        """Return whether a person has to look: this application left changes of the plan unmade.

        Changes that a person refused do not count.
        """
        refused = self.reasons.get(Decision.REFUSED, {})
        not_allowed = any(reason.startswith(NOT_SWITCHED_ON) for reason in refused)
        unmade = self.moved or self.parked or not_allowed or self.waiting or self.left_open
        return bool(unmade) and not self.already


def ended_since(connection: sa.Connection, plan: PlanReport, since: datetime) -> Counter[str]:
    """Return the counts of outcomes of the plan's changes to the CRM that were recorded since a time."""
    named = {"account": plan.account, "plan_hash": plan.plan_hash, "since": since}
    return Counter({row.state: row.number for row in connection.execute(_ENDED_SINCE, named)})


def outcomes_of(connection: sa.Connection, plan: PlanReport) -> Outcomes:
    """Return the counts of a plan's changes by state and reason."""
    named = {"account": plan.account, "plan_hash": plan.plan_hash}
    return [(row.state, row.reason, row.number) for row in connection.execute(_OUTCOMES, named)]


def report_of(
    plan: PlanReport,
    outcomes: Outcomes,
    run_id: str,
    stopped: str | None,
    *,
    already: bool = False,
    message: str = "",
    before: int = 0,
) -> ApplyReport:
    """Return the report of an apply.

    :param outcomes: the counts of the changes by state and reason.
    :param before: how many changes were made already when this application began.
    :param already: whether the plan had been applied before.
    :param message: the reason why nothing was done now.
    """
    states: Counter[str] = Counter()
    reasons: dict[str, dict[str, int]] = {}
    for state, reason, number in outcomes:
        states[state] += number
        if state in {Decision.MOVED, Decision.PARKED, Decision.REFUSED}:
            reasons.setdefault(state, {})[reason or "unknown"] = number
    return ApplyReport(
        plan_hash=plan.plan_hash,
        account=plan.account,
        state=plan.state,
        decided_by=plan.decided_by,
        run_id=run_id,
        applied=states["applied"],
        handed_over=states["handed_over"],
        moved=states["moved"],
        parked=states["parked"],
        refused=states["refused"],
        waiting=states["planned"] + states["sent"],
        reasons=reasons,
        stopped=stopped,
        left_open=states["left_out"],
        applied_at=plan.applied_at,
        already=already,
        message=_already(plan) if already else message,
        before=before,
    )


def _already(plan: PlanReport) -> str:
    if plan.rest_rejected:
        return (
            f"Nothing of plan {plan.plan_hash[:12]} is left to apply: a part was applied, and"
            f" {plan.decided_by} rejected the rest."
        )
    if plan.applied_at is None:
        return "There was nothing to apply."
    return f"Plan {plan.plan_hash[:12]} was applied at {plan.applied_at:%Y-%m-%d %H:%M:%S} UTC already."
