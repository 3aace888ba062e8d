"""What was decided about a plan before: it is told, and a decision that does not fit it is refused."""

from __future__ import annotations

from datetime import UTC, datetime

from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.plan.report import PlanReport, PlanState


def require_undecided(plan: PlanReport) -> None:
    """Refuse a second decision about a plan; a rejection because nobody answered in time is no decision.

    :raises ConflictError: somebody decided before. The text names the person and the time.
    """
    if plan.state is PlanState.OPEN or (plan.state is PlanState.REJECTED and plan.decided_by is None):
        return
    what = {
        PlanState.SUPERSEDED: "a later plan superseded it and contains the changes that are still due.",
        PlanState.EXPIRED: "its time ran out before anybody decided.",
    }.get(plan.state, f"it is {decided_words(plan)}.")
    raise ConflictError(what, where=f"plan {plan.plan_hash[:12]}", next_step="Nothing was changed now.")


def require_no_new_no(known: PlanReport, plan: PlanReport) -> None:
    """Refuse an approval that crosses a person's rejection: who approves cannot have known of it.

    :param known: the plan as it was when the person approved it.
    :param plan: the plan now, under its lock.
    :raises ConflictError: somebody rejected it meanwhile. The text names the person and the time.
    """
    is_a_no = plan.state is PlanState.REJECTED and plan.decided_by is not None
    if is_a_no and (known.state, known.decided_at) != (plan.state, plan.decided_at):
        raise ConflictError(
            f"it is {decided_words(plan)}, while this approval was on its way.",
            where=f"plan {plan.plan_hash[:12]}",
            next_step="Nothing was changed now. If it is to be written after all, approve it once more.",
        )


def require_not_expired(plan: PlanReport, now: datetime) -> None:
    """Refuse a plan that has expired, whose approval has expired, or that a later plan superseded.

    :raises ConfigurationError: the plan has ended in one of these ways.
    """
    if plan.state is PlanState.APPLIED:
        return
    if plan.state is PlanState.SUPERSEDED:
        problem = "it was superseded: a later plan took its place."
    elif plan.state is PlanState.EXPIRED or plan.expires_at <= now:
        problem = "its approval has expired." if plan.state is PlanState.APPROVED else "it has expired."
    else:
        return
    raise ConfigurationError(
        problem,
        where=f"plan {plan.plan_hash[:12]}",
        next_step=f"Make a new one with enerflo-sync {remake(plan)}.",
    )


def decided_words(plan: PlanReport) -> str:
    """Return a plan's state, who decided, and when, as words."""
    when = f" on {plan.decided_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if plan.decided_at else ""
    state = "carried out in part and its rest rejected" if plan.rest_rejected else plan.state
    return f"{state} already by {plan.decided_by or 'nobody in time'}{when}"


def remake(plan: PlanReport) -> str:
    """Return the command that makes a plan of this kind anew."""
    return f"undo {(plan.stands_on or '')[:12]}" if plan.kind == "undo" else "plan"
