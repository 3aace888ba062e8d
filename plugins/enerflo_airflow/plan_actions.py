"""What a person decides on a plan's page: approve, reject, reopen, undo."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.models import DagRun
from airflow.utils.session import create_session
from fastapi import APIRouter, Form, HTTPException
from fastapi.responses import Response
from sqlalchemy import select

from enerflo_airflow.accounts import account_name
from enerflo_airflow.approver_check import approver_problem, who_alone_may_decide
from enerflo_airflow.page_parts import Acting, Page, Visit, reading
from enerflo_airflow.page_runs import is_paused, start_run
from enerflo_sync.addresses import Place
from enerflo_sync.counted import count_of
from enerflo_sync.errors import ConfigurationError, ConflictError
from enerflo_sync.jobs.approval import read_first_approval, run_approve, run_reject, run_reopen
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.plan import read_stored_plan
from enerflo_sync.jobs.undo import run_undo
from enerflo_sync.pages.resolved import resolved_refusals
from enerflo_sync.plan.parts import Part, Rest
from enerflo_sync.plan.render.text import undo_words
from enerflo_sync.plan.reopen import WhichRefusals
from enerflo_sync.plan.second_person import first_words
from enerflo_sync.reconcile.render import render_message

plan_actions = APIRouter()

# Runs that ask about plans and did not end; there are few.
_LOOKED_AT = 100

Chosen = Annotated[list[str], Form(max_length=500, default_factory=list)]
Text = Annotated[str, Form(max_length=2000)]
Ids = Annotated[list[int], Form(max_length=100, default_factory=list)]


@plan_actions.post("/plans/{account}/{plan_hash}/approve")
def approve(
    visit: Acting,
    plan_hash: str,
    chosen: Chosen,
    also: Text = "",
    about: Text = "but",
    rest: Text = "open",
) -> Response:
    """Approve a plan or a part of it, and lead to the run that applies it."""

    def act(opened: AccountContext) -> Response:
        plan = read_stored_plan(opened, plan_hash)
        if plan.mode == "report":
            raise ConfigurationError(
                "nothing may be written: the mode is report.",
                where=f"plan {plan.plan_hash[:12]}",
                next_step="Set mode in sync.yaml, and plan again.",
            )
        _, first = read_first_approval(opened, plan_hash)
        part = first.part if first and about == "same" else _part(chosen, also, about, rest)
        _require_approver(visit, opened)
        waiting = _asking_run(visit, plan.plan_hash)
        if waiting is None:
            _require_may_start(visit)
        decided = run_approve(opened, plan.plan_hash, by=visit.name, part=part, undecided=True)
        if decided.state != "approved":
            return visit.done(visit.to.plan(visit.account, plan.plan_hash), first_words(decided))
        in_part = "" if part.whole else "in part "
        said = f"Plan {decided.plan_hash[:12]} {in_part}approved by {decided.decided_by}."
        if waiting is not None:
            return visit.done(waiting, f"{said} The run that asked about it goes on within five minutes.")
        try:
            address = start_run(visit, "approve", {"plan_hash": decided.plan_hash})
        except ConfigurationError as error:
            return _approved_only(visit, opened, f"{said} {error}")
        waits = " It is applied when that DAG is switched on." if is_paused(visit, "approve") else ""
        return visit.done(address, f"{said}{waits}")

    return _decide(visit, plan_hash, act)


@plan_actions.post("/plans/{account}/{plan_hash}/reject")
def reject(
    visit: Acting,
    plan_hash: str,
    chosen: Chosen,
    also: Text = "",
    about: Text = "but",
    rest: Text = "open",
    reason: Text = "",
) -> Response:
    """Reject a plan or a part of it: no later plan has it while its values stay the same."""

    def act(opened: AccountContext) -> Response:
        _require_approver(visit, opened)
        why = " ".join(reason.split())
        if not why:
            raise ConfigurationError(
                "a no needs a reason.",
                where="the form",
                next_step="Go back and say why: the plans to come name it.",
            )
        part = _part(chosen, also, about, rest)
        before = read_stored_plan(opened, plan_hash)
        plan = run_reject(opened, plan_hash, by=visit.name, reason=why, part=part, undecided=True, wait=False)
        what = (
            "A part of plan" if plan.state == "open" else "The rest of plan" if plan.rest_rejected else "Plan"
        )
        said = f"{what} {plan.plan_hash[:12]} rejected by {visit.name}."
        if before.state == "approved":
            said += f" The approval by {before.decided_by} is taken back."
        return visit.done(visit.to.plan(visit.account, plan.plan_hash), said)

    return _decide(visit, plan_hash, act)


@plan_actions.post("/plans/{account}/{plan_hash}/reopen")
def reopen(
    visit: Acting,
    plan_hash: str,
    refusal: Ids,
    which: Text = "all",
) -> Response:
    """Let what was refused be planned again: what is checked, or all of the plan."""

    def act(opened: AccountContext) -> Response:
        if which == "checked" and not refusal:
            raise ConfigurationError(
                "nothing is checked.", where="the form", next_step="Go back and check what to reopen."
            )
        wanted = WhichRefusals(ids=refusal) if refusal else WhichRefusals(plan_hash=plan_hash)
        try:
            found = run_reopen(opened, wanted, by=visit.name)
        except ConfigurationError as error:
            with opened.engine.connect() as connection:
                plan = read_stored_plan(opened, plan_hash)
                told = resolved_refusals(connection, visit.account, plan.plan_hash, refusal)
            raise ConflictError(error.what, next_step=told) from None
        notice = f"{count_of(len(found), 'change')} reopened; the next plan has what is still due."
        return visit.done(visit.to.plan(visit.account, plan_hash), notice)

    return _decide(visit, plan_hash, act)


@plan_actions.post("/plans/{account}/{plan_hash}/undo")
def undo(visit: Acting, plan_hash: str) -> Response:
    """Make the plan that takes an applied one back, and lead to it."""

    def act(opened: AccountContext) -> Response:
        plan = run_undo(opened, plan_hash)
        notice = f"{undo_words(plan)} Nothing is written until it is applied."
        return visit.done(visit.to.plan(visit.account, plan.plan_hash), notice)

    return _decide(visit, plan_hash, act)


def _decide(visit: Visit, plan_hash: str, act: Callable[[AccountContext], Response]) -> Response:
    """Do what a form asks for; what was decided before, or cannot be, is told with the way back."""
    with reading(visit.account) as opened:
        try:
            return act(opened)
        except (ConfigurationError, ConflictError) as error:
            title = "Settled already" if isinstance(error, ConflictError) else "Nothing was changed"
            with opened.engine.connect() as connection:
                frame = visit.frame(connection, Place.PLANS)
            return Page(render_message(title, str(error), frame=frame), 409)


def _approved_only(visit: Visit, opened: AccountContext, told: str) -> Response:
    """Return the page that says that a plan is approved, and why no run applies it."""
    with opened.engine.connect() as connection:
        frame = visit.frame(connection, Place.PLANS)
    body = f"{told} Until a run does it, `enerflo-sync apply` does."
    return Page(render_message("Approved, and not applied yet", body, frame=frame), 503)


def _part(chosen: list[str], also: str, about: str, rest: str) -> Part:
    """Return the part of a plan that a form is about.

    :raises ConfigurationError: nothing is checked, or a choice is not known.
    """
    named = [*chosen, *(one.strip() for one in re.split(r"[,\n]", also) if one.strip())]
    if about not in ("but", "only") or rest not in list(Rest):
        raise ConfigurationError(
            "the choice is not known.", where="the form", next_step="Go back, and choose on the page."
        )
    if about == "only" and not named:
        raise ConfigurationError(
            "nothing is checked.", where="the form", next_step="Go back and check what the decision is about."
        )
    if about == "only":
        return Part(only=named, rest=Rest(rest))
    return Part(without=named, rest=Rest(rest))


def _asking_run(visit: Visit, plan_hash: str) -> str | None:
    """Return the page of the run that asks about a plan and goes on when it is decided; None if none does."""
    dag_id = account_name("approve", visit.account)
    query = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.state.in_(("queued", "running")))
    with create_session() as session:
        for run in session.scalars(query.order_by(DagRun.id.desc()).limit(_LOOKED_AT)):
            asked = str((run.conf or {}).get("plan_hash") or "").strip().lower()
            if len(asked) >= 8 and plan_hash.startswith(asked):
                return f"{visit.to.root}/run?{urlencode({'dag_id': dag_id, 'run_id': run.run_id})}"
    return None


def _require_approver(visit: Visit, opened: AccountContext) -> None:
    """Refuse whoever is none of the account's ``airflow.approvers``, as Airflow's own approval does.

    :raises HTTPException: the user is none of them.
    """
    if said := who_alone_may_decide(opened, visit.user):
        raise HTTPException(403, f"{said} {approver_problem(visit.account)}".rstrip())


def _require_may_start(visit: Visit) -> None:
    """Refuse before anything is decided whoever may not start the run that applies it.

    :raises HTTPException: the user may not.
    """
    dag_id = account_name("approve", visit.account)
    details, entity = DagDetails(id=dag_id), DagAccessEntity.RUN
    manager = get_auth_manager()
    if not manager.is_authorized_dag(method="POST", access_entity=entity, details=details, user=visit.user):
        raise HTTPException(403, f"Only who may start runs of the DAG {dag_id} may do this.")
