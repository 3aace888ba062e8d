"""Approval and rejection of a plan or of a part of it, by a person, by the rules, or by a timeout."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.outcomes import Applying, Decision, record_outcome
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.plan.earlier_decisions import require_not_expired, require_undecided
from enerflo_sync.plan.parts import Part, Rest, choose
from enerflo_sync.plan.reads import read_plan
from enerflo_sync.plan.remembered import REFUSED_LAST, open_again, refused_since, remember_refused
from enerflo_sync.plan.report import PlanReport, PlanState
from enerflo_sync.plan.second_person import (
    both_names,
    first_approval,
    needs_two,
    note_first,
    one_is_half,
)

# The ledger's ``decided_by`` of a plan that the approval rules let pass without a person.
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

# A part that somebody refused before the rejection stays refused: who approves after all is told of the
# rejection alone.
_REOPEN = sa.text(f"""
/* enerflo-sync apply: changes of a plan that was rejected before */
update sync.plan_changes c set state = 'planned', reason = null, done_at = null
where account = :account and plan_hash = :plan_hash and {REFUSED_LAST}
""")  # noqa: S608 - a constant

_TAKE_IN = sa.text("""
/* enerflo-sync apply: changes that were left out of an approval, of a plan that is approved whole since */
update sync.plan_changes set state = 'planned'
where account = :account and plan_hash = :plan_hash and state = 'left_out'
""")

_LEAVE_OUT = sa.text("""
/* enerflo-sync apply: changes that are no part of what a person approves */
update sync.plan_changes set state = 'left_out'
where account = :account and plan_hash = :plan_hash and position = any(:positions) and state = 'planned'
""").bindparams(sa.bindparam("positions", type_=sa.ARRAY(sa.BigInteger)))

_BEGUN = sa.text("""
/* enerflo-sync apply: whether anything of an approved plan was made or tried */
select exists (select from sync.plan_changes where account = :account and plan_hash = :plan_hash
  and state not in ('planned', 'left_out', 'refused'))
""")

_WAIT_AGAIN = sa.text("""
/* enerflo-sync apply: a plan waits for a person again, with what was left out of its approval */
with rest as (
  update sync.plan_changes set state = 'planned'
  where account = :account and plan_hash = :plan_hash and state = 'left_out'
)
update sync.plans set state = 'open', decided_by = null, decided_as = null, decided_at = null,
  first_approval = null
where account = :account and plan_hash = :plan_hash
""")

_PLANNED = sa.text("""
/* enerflo-sync apply: changes that nobody decided about yet */
select position from sync.plan_changes
where account = :account and plan_hash = :plan_hash and state = 'planned' order by position
""")

# A plan that is being made meanwhile read its state before this decision. It meets the row that is changed
# here, and fails (serialization failure), instead of planning again what was refused.
_DECIDED_IN_PART = sa.text("""
/* enerflo-sync apply: a part of a plan was refused; the first approval was of more than is left */
update sync.plans set first_approval = null where account = :account and plan_hash = :plan_hash
""")

_ANY_APPLIED = sa.text("""
/* enerflo-sync apply: whether anything of a plan was made */
select exists (select from sync.plan_changes
  where account = :account and plan_hash = :plan_hash and state = 'applied')
""")

WHOLE = Part()


def require_person(who: str, option: str) -> str:
    """Return the name of the person who decides, with single blanks.

    :raises ConfigurationError: the name is empty, or it is the name that stands for the approval rules.
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
    """Lock a stored plan and return it: nobody else can decide about it until the caller's transaction ends.

    Waits for anybody who holds the lock: a person, an application, or a later plan that supersedes it.

    :param plan_hash: the plan's hash, or its beginning, as in :func:`.reads.read_plan`; ``counted`` likewise.
    :raises ConfigurationError: there is no such plan, or more than one.
    """
    plan = read_plan(connection, account, plan_hash, counted=False)
    connection.execute(_HOLD, _named(plan))
    return read_plan(connection, account, plan.plan_hash, counted=counted)


def wait_again(connection: sa.Connection, plan: PlanReport) -> PlanReport:
    """Let a plan wait for a person again, with what was left out of its approval; return it."""
    connection.execute(_WAIT_AGAIN, _named(plan))
    return msgspec.structs.replace(
        plan,
        state=PlanState.OPEN,
        decided_by=None,
        decided_as=None,
        decided_at=None,
        first_approved_by=None,
        first_approved_at=None,
    )


def withdraw_approval(connection: sa.Connection, plan: PlanReport) -> PlanReport:
    """Let an approved plan wait again if nothing of it was made or tried yet; otherwise return it as it is.

    Runs in the caller's transaction, which holds the plan's lock, while the caller's session keeps any
    application of the account from running.
    """
    if plan.state is not PlanState.APPROVED or connection.scalar(_BEGUN, _named(plan)):
        return plan
    return wait_again(connection, plan)


def approve_plan(
    connection: sa.Connection,
    plan: PlanReport,
    who: str,
    now: datetime,
    *,
    config: SyncConfig,
    part: Part = WHOLE,
) -> PlanReport:
    """Approve a plan or a part of it, in the caller's transaction, which holds the plan's lock.

    A plan that a person rejected may be approved later; that ends its refusals, but not those of a part that
    somebody refused before. This is not possible if a person has since refused the same change in a later
    plan. A plan that was approved in part may be approved whole. The approval expires after
    ``approval.expires_hours``. A plan that was applied is left as it is. If two persons have to approve it,
    the first approval is stored, and the plan keeps waiting (:mod:`.second_person`). Returns the plan with
    the decision; the states of its changes are not counted again.

    :param who: the person, or :data:`BY_RULE`.
    :param part: the part that is approved; the rest stays open, or is refused by the same person.
    :raises ConfigurationError: the plan has expired, nobody is named, or the part cannot be chosen.
    :raises ConflictError: a second person has to approve it, and the first person approves again.
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
    # If the plan was rejected because nobody answered in time, its refused changes are a part that a person
    # refused, so they are not reopened.
    if plan.state is PlanState.REJECTED and plan.decided_by is not None:
        tables = config.tables_for(plan.account)
        if since := refused_since(connection, plan.account, plan.plan_hash, tables):
            raise ConfigurationError(
                f"{since} refused a change of it since, as one of a later plan.",
                where=f"plan {plan.plan_hash[:12]}",
                next_step="enerflo-sync reopen lists the refusals: open the change again, and plan again.",
            )
        connection.execute(_REOPEN, _named(plan))
        open_again(connection, plan.account, plan.plan_hash, who)
    if part.whole:
        if plan.state is PlanState.APPROVED:
            connection.execute(_TAKE_IN, _named(plan))
    else:
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
    """Reject a waiting plan or a part of it, in the caller's transaction, which then holds the plan's lock.

    If a person rejects it, each change is recorded as refused in the ledger and in ``sync.refusals``: no
    later plan contains it while its values stay the same (:mod:`.refused`). A plan that has expired stays
    expired.

    :param who: the person; None if nobody answered in time. In that case the same plan may be made again, and
        a plan that a person approved meanwhile stays approved.
    :param part: the part that is rejected; the rest stays open unless it is to be refused too.
    :raises ConfigurationError: there is no such plan, or it is already approved or applied
        (:func:`withdraw_approval`).
    :raises ConflictError: somebody rejected it before, and nobody approved it after all since.
    """
    plan = hold_plan(connection, account, plan_hash)
    who = None if who is None else require_person(who, "--reject")
    is_a_no = plan.state is PlanState.REJECTED and plan.decided_by is not None
    waits = plan.state in {PlanState.OPEN, PlanState.REJECTED}
    if plan.state in {PlanState.EXPIRED, PlanState.SUPERSEDED} or (who is None and (is_a_no or not waits)):
        return plan
    if is_a_no and plan.first_approved_by is None:
        require_undecided(plan)
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
        connection.execute(_DECIDED_IN_PART, _named(plan))
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
    """Record changes as refused by a person, in the ledger and in ``sync.refusals`` for later plans."""
    if not positions:
        return
    applying = Applying(plan.account, plan.plan_hash, f"rejected-{plan.plan_hash[:12]}", who)
    why = reason or "a person rejected it"
    record_outcome(connection, applying, positions, Decision.REFUSED, now, reason=why)
    # A person asked for the undo. Rejecting it does not forbid the same change in an ordinary plan.
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
