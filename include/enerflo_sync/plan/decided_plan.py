"""What a person, or nobody in time, decides about a plan or a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.plan.parts import Part, Rest, choose
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.refused import open_again, refused_since, remember_refused
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.plan.second_person import (
    both_names,
    first_approval,
    forget_first,
    needs_two,
    note_first,
    one_is_half,
)

# Named in the ledger where the rules let a plan pass without a person.
BY_RULE = "the approval rules"

_HOLD = sa.text("""
/* enerflo-sync apply: nobody else decides about a plan meanwhile */
select from sync.plans where account = :account and plan_hash = :plan_hash for update
""")

_DECIDE = sa.text("""
/* enerflo-sync apply: a decision about a plan */
update sync.plans
set state = :state, decided_by = :who, decided_at = :now, decision_reason = :reason,
    first_approval = case when cast(:state as text) = 'approved' then first_approval end,
    decided_as = case when cast(:who as text) is not null then session_user end,
    expires_at = coalesce(:until, expires_at)
where account = :account and plan_hash = :plan_hash
returning decided_as
""").bindparams(sa.bindparam("until", type_=sa.DateTime(timezone=True)))

_REOPEN = sa.text("""
/* enerflo-sync apply: changes of a plan that was rejected before */
update sync.plan_changes set state = 'planned', reason = null, done_at = null
where account = :account and plan_hash = :plan_hash and state = 'refused'
""")

_LEAVE_OUT = sa.text("""
/* enerflo-sync apply: changes that are no part of what a person approves */
update sync.plan_changes set state = 'left_out'
where account = :account and plan_hash = :plan_hash and position = any(:positions) and state = 'planned'
""").bindparams(sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)))

_PLANNED = sa.text("""
/* enerflo-sync apply: what nobody decided about yet */
select position from sync.plan_changes
where account = :account and plan_hash = :plan_hash and state = 'planned' order by position
""")

_ANY_APPLIED = sa.text("""
/* enerflo-sync apply: whether anything of a plan was made */
select exists (select from sync.plan_changes
  where account = :account and plan_hash = :plan_hash and state = 'applied')
""")

WHOLE = Part()


def require_person(who: str, option: str) -> str:
    """Return the name of the person who decides, without blanks around it.

    :raises ConfigurationError: nobody is named, or the rules themselves are.
    """
    name = " ".join(who.split())
    if not name:
        raise ConfigurationError(
            "nobody is named.", where=option, next_step="Give the name of the person who decides."
        )
    if name.casefold() == BY_RULE:
        raise ConfigurationError(
            f"{BY_RULE} are no person.", where=option, next_step="Give the name of the person who decides."
        )
    return name


def hold_plan(connection: sa.Connection, account: str, plan_hash: str, *, counted: bool = True) -> PlanReport:
    """Return a stored plan about which nobody else decides before the caller's transaction ends.

    Waits while somebody does: a person, an application, or a later plan that takes its place.

    :param plan_hash: as :func:`.plan_reads.read_plan` takes it, and ``counted`` too.
    :raises ConfigurationError: there is no such plan, or more than one.
    """
    plan = read_plan(connection, account, plan_hash, counted=False)
    connection.execute(_HOLD, _named(plan))
    return read_plan(connection, account, plan.plan_hash, counted=counted)


def require_undecided(plan: PlanReport) -> None:
    """Refuse a decision about a plan about which somebody decided before; time that ran out is no decision.

    :raises ConflictError: somebody did: who, and when.
    """
    if plan.state is PlanState.OPEN or (plan.state is PlanState.REJECTED and plan.decided_by is None):
        return
    what = {
        PlanState.SUPERSEDED: "a later plan took its place, and has what is due of it.",
        PlanState.EXPIRED: "its time ran out before anybody decided.",
    }.get(plan.state, f"it is {decided_words(plan)}.")
    raise ConflictError(what, where=f"plan {plan.plan_hash[:12]}", next_step="Nothing was changed now.")


def decided_words(plan: PlanReport) -> str:
    """Return a plan's state with who decided, and when."""
    when = f" on {plan.decided_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if plan.decided_at else ""
    return f"{plan.state} already by {plan.decided_by or 'nobody in time'}{when}"


def require_not_expired(plan: PlanReport, now: datetime) -> None:
    """Refuse a plan or an approval whose time is over, or that a later plan took the place of.

    :raises ConfigurationError: it has ended.
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


def remake(plan: PlanReport) -> str:
    """Return the command that makes a plan of this kind anew."""
    return f"undo {(plan.stands_on or '')[:12]}" if plan.kind == "undo" else "plan"


def approve_plan(
    connection: sa.Connection,
    plan: PlanReport,
    who: str,
    now: datetime,
    *,
    config: SyncConfig,
    part: Part = WHOLE,
) -> PlanReport:
    """Approve a plan, or a part of it, in the caller's transaction, which holds it.

    One that a person rejected may be approved after all: nothing of it is refused then. Not if a person
    refused a change of it again since, as one of a later plan. The approval lasts
    for ``approval.expires_hours``. Returns the plan with the decision; how its changes stand is not looked at
    again. A plan that was applied is left as it is. Where two persons have to approve it, the first approval
    is noted, and the plan goes on to wait (:mod:`.second_person`).

    :param who: the person, or :data:`BY_RULE`.
    :param part: what is approved; the rest stays open, or is refused by the same person.
    :raises ConfigurationError: the plan has expired, or nobody is named, or the part cannot be chosen.
    :raises ConflictError: a second person has to approve it, and this is the first one again.
    """
    if who is not BY_RULE:
        who = require_person(who, "--approve")
    require_not_expired(plan, now)
    if plan.state is PlanState.APPLIED:
        return plan
    if who is not BY_RULE and needs_two(config, plan):
        plan = one_is_half(connection, config, plan)
        if plan.state is PlanState.APPROVED and part.whole:
            return plan
        first = first_approval(connection, plan)
        tables = config.tables_for(plan.account)
        both = None if first is None else both_names(first, who, part, plan, tables)
        if both is None:
            if not part.whole:
                _require_open(plan)
                choose(connection, plan.account, plan.plan_hash, part, tables)
            return note_first(connection, plan, who, now, part)
        who = both
    # Where nobody answered in time, what is refused of the plan is a part that a person refused before.
    if plan.state is PlanState.REJECTED and plan.decided_by is not None:
        if since := refused_since(connection, plan.account, plan.plan_hash):
            raise ConfigurationError(
                f"{since} refused a change of it since, as one of a later plan.",
                where=f"plan {plan.plan_hash[:12]}",
                next_step="enerflo-sync reopen lists what stands refused: open it, and make a new plan.",
            )
        connection.execute(_REOPEN, _named(plan))
        open_again(connection, plan.account, plan.plan_hash, who)
    if not part.whole:
        _require_open(plan)
        _, others = choose(connection, plan.account, plan.plan_hash, part, config.tables_for(plan.account))
        if part.rest is Rest.REFUSE:
            _refuse(connection, plan, others, require_person(who, "--rest refuse"), now, None)
        else:
            connection.execute(_LEAVE_OUT, {**_named(plan), "positions": others})
    until = now + timedelta(hours=config.approval.expires_hours)
    return _decide(connection, plan, PlanState.APPROVED, who, now, None, until)


def reject_plan(
    connection: sa.Connection,
    account: str,
    plan_hash: str,
    *,
    who: str | None,
    reason: str | None,
    now: datetime,
    config: SyncConfig,
    part: Part = WHOLE,
) -> PlanReport:
    """Reject a plan that waits, or a part of it, in the caller's transaction, which holds it from then on.

    With a person's name each change goes into the ledger as refused, and is remembered: no later plan has it
    while its values stay the same (:mod:`.refused`). A plan that expired meanwhile stays so.

    :param who: None where nobody answered in time: the same plan may then be made again, and one that a
        person approved meanwhile is left as it is.
    :param part: what is rejected; the rest stays open unless it is to be refused too.
    :raises ConfigurationError: there is no such plan, or it is approved or applied already.
    """
    plan = hold_plan(connection, account, plan_hash)
    who = None if who is None else require_person(who, "--reject")
    waits = plan.state in {PlanState.OPEN, PlanState.REJECTED}
    if plan.state in {PlanState.EXPIRED, PlanState.SUPERSEDED} or (who is None and not waits):
        return plan
    if not waits:
        raise ConfigurationError(
            f"it is {plan.state} and can no longer be rejected.",
            where=f"plan {plan.plan_hash[:12]}",
            next_step="enerflo-sync undo makes the plan that takes an applied one back.",
        )
    if who is None:
        _decide(connection, plan, PlanState.REJECTED, None, now, reason)
        return read_plan(connection, account, plan.plan_hash)
    positions = list(connection.execute(_PLANNED, _named(plan)).scalars())
    others: list[int] = []
    if not part.whole:
        _require_open(plan)
        refuses_all = part.rest is Rest.REFUSE
        positions, others = choose(
            connection,
            account,
            plan.plan_hash,
            part,
            config.tables_for(account),
            refuses=not refuses_all,
        )
        if refuses_all:
            positions, others = sorted([*positions, *others]), []
    _refuse(connection, plan, positions, who, now, reason)
    if others:
        forget_first(connection, account, plan.plan_hash)
    else:
        any_applied = connection.scalar(_ANY_APPLIED, _named(plan))
        state = PlanState.APPLIED if any_applied else PlanState.REJECTED
        _decide(connection, plan, state, who, now, reason)
    return read_plan(connection, account, plan.plan_hash)


def _require_open(plan: PlanReport) -> None:
    if plan.state is not PlanState.OPEN:
        raise ConfigurationError(
            f"it is {plan.state}: parts are chosen of a plan that waits.",
            where=f"plan {plan.plan_hash[:12]}",
            next_step="Leave --only and --except out, or make a new plan.",
        )


def _refuse(
    connection: sa.Connection,
    plan: PlanReport,
    positions: Sequence[int],
    who: str,
    now: datetime,
    reason: str | None,
) -> None:
    """Record that a person refused changes of a plan: in the ledger, and for the plans to come."""
    if not positions:
        return
    applying = Applying(plan.account, plan.plan_hash, f"rejected-{plan.plan_hash[:12]}", who)
    why = reason or "a person rejected it"
    record_outcome(connection, applying, positions, Decision.REFUSED, now, reason=why)
    # An undo is asked for by a person, and says nothing of what plans of their own may do.
    if plan.kind == "sync":
        remember_refused(connection, plan.account, plan.plan_hash, positions, who=who, reason=reason)


def _decide(
    connection: sa.Connection,
    plan: PlanReport,
    state: PlanState,
    who: str | None,
    now: datetime,
    reason: str | None,
    until: datetime | None = None,
) -> PlanReport:
    values = {**_named(plan), "state": str(state), "who": who, "now": now, "reason": reason, "until": until}
    decided_as = connection.scalar(_DECIDE, values)
    return msgspec.structs.replace(
        plan,
        state=state,
        decided_by=who,
        decided_as=decided_as,
        decided_at=now,
        decision_reason=reason,
        first_approved_by=plan.first_approved_by if state is PlanState.APPROVED else None,
        first_approved_at=plan.first_approved_at if state is PlanState.APPROVED else None,
        expires_at=until or plan.expires_at,
    )


def _named(plan: PlanReport) -> dict[str, str]:
    return {"account": plan.account, "plan_hash": plan.plan_hash}
