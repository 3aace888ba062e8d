"""The operators that write: plan, a person's approval if needed, apply, verify."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperator, BaseOperatorLink, Context
from airflow.sdk.exceptions import AirflowSkipException

from enerflo_airflow.accounts import account_name
from enerflo_airflow.approval_form import FORM, answered_form, chosen_part
from enerflo_airflow.lineage import WithLineage
from enerflo_airflow.links import PlanLink, ReportLink, plan_address
from enerflo_airflow.metrics import send_apply, send_plans
from enerflo_airflow.notes import apply_note, carry_note, keep_note, plan_note, reconciliation_note
from enerflo_airflow.operators import engine_run_id, flag, noted_failure
from enerflo_sync.errors import RetriableError
from enerflo_sync.plan.parts import Part
from enerflo_sync.steering import shown

if TYPE_CHECKING:
    from enerflo_sync.plan.report import PlanReport

# Maximum number of approval runs per plan.
_MOST_RUNS = 1_000
# A task's result about a plan: ids, counts, and sentences without data of a record.
Planned = dict[str, Any]


class PlanOperator(BaseOperator):
    """Decides about every difference of an account, and stores the plan. Writes nothing on either side.

    :param account: name of the account in sync.yaml.
    :return: the first plan's hash and counts; ``free``, the hash of the plan to apply at once, and
        ``waiting``, the hash of the plan that needs approval: None if there is none.
    """

    template_fields: Sequence[str] = ("account",)
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f6f0dc"

    def __init__(self, *, account: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account

    def execute(self, context: Context) -> Planned:
        """Plan, and return what the next tasks need."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.ledger import run_seal
        from enerflo_sync.jobs.plan import run_plan

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            plans = run_plan(opened)
            send_plans(plans, opened)
            run_seal(opened)
            writes = opened.writes_anything
        note = "\n".join(plan_note(plan) for plan in plans)
        self.log.info("planned plan_hash=%s %s", plans[0].plan_hash, note)
        keep_note(context, note)
        due = [plan for plan in plans if writes and plan.change_count]
        free = [plan.plan_hash for plan in due if not plan.needs_approval or plan.state == "approved"]
        waiting = [plan.plan_hash for plan in due if plan.plan_hash not in free]
        first = plans[0]
        return {
            **_planned(first),
            "changes": sum(plan.change_count for plan in plans),
            "waits": any(plan.waits_for_approval for plan in plans),
            "writes": bool(due),
            "free": free[0] if free else None,
            "waiting": waiting[0] if waiting else None,
        }


class AskForApprovalOperator(TriggerDagRunOperator):
    """Starts the run that asks a person about a plan, so that the planning run waits for nobody.

    A plan that another run already asks about is not asked about again.

    :param account: name of the account in sync.yaml.
    :param plan: the result of :class:`PlanOperator`.
    :param ask: whether to ask; otherwise a waiting plan is left to the command line.
    """

    template_fields: Sequence[str] = ("account", "plan", "ask")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)

    def __init__(self, *, account: str, plan: Any, ask: bool | str = True, **kwargs: Any) -> None:
        super().__init__(trigger_dag_id=account_name("approve", account), **kwargs)
        self.account = account
        self.plan = plan
        self.ask = ask

    def execute(self, context: Context) -> None:
        """Start the run that asks, if a plan waits."""
        plan: Planned = self.plan
        if not plan["writes"]:
            why = "The mode is report: nothing is written." if plan["changes"] else "There is nothing to do."
            raise AirflowSkipException(why)
        plan_hash = plan["waiting"]
        if plan_hash is None:
            raise AirflowSkipException("Nothing waits for a person.")
        if not flag(self.ask):
            raise AirflowSkipException(
                "The plan waits: enerflo-sync apply --approve, or run it again and ask."
            )
        names = [f"ask_{plan_hash[:16]}_{number}" for number in range(1, _MOST_RUNS)]
        runs, ti = {"dag_id": self.trigger_dag_id, "run_ids": names}, context["ti"]
        if ti.get_dr_count(**runs, states=["queued", "running"]):
            raise AirflowSkipException(f"A run of {self.trigger_dag_id} asks about this plan already.")
        self.trigger_run_id = names[ti.get_dr_count(**runs)]
        self.conf = {"plan_hash": plan_hash}
        super().execute(context)


class FindPlanOperator(BaseOperator):
    """Looks up a plan by its hash, in its present state.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash.
    :return: the plan's hash, its counts, and the text for the approval.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f6f0dc"

    def __init__(self, *, account: str, plan_hash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> Planned:
        """Return what the approval needs."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.plan import read_stored_plan

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            return _planned(read_stored_plan(opened, str(self.plan_hash)))


class PlanApprovalOperator(ApprovalOperator):
    """Asks a person about a plan that needs approval, by Airflow's own approval; no answer in time means no.

    The decision is stored with the plan and, if it is a no, in the ledger; then later tasks are skipped. The
    form can select a part. While it waits, the task regularly checks whether a later plan replaced this one,
    or somebody decided on its page or on the command line: what was approved there goes on to be applied, and
    everything else ends without writing. Who decided first is who decided.

    :param account: name of the account in sync.yaml.
    :param plan: the result of :class:`FindPlanOperator`.
    :param answer_within: maximum total wait.
    """

    template_fields: Sequence[str] = ("subject", "body", "account", "plan")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    # Each check costs a second of a worker.
    look_every = timedelta(minutes=5)

    def __init__(self, *, account: str, plan: Any, answer_within: timedelta, **kwargs: Any) -> None:
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

    def execute(self, context: Context) -> Any:
        """Wait for a person if the plan needs approval; otherwise return at once."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.plan import read_stored_plan

        plan_hash = self.plan["plan_hash"]
        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            plan = read_stored_plan(opened, plan_hash)
        if plan.state == "approved":
            return self._go_on(context, plan)
        if plan.state != "open":
            self._end(context, plan)
        address = plan_address(self.plan["account"], plan_hash)
        self.body = (
            f"{self.plan['summary']}\n\n[Look at the whole plan]({address}) before you decide."
            " To decide about a part of it, name the part below."
        )
        self.response_timeout = min(self.look_every, self._time_left(context))
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Store the decision; skip the later tasks after a no."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.approval import run_approve, run_reject
        from enerflo_sync.jobs.plan import read_stored_plan

        if "error" in event:
            # Without an answer the task fails, and the plan continues to wait.
            return super().execute_complete(context, event)
        if event.get("timedout") and self._time_left(context) > timedelta(0):
            return self.execute(context)
        event = {**event, "params_input": answered_form(event.get("params_input"))}
        person = event.get("responded_by_user") or {}
        who = person.get("name") or person.get("id")
        plan_hash = self.plan["plan_hash"]
        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            plan = read_stored_plan(opened, plan_hash)
            if plan.state == "approved":
                # Decided on the plan's page or the command line a moment before.
                return self._go_on(context, plan)
            if plan.state in ("superseded", "applied") or (plan.state == "rejected" and plan.decided_by):
                self._end(context, plan)
            part = chosen_part(event["params_input"]) if who else Part()
            if who and event.get("chosen_options") == [self.APPROVE]:
                plan = run_approve(opened, plan_hash, by=who, part=part)
            else:
                why = event["params_input"]["because"].strip() or "rejected in Airflow"
                reason = why if who else "nobody answered in time"
                plan = run_reject(opened, plan_hash, by=who, reason=reason, part=part)
        stands = f"plan {plan_hash[:12]} is {plan.state}"
        note = shown(f"{stands} ({who or 'nobody answered in time'})")
        if not part.whole:
            named = [*part.only, *(f"all but {one}" for one in part.without)]
            note = f"{note}: decided about {', '.join(named)}"
        keep_note(context, note)
        return super().execute_complete(context, event)

    def _go_on(self, context: Context, plan: PlanReport) -> dict[str, Any]:
        """Let the later tasks apply what somebody approved elsewhere, and say who and when."""
        from enerflo_sync.plan.decided_plan import decided_words

        note = shown(f"plan {plan.plan_hash[:12]} is {decided_words(plan)}")
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
        from enerflo_sync.plan.decided_plan import decided_words

        words = {
            "superseded": "was superseded: a later plan took its place, and is asked about by itself",
            "expired": "has expired; the next round makes another one if anything is due",
        }.get(str(plan.state), f"is {decided_words(plan)}")
        note = shown(f"plan {plan.plan_hash[:12]} {words}")
        keep_note(context, note)
        raise AirflowSkipException(f"{note[0].upper()}{note[1:]}.")


def _planned(plan: PlanReport) -> Planned:
    from enerflo_sync.plan.render import plan_summary

    return {
        "account": plan.account,
        "plan_hash": plan.plan_hash,
        "mode": plan.mode,
        "state": str(plan.state),
        "changes": plan.change_count,
        "waits": plan.waits_for_approval,
        "summary": plan_summary(plan),
    }


class ApplyPlanOperator(WithLineage, BaseOperator):
    """Makes a plan's changes: the CRM's in one transaction, Enerflo's one by one, each read back.

    Fails, to be retried, while changes wait for Enerflo or the warehouse. The note and the next plan contain
    the changes whose value has moved or that could not be made.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash; without one the task is skipped.
    :return: counts of the changes' outcomes.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (PlanLink(),)
    ui_color = "#f3e3dc"

    def __init__(self, *, account: str, plan_hash: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> dict[str, Any]:
        """Apply and return the counts."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.apply import run_apply
        from enerflo_sync.jobs.ledger import run_seal
        from enerflo_sync.jobs.lineage import apply_lineage

        if not self.plan_hash:
            self._carry(context)
            raise AirflowSkipException("There is nothing that may be applied without a person.")
        with (
            noted_failure(context),
            closing(open_account(str(self.account), reads_enerflo=True)) as opened,
        ):
            report = run_apply(opened, str(self.plan_hash), run_id=engine_run_id(context))
            send_apply(report, opened)
            self.keep_lineage(apply_lineage, opened, report)
            run_seal(opened)
        note = apply_note(report)
        self.log.info("applied plan_hash=%s %s", report.plan_hash, note)
        keep_note(context, note)
        counts = ("applied", "handed_over", "moved", "parked", "refused", "waiting")
        result = {
            "account": report.account,
            "plan_hash": report.plan_hash,
            "run_id": report.run_id,
            "decided_by": report.decided_by,
            **{name: getattr(report, name) for name in counts},
        }
        context["ti"].xcom_push(key="return_value", value=result)
        if report.waiting:
            raise RetriableError(
                f"{report.waiting:,} changes wait.",
                where=f"plan {report.plan_hash[:12]}",
                next_step=report.stopped or "They are tried again.",
            )
        return result

    def _carry(self, context: Context) -> None:
        """Bring what an earlier apply left open to Salesforce, where the account writes there."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.carry import run_carry

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_carry(opened)
        if report is not None and (report.taken or report.unmade or report.open):
            note = carry_note(report)
            self.log.info("carried account=%s %s", report.account, note)
            keep_note(context, note)


class VerifyPlanOperator(BaseOperator):
    """Reconciles what a plan changed, and reports whether both sides now have the planned values.

    :param account: name of the account in sync.yaml.
    :param plan_hash: the plan's hash.
    :return: ids and counts.
    """

    template_fields: Sequence[str] = ("account", "plan_hash")
    operator_extra_links: ClassVar[Sequence[BaseOperatorLink]] = (ReportLink(), PlanLink())
    ui_color = "#e8eef7"

    def __init__(self, *, account: str, plan_hash: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.account = account
        self.plan_hash = plan_hash

    def execute(self, context: Context) -> dict[str, Any]:
        """Reconcile, and return how many applied changes differ again."""
        from enerflo_airflow.hook import open_account
        from enerflo_sync.jobs.apply import run_verify
        from enerflo_sync.jobs.reconcile import run_reconcile

        with noted_failure(context), closing(open_account(str(self.account))) as opened:
            report = run_reconcile(opened)
            found = run_verify(opened, str(self.plan_hash), report)
        verified = found.applied - found.not_compared
        note = f"verified {verified:,} changes, {found.differing:,} differ again"
        if found.not_compared:
            note += f"; {found.not_compared:,} stand in tables that are not compared (reconcile: false)"
        self.log.info("verified plan_hash=%s %s", found.plan_hash, note)
        keep_note(context, f"{note}\n{reconciliation_note(report)}")
        return {
            "account": found.account,
            "plan_hash": found.plan_hash,
            "reconciliation_id": found.reconciliation_id,
            "applied": found.applied,
            "differing": found.differing,
            "not_compared": found.not_compared,
        }
