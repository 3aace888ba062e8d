"""The operator that asks a person about a plan, and a second person where two have to approve it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.approval_form import FORM, answered_form, chosen_part, form_of
from enerflo_airflow.links import PlanLink, plan_address
from enerflo_airflow.notes import keep_note
from enerflo_airflow.operators import noted_failure
from enerflo_sync.clock import SystemClock
from enerflo_sync.errors import ConfigurationError, ConflictError, RetriableError
from enerflo_sync.plan.parts import Part
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from enerflo_sync.jobs.context import AccountContext
    from enerflo_sync.plan.report import PlanReport
    from enerflo_sync.plan.second_person import FirstApproval


class PlanApprovalOperator(ApprovalOperator):
    """Asks a person about a plan that needs approval, by Airflow's own approval; no answer in time means no.

    The decision is stored with the plan. A no is also stored in the ledger, and later tasks are skipped. The
    form can select a part of the plan.

    While the task waits, it regularly checks whether a later plan superseded this one, or whether somebody
    decided on the plan's page or on the command line. If the plan was approved there, the later tasks apply
    it; otherwise the run ends without writing. A no that is answered here wins over a yes from there as long
    as no change of the plan was made or tried; in all other cases the first decision counts.

    If two persons have to approve, this task ends with the first approval, and a second task with ``second``
    asks again. It has to be a second task, because only its question can name the first person.

    :param account: name of the account in sync.yaml.
    :param plan: the result of :class:`FindPlanOperator`.
    :param answer_within: maximum total wait.
    :param second: ask the second of two persons; does nothing if the plan is already approved.
    """

    template_fields: Sequence[str] = ("subject", "body", "account", "plan")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    # Each check costs a second of a worker.
    look_every = timedelta(minutes=5)
    # Seconds before an answer that could not be stored is tried again.
    pauses: ClassVar[Sequence[float]] = (5, 15, 60, 120, 300)

    def __init__(
        self, *, account: str, plan: Any, answer_within: timedelta, second: bool = False, **kwargs: Any
    ) -> None:
        # Replace the DAG's parameters, which Airflow passes here but are not fields of the form. Copy the
        # form, because Airflow stores an answer in the parameter.
        kwargs["params"] = deepcopy(FORM)
        super().__init__(
            subject="Plan {{ ti.xcom_pull(task_ids='find_plan')['plan_hash'][:12] }} of account " + account,
            body="",
            defaults=self.REJECT,
            response_timeout=answer_within,
            **kwargs,
        )
        self.account = account
        self.plan = plan
        self.answer_within = answer_within
        self.second = second

    def execute(self, context: Context) -> Any:
        """Wait for a person if the plan needs approval; otherwise return at once."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.approval import read_first_approval

        plan_hash = self.plan["plan_hash"]
        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            plan, first = read_first_approval(opened, plan_hash)
        if plan.state == "approved" or (plan.state == "open" and first is not None and not self.second):
            return self._go_on(context, plan)
        if plan.state != "open":
            self._end(context, plan)
        address = plan_address(self.plan["account"], plan_hash)
        self.body = (
            f"{self.plan['summary']}\n\n[Look at the whole plan]({address}) before you decide."
            " To decide about a part of it, name the part below."
        )
        if first is not None:
            self._ask_second(plan, first)
        self.response_timeout = min(self.look_every, self._time_left(context))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Store the decision; skip the later tasks after a no."""
        if "error" in event:
            # Without an answer the task fails, and the plan continues to wait.
            return super().execute_complete(context, event)
        if event.get("timedout") and self._time_left(context) > timedelta(0):
            return self.execute(context)
        event = {**event, "params_input": answered_form(event.get("params_input"))}
        person = event.get("responded_by_user") or {}
        who = person.get("name") or person.get("id")
        approves = bool(who) and event.get("chosen_options") == [self.APPROVE]
        with noted_failure(context):
            part = chosen_part(event["params_input"]) if who else Part()
            why = event["params_input"]["because"].strip() or "rejected in Airflow"
            plan, is_elsewhere = self._stored(who, approves, part, why)
        if is_elsewhere and plan.state == "approved":
            return self._go_on(context, plan)
        if is_elsewhere and plan.state != "open":
            self._end(context, plan)
        if self.second and approves and plan.state == "open":
            # The first person answered again, or the first approval is gone and this answer is the first.
            return self.execute(context)
        waits = " and waits for a second person" if plan.first_approved_by and plan.state == "open" else ""
        state = "rejected, but for a part that was carried out" if plan.rest_rejected else plan.state
        stands = f"plan {plan.plan_hash[:12]} is {state}{waits}"
        note = shown(f"{stands} ({who or 'nobody answered in time'})")
        if not part.whole:
            named = [*part.only, *(f"all but {one}" for one in part.without)]
            note = f"{note}: decided about {', '.join(named)}"
        keep_note(context, note)
        return super().execute_complete(context, event)

    def _stored(self, who: str | None, approves: bool, part: Part, why: str) -> tuple[PlanReport, bool]:
        """Store an answer; return the plan, and whether somebody decided about it elsewhere before.

        While the warehouse is away, this method tries again. A retry of the task would ask anew, and the
        person's answer, perhaps a no, would be lost.

        :raises ConfigurationError: a person's answer could not be stored.
        """
        for pause in (*self.pauses, None):
            try:
                return self._decide(who, approves, part, why)
            except RetriableError as error:
                if who is None:
                    raise
                if pause is None:
                    said = "approval" if approves else "rejection"
                    raise ConfigurationError(
                        f"the {said} by {who} could not be stored: {error.what}",
                        where=f"plan {self.plan['plan_hash'][:12]}",
                        next_step="It does not count. Answer again: the next run of enerflo_sync asks anew.",
                    ) from None
                self.log.warning("answer_not_stored seconds=%s %s", pause, error.what)
                SystemClock().sleep(pause)
        raise AssertionError("a try returns or raises")

    def _decide(self, who: str | None, approves: bool, part: Part, why: str) -> tuple[PlanReport, bool]:
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.approval import run_reject
        from enerflo_sync.jobs.plan import read_stored_plan

        plan_hash = self.plan["plan_hash"]
        with closing(open_account(str(self.account))) as opened:
            plan = read_stored_plan(opened, plan_hash)
            is_rejected = plan.state == "rejected" and plan.decided_by is not None
            # A no takes back an approval, if nothing of it was made.
            is_approved = plan.state == "approved" and (approves or not who)
            if is_approved or is_rejected or plan.state in ("superseded", "applied"):
                return plan, True
            if not approves:
                reason = why if who else "nobody answered in time"
                return run_reject(opened, plan_hash, by=who, reason=reason, part=part), False
            approved = self._approve(opened, str(who), part)
            return (approved, False) if approved else (read_stored_plan(opened, plan_hash), True)

    def _approve(self, opened: AccountContext, who: str, part: Part) -> PlanReport | None:
        """Return the plan with an approval; None where somebody else decided, or the first person again."""
        from enerflo_sync.jobs.approval import read_first_approval, run_approve

        plan_hash = self.plan["plan_hash"]
        _, first = read_first_approval(opened, plan_hash)
        if self.second and first and part.whole:
            # An answer without the form's fields is about the part that the question named.
            part = first.part
        try:
            return run_approve(opened, plan_hash, by=who, part=part, undecided=True)
        except ConflictError as conflict:
            self.log.warning("not_approved plan_hash=%s %s", plan_hash, conflict.what)
            return None

    def _ask_second(self, plan: PlanReport, first: FirstApproval) -> None:
        """Add the first person's name to the question, and the part that this person chose to the form."""
        from enerflo_sync.plan.second_person import first_words

        self.body = f"{first_words(plan)}\n\n{self.body}"
        for name, value in form_of(first.part).items():
            self.params[name] = value

    def _go_on(self, context: Context, plan: PlanReport) -> dict[str, Any]:
        """Let the later tasks apply a plan that was approved elsewhere; note who approved it, and when."""
        from enerflo_sync.plan.earlier_decisions import decided_words

        words = decided_words(plan)
        if plan.state == "open":
            words = f"open: {plan.first_approved_by} approved it, and a second person is asked"
        note = shown(f"plan {plan.plan_hash[:12]} is {words}")
        keep_note(context, note)
        return {"needed": False, "plan_hash": plan.plan_hash}

    def _time_left(self, context: Context) -> timedelta:
        """Return the time left for an answer, counted from the run's start."""
        run: Any = context.get("dag_run")
        if run is None or run.start_date is None:
            return timedelta(0)
        left: timedelta = run.start_date + self.answer_within - datetime.now(UTC)
        return max(left, timedelta(0))

    def _end(self, context: Context, plan: PlanReport) -> NoReturn:
        """End without an answer and without an error, because there is nothing left to decide."""
        from enerflo_sync.plan.earlier_decisions import decided_words

        words = {
            "superseded": "was superseded: a later plan took its place, and is asked about by itself",
            "expired": "has expired; the next round makes another one if anything is due",
        }.get(str(plan.state), f"is {decided_words(plan)}")
        note = shown(f"plan {plan.plan_hash[:12]} {words}")
        keep_note(context, note)
        raise AirflowSkipException(f"{note[0].upper()}{note[1:]}.")
